"""The probe of the values that consumers read: once per period each, and a cause when one is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import Hold
from rotator.domain.policy import Match, RuleAction
from rotator.domain.probe import make_pause
from rotator.engine.jobs import JobResult, probe_values
from rotator.errors import DeniedError, SignInRequiredError, StoppedError
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretLocation, StoredSecret
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.fake_secret_store import FakeSecretStore, make_lost_answer
from tests.support.policies import RULE, make_policy

DAY = timedelta(days=1)
PAUSE = make_pause(DAY)


def probe(world: EngineWorld) -> JobResult:
    """One run of the job."""
    return probe_values(world.make_run(), DAY)


def probe_twice(world: EngineWorld) -> None:
    """Two tries of what is refused."""
    for _ in range(2):
        probe(world)
        world.clock.advance(PAUSE)


def list_results(world: EngineWorld) -> dict[str, bool]:
    """What is known of each value."""
    with world.database.read() as reading:
        return dict(reading.probes.load_results())


def list_failing(world: EngineWorld) -> dict[str, str | None]:
    """The likely cause of each value that is refused."""
    with world.database.read() as reading:
        return {found.subject: found.code for found in reading.conditions.load_of([ConditionKind.PROBE_FAILING])}


def make_rotated_world() -> EngineWorld:
    """A world whose PAT was rotated by us, with its overlap over."""
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    return world


def kill(world: EngineWorld, name: str = NAME) -> None:
    """The PAT lives by the lists, and its value is refused."""
    world.pats.pats[world.record(name).authorization_id].value = "not the value that anybody has"


def test_each_value_is_tried_once_a_day_and_nothing_else_is_asked() -> None:
    world = make_world(NAME, "ci-build", "deploy")
    assert probe(world).counts == {"works": 3}
    assert list_results(world) == dict.fromkeys(("ci-build", "deploy", NAME), True)
    for _ in range(3):
        tried = len(world.pats.tried)
        for _ in range(96):
            world.clock.advance(PAUSE)
            probe(world)
        assert len(world.pats.tried) - tried == 3
    assert world.events() == []


def test_idle_probe_asks_nobody_and_writes_nothing() -> None:
    world = make_world()
    probe(world)
    before, calls, begun = world.database.dump(), len(world.timeline), world.database.begun
    assert probe(world) == JobResult()
    assert (world.database.dump(), len(world.timeline), world.database.begun) == (before, calls, begun)


def test_backlog_of_many_values_is_spread_over_passes() -> None:
    """As after a month without a daemon: no pass tries them all."""
    world = make_world(*(f"pat-{number}" for number in range(40)))
    sizes = []
    while len(list_results(world)) < 40:
        sizes.append(sum(probe(world).counts.values()))
        world.clock.advance(PAUSE)
    assert max(sizes) == 8


def test_pass_that_takes_long_leaves_the_rest_to_the_next_one_and_is_no_success() -> None:
    """Each read of the vault takes 4 s: 150 of them would take 10 minutes, in which the pass gives no sign of life."""
    world = make_world(*(f"pat-{number}" for number in range(150)))
    fetch, began = world.secrets.fetch_latest, world.clock.now()

    def fetch_slowly(location: SecretLocation) -> StoredSecret | None:
        world.clock.advance(timedelta(seconds=4))
        return fetch(location)

    world.secrets.fetch_latest = fetch_slowly  # type: ignore[method-assign]
    first = probe_values(world.make_run(), timedelta(minutes=1))
    assert (first.counts, first.is_down) == ({"works": 100, "unknown": 50}, True)
    assert world.clock.now() - began < timedelta(minutes=7)
    left = probe_values(world.make_run(), timedelta(minutes=1))
    assert left.counts["works"] >= 50
    assert len(list_results(world)) == 150


def test_value_that_was_refused_once_is_tried_again_before_that_counts() -> None:
    world = make_rotated_world()
    probe(world)
    world.advance(days=1)
    world.secrets.is_stale = lambda: True
    assert probe(world).counts == {"refused": 1}
    assert (list_results(world), list_failing(world)) == ({NAME: True}, {})
    world.secrets.is_stale = lambda: False
    world.clock.advance(PAUSE)
    assert probe(world).counts == {"works": 1}
    assert (list_results(world), list_failing(world)) == ({NAME: True}, {})


def revoke_outside(world: EngineWorld) -> None:
    """Somebody revokes the PAT, and knows."""
    world.pats.pats[world.record().authorization_id].revoked = True


def write_elsewhere(world: EngineWorld) -> None:
    """Somebody writes over the secret."""
    world.secrets.write_foreign(world.location(), "A" * 76 + "AZDO" + "A" * 4)


def write_text(world: EngineWorld) -> None:
    """Somebody writes something over the secret that is no PAT."""
    world.secrets.write_foreign(world.location(), "hunter2")


def write_another_users(world: EngineWorld) -> None:
    """Somebody writes the PAT of another user over the secret."""
    other = world.pats.add_pat("release-bot", ORGANIZATION, "other", "vso.code", world.clock.now() + DAY)
    world.secrets.write_foreign(world.location(), other.value)


def lose_sign_in(world: EngineWorld) -> None:
    """The user has another password: neither the PAT nor the sign-in works."""
    kill(world)
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("a new password", account=ACCOUNT)


def fail_to_list(world: EngineWorld) -> None:
    """Azure DevOps does not say what became of the PAT."""
    kill(world)
    world.pats.fail("fetch_pat", times=99)


def leave_organization(world: EngineWorld) -> None:
    """The user is no member any more: the organization refuses the PAT, and the account too."""
    kill(world)
    refused = DeniedError("TF400813", service="azure_devops", operation="fetch_pat", code="bearer_refused")
    world.pats.fail("fetch_pat", refused, times=99)


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (kill, "owner_must_sign_in"),
        (leave_organization, "access_lost"),
        (write_elsewhere, "secret_changed"),
        (write_text, "secret_changed"),
        (write_another_users, "wrong_identity"),
        (lose_sign_in, "sign_in_required"),
        (fail_to_list, "cause_unknown"),
        (lambda world: world.secrets.soft_delete(world.location()), "secret_missing"),
        (
            lambda world: world.secrets.disable(world.location(), world.latest().version.version, permit=unclaimed),
            "secret_disabled",
        ),
    ],
)
def test_value_that_is_refused_is_told_with_its_likely_cause(harm: Callable[[EngineWorld], object], code: str) -> None:
    """Once, and nothing is minted, revoked or written because of it."""
    world = make_rotated_world()
    probe(world)
    world.advance(days=1)
    harm(world)
    changes = [mark for mark in world.timeline if mark in ("mint", "revoke", "store")]
    probe_twice(world)
    probe_twice(world)
    assert (list_results(world), list_failing(world)) == ({NAME: False}, {NAME: code})
    assert world.events().count("probe_failed failed") == 1
    [line] = [line for name, line in world.told if name == "probe_failed"]
    assert str(line["message"]).startswith("consumers read a value that does not sign in: ")
    assert [mark for mark in world.timeline if mark in ("mint", "revoke", "store")] == changes
    assert "hunter2" not in world.pats.tried
    world.check_promises()


def test_value_that_works_again_ends_that() -> None:
    world = make_rotated_world()
    kill(world)
    probe_twice(world)
    assert list_failing(world) == {NAME: "owner_must_sign_in"}
    world.pats.pats[world.record().authorization_id].value = world.latest().value.reveal()
    world.advance(hours=1)
    probe(world)
    assert (list_results(world), list_failing(world)) == ({NAME: True}, {})
    assert world.events()[-2:] == ["probe_failed failed", "probe_restored succeeded"]


def test_other_cause_is_told_anew() -> None:
    world = make_rotated_world()
    kill(world)
    probe_twice(world)
    world.secrets.soft_delete(world.location())
    world.advance(hours=1)
    probe(world)
    assert list_failing(world) == {NAME: "secret_missing"}
    assert world.events().count("probe_failed failed") == 2


def test_pat_that_was_revoked_outside_is_worked_on_at_once_and_told_in_the_words_of_that() -> None:
    world = make_rotated_world()
    revoke_outside(world)
    probe_twice(world)
    assert (list_results(world), list_failing(world)) == ({NAME: False}, {})
    assert (world.record().hold, world.record().blocked) == (Hold.REVOKED_ELSEWHERE, True)
    assert "pat_vanished failed" in world.events()
    before = world.events()
    world.advance(hours=1)
    probe(world)
    assert world.events() == before


def test_pat_that_has_expired_is_rotated_as_the_rules_say() -> None:
    world = make_rotated_world()
    world.advance(days=31)
    probe_twice(world)
    assert "rotation_planned intended" in world.events()[-12:]
    world.advance(hours=1)
    probe(world)
    assert (list_results(world), list_failing(world)) == ({NAME: True}, {})
    world.check_served()


def test_secret_that_nobody_of_us_has_written_is_left_alone_unless_it_holds_a_pat() -> None:
    """One that was adopted with the value of a PAT is tried; what has no such form is sent nowhere."""
    world = make_world(NAME, "ci-build", "deploy")
    world.secrets.write_foreign(world.location(), "hunter2")
    world.secrets.soft_delete(world.location("ci-build"))
    assert probe(world).counts == {"untried": 2, "works": 1}
    assert (list_results(world), world.pats.tried) == ({"deploy": True}, [world.latest("deploy").value.reveal()])
    kill(world, "deploy")
    world.advance(days=1)
    probe_twice(world)
    assert list_failing(world) == {"deploy": "owner_must_sign_in"}
    world.secrets.soft_delete(world.location("deploy"))
    world.advance(hours=1)
    probe(world)
    assert list_failing(world) == {}


def test_ignored_pat_is_left_alone() -> None:
    ignored = replace(RULE, match=Match(display_name=NAME), action=RuleAction.IGNORE)
    world = make_world(NAME, "ci-build", policy=make_policy(ignored, RULE))
    assert probe(world).counts == {"untried": 1, "works": 1}


def test_service_that_does_not_answer_is_asked_once_and_proves_nothing() -> None:
    """The others come first the next time; no success until all could be tried."""
    world = make_world(NAME, "ci-build", "deploy")
    world.add_managed("elsewhere", organization="fabrikam")
    world.pats.fail("verify", times=1)
    result = probe(world)
    assert (result.counts, result.is_down, result.exit_code) == ({"unknown": 3, "works": 1}, True, 1)
    assert (list_results(world), list_failing(world)) == ({"elsewhere": True}, {})
    assert len(world.pats.tried) == 1
    world.clock.advance(PAUSE)
    assert probe(world).counts == {"works": 3}
    world.advance(days=1)
    world.secrets.fail("fetch_latest", make_lost_answer("fetch_latest"))
    assert probe(world).counts == {"unknown": 4}


class MuteStore(FakeSecretStore):
    """A vault that never answers about one secret."""

    mute: SecretLocation | None = None

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """As the port says."""
        if location == self.mute:
            raise make_lost_answer("fetch_latest")
        return super().fetch_latest(location)


def test_one_value_that_can_never_be_read_holds_up_no_other() -> None:
    """It takes its turn after those that have waited longer."""
    world = make_world()
    world.secrets = MuteStore(world.clock)
    for number in range(12):
        world.add_managed(f"pat-{number:02}")
    world.secrets.mute = world.location("pat-00")
    for _ in range(4):
        probe(world)
        world.clock.advance(PAUSE)
    assert sorted(list_results(world)) == [f"pat-{number:02}" for number in range(1, 12)]


def test_probe_that_is_stopped_enters_nothing() -> None:
    world = make_world()
    world.stop.set()
    with pytest.raises(StoppedError):
        probe(world)
    with world.database.read() as reading:
        assert [known for _, known in reading.probes.load_due(world.clock.now(), world.clock.now() + DAY, 9)] == [None]


def test_moment_that_a_wrong_clock_has_entered_does_not_count() -> None:
    world = make_world()
    world.host_clock.ahead = timedelta(days=400)
    probe(world)
    world.host_clock.ahead = timedelta(0)
    assert probe(world).counts == {"works": 1}


def test_value_is_not_judged_while_a_rotation_is_replacing_it() -> None:
    world = make_world()
    world.run_and_die(after="secret_stored")
    kill(world)
    probe_twice(world)
    assert list_failing(world) == {}
