"""Weekly digests: once a week, by one process, whatever dies or is away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.domain.digest import MailAbout, Weekday
from rotator.domain.events.places import SignInLapsed, SignInRestored
from rotator.domain.notification import Notification
from rotator.domain.telling import Habits
from rotator.engine.digesting import deliver_all
from rotator.engine.keeping import pause
from rotator.errors import DatabaseLockedError, DatabaseUnreachableError
from tests.support.engine import ACCOUNT, NAME
from tests.support.engine_fakes import CommitFault, ProcessDied
from tests.support.reaper import Reaper
from tests.support.receivers import ScriptedNotifier
from tests.unit.test_engine_delivering import Post

WEEKLY = Habits(digest_on=Weekday.MONDAY)


class DigestPost(Post):
    """A process that writes digests, too."""

    def deliver(self) -> dict[str, int]:
        """One job of the daemon."""
        return dict(deliver_all(self.world.make_run(), self.notifiers, self.memory).counts)


def make_post() -> DigestPost:
    """A receiver that gets digests."""
    return DigestPost(ScriptedNotifier("ops", WEEKLY))


def list_digests(notifier: ScriptedNotifier) -> list[Notification]:
    return [item for _, item in notifier.sent if item.name == "digest"]


def test_digest_tells_of_the_week_behind_and_the_week_ahead() -> None:
    """The first comes at once, and the next one begins where it ended."""
    post = make_post()
    [ops] = post.notifiers
    post.world.add_managed("quiet", days_left=28)
    post.world.add_managed("resting", days_left=9)
    pause(post.world.make_run(), "resting")
    post.world.run()
    post.deliver()
    [first] = list_digests(ops)
    digest = first.digest
    assert digest is not None
    assert [each.name for each in digest.rotated] == [NAME]
    assert (digest.coming, digest.waiting) == ((), ())
    assert [(mail.account, mail.name, mail.about) for mail in digest.mails] == [(ACCOUNT, "resting", MailAbout.EXPIRY)]
    assert digest.is_whole

    post.begin(SignInLapsed(code="sign_in_expired", message="the sign-in expired"))
    post.world.advance(days=7)
    post.deliver()
    second = list_digests(ops)[1].digest
    assert second is not None
    assert (second.since, second.rotated) == (first.made_at, ())
    [wait] = second.waiting
    assert wait.names == ("quiet", NAME)
    assert f"rotator login {ACCOUNT}" in wait.needs
    post.world.check_promises("digest")


def test_each_receiver_that_wants_one_gets_one_a_week() -> None:
    """Whatever the hour; the others get none."""
    ops, silent = ScriptedNotifier("ops", WEEKLY), ScriptedNotifier("silent")
    post = DigestPost(ops, silent)
    for _ in range(24 * 30):
        post.deliver()
        post.world.advance(hours=1)
    made = [item.made_at for item in list_digests(ops)]
    assert [f"{moment:%a}" for moment in made[1:]] == ["Mon"] * (len(made) - 1)
    assert len(made) in (5, 6)
    assert all(moment.hour == 6 for moment in made[1:])
    assert len(set(ops.ids)) == len(ops.ids)
    assert list_digests(silent) == []


def test_idle_look_writes_nothing_until_the_next_week() -> None:
    post = make_post()
    post.deliver()
    before = post.world.database.begun
    assert post.deliver() == {}
    assert post.world.database.begun == before


def test_two_processes_send_one() -> None:
    """The second comes while the first sends, and afterwards."""
    post = make_post()
    [ops] = post.notifiers
    other = ScriptedNotifier("ops", WEEKLY)
    others = DigestPost(other)
    others.world = post.world

    def meet(_: str) -> None:
        assert others.deliver() == {}

    ops.meet = meet
    post.deliver()
    others.deliver()
    assert (len(list_digests(ops)), len(list_digests(other))) == (1, 0)


@pytest.mark.parametrize("fault", CommitFault)
def test_digest_is_not_lost_when_the_process_dies_at_any_commit(fault: CommitFault) -> None:
    """What comes twice has the same id, and the same content."""
    number = died = 0
    while True:
        number += 1
        post = make_post()
        [ops] = post.notifiers
        post.world.database.faults[post.world.database.begun + number] = fault
        try:
            post.deliver()
        except (DatabaseUnreachableError, DatabaseLockedError):
            died += 1
        if post.world.database.faults:
            break
        for _ in range(3):
            post.restart()
            post.world.advance(minutes=10)
            post.deliver()
        digests = {(delivery_id, item.text) for delivery_id, item in ops.sent if item.name == "digest"}
        assert len(digests) == 1, (number, ops.sent)
    assert died >= 2


def test_one_digest_comes_when_the_process_is_killed_at_any_moment() -> None:
    """At each read, begin, commit and request of its writing and its delivery."""
    moments: set[str] = set()
    number = 0
    while True:
        post = make_post()
        [ops] = post.notifiers
        reaper = Reaper(post.world.database, number)
        ops.meet = reaper.meet
        for _ in range(4):
            try:
                post.deliver()
            except ProcessDied:
                post.restart()
            post.world.advance(hours=1)
        reaper.rest()
        assert len({(delivery_id, item.text) for delivery_id, item in ops.sent}) == 1, (number, reaper.met)
        assert len(ops.sent) <= 2
        assert post.list_events("notification_delivered") == ["ops"]
        if not reaper.has_killed:
            break
        moments.add(reaper.met[-1])
        number += 1
    assert moments == {"read", "begin", "commit", "before", "after"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_digest_is_sent_again_with_its_id_when_the_process_dies_while_it_sends(when: str) -> None:
    post = make_post()
    [ops] = post.notifiers

    def die(moment: str) -> None:
        if moment == when:
            post.world.database.die()

    ops.meet = die
    with pytest.raises(ProcessDied):
        post.deliver()
    ops.meet = lambda _: None
    post.restart()
    post.world.advance(minutes=10)
    post.deliver()
    assert len(ops.sent) == (1 if when == "before" else 2)
    assert len(set(ops.ids)) == 1


def test_digest_waits_for_a_receiver_that_is_down_and_the_next_covers_what_it_left_out() -> None:
    """None is made while one waits: a month later there are two, not five."""
    post = make_post()
    [ops] = post.notifiers
    ops.refuses = lambda _: True
    post.deliver()
    for _ in range(28):
        post.world.advance(days=1)
        post.deliver()
    ops.refuses = lambda _: False
    for _ in range(3):
        post.deliver()
        post.world.advance(hours=1)
    first, second = list_digests(ops)
    assert first.digest is not None
    assert second.digest is not None
    assert second.digest.since == first.made_at


def test_digest_holds_up_nothing_and_is_set_aside_when_it_is_never_taken() -> None:
    post = make_post()
    [ops] = post.notifiers
    ops.refuses = lambda item: item.name == "digest"
    post.deliver()
    for event in (SignInLapsed(code="x"), SignInRestored()):
        post.world.advance(hours=2)
        post.begin(event)
        post.deliver()
    for _ in range(3):
        post.world.advance(hours=2)
        post.deliver()
    assert ops.heard == [("sign_in_needed", "began"), ("sign_in_needed", "over")]
    assert post.list_events("notification_refused") == ["ops"]
    ops.refuses = lambda _: False
    post.world.advance(days=7)
    post.deliver()
    assert len(list_digests(ops)) == 1


def test_digest_of_a_damaged_log_says_that_there_may_be_more() -> None:
    post = make_post()
    [ops] = post.notifiers
    post.world.run()
    post.world.database.spoil(NAME, "overlap_started")
    post.deliver()
    digest = list_digests(ops)[0].digest
    assert digest is not None
    assert (digest.rotated, digest.is_whole) == ((), False)


def test_fast_clock_keeps_no_digest_back() -> None:
    post = make_post()
    [ops] = post.notifiers
    post.world.advance(days=400)
    post.deliver()
    post.world.clock.advance(-timedelta(days=400))
    post.deliver()
    post.deliver()
    assert len(list_digests(ops)) == 2
    last = list_digests(ops)[1].digest
    assert last is not None
    assert last.since == post.world.clock.now() - timedelta(days=7)
