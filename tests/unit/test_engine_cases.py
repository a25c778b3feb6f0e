"""What a notification says of this very case: which PAT, whether consumers fail now, why, and what to type."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.cases import (
    WaitingCall,
    advise_hook,
    advise_not_adopted,
    advise_refused_value,
    advise_short_lifetime,
    advise_vanished,
)
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Severity
from rotator.domain.events.places import OrganizationDown, SignInLapsed, TokenCacheDamaged
from rotator.domain.events.probes import ProbeFailed
from rotator.domain.events.rotations import ExpiryForeseen, RotationBlocked
from rotator.domain.events.service_log import LeakReported
from rotator.domain.managed_pat import Failure, Hold, Pat
from rotator.domain.notification import Affected, Hurt, make_event_notification, make_notification
from rotator.domain.policy import LeakAction
from rotator.domain.probe import RefusalCause
from rotator.domain.runbook_events import EVENTS as ADVISED
from rotator.domain.sign_in import NOT_SIGNED_IN, SignInMemory
from rotator.domain.telling import Cause, Notice, Phase
from rotator.domain.words import say_moment
from rotator.engine.delivering import deliver
from rotator.engine.explaining import say_way_on
from rotator.engine.outage import DeliveryMemory
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, VAULT, EngineWorld, make_world
from tests.support.hooks import ScriptedHook
from tests.support.receivers import ScriptedNotifier
from tests.unit.test_engine_delivering import Post
from tests.unit.test_engine_hooking import BAD, Caller
from tests.unit.test_engine_pending_revocations import make_ignored

NOW = datetime(2026, 12, 1, tzinfo=UTC)
CACHE = "/var/lib/rotator/token-cache.bin"
PLACEHOLDER = re.compile(r"\bNAME\b|\bID\b|\bACCOUNT\b|[{}]")


def hear(world: EngineWorld, name: str) -> str:
    """The title and the text of the notification about a condition."""
    notifier = ScriptedNotifier()
    deliver(world.make_run(), (notifier,), DeliveryMemory())
    (told,) = [item for _, item in notifier.sent if item.name == name]
    return f"{told.title}\n{told.text}"


@pytest.mark.parametrize("kind", ConditionKind)
@pytest.mark.parametrize("subjects", [("deploy",), ("deploy", "images")])
def test_no_placeholder_is_left_where_the_subject_is_known(kind: ConditionKind, subjects: tuple[str, ...]) -> None:
    notice = Notice(Cause(kind, "paused"), Phase.BEGAN, subjects, subjects, NOW, 1, 0)
    told = make_notification(notice, Affected(), NOW)
    assert PLACEHOLDER.search(f"{told.title} {told.text} {told.command} {told.fix}") is None, told.text
    assert told.text.startswith("Consumers: ")
    if len(subjects) > 1 and "deploy" in told.fix:
        assert "The same for: images." in told.fix


def test_event_names_the_pat_that_it_is_about_or_leaves_its_command_out() -> None:
    for name in ("deploy", None):
        told = make_event_notification(
            "leak_reported", Severity.CRITICAL, "build-bot/contoso", "m", "d", ADVISED[LeakReported], NOW, name
        )
        assert PLACEHOLDER.search(told.fix) is None
        assert ("`rotator rotate deploy`" in told.fix) == (name is not None)


@pytest.mark.parametrize("hurt", Hurt)
def test_expiry_is_no_headline_of_what_is_broken_now(hurt: Hurt) -> None:
    notice = Notice(Cause(ConditionKind.PROBE_FAILING), Phase.BEGAN, (NAME,), (NAME,), NOW, 1, 0)
    told = make_notification(notice, Affected(1, NOW + timedelta(days=30), hurt=hurt), NOW)
    assert ("expires in" in told.title) == (hurt is not Hurt.NOW)
    assert ("consumers fail now" in told.title) == (hurt is Hurt.NOW)
    said = {
        Hurt.NOW: "failing now.",
        Hurt.PERHAPS: "they may be failing now, and will fail from 2026-12-31 00:00Z (in 30 days) on.",
        Hurt.LATER: "no impact until 2026-12-31 00:00Z (in 30 days).",
        Hurt.UNKNOWN: "rotator cannot tell whether they fail, or when.",
    }
    assert told.text.splitlines()[0] == f"Consumers: {said[hurt]}"


def test_expired_pat_hurts_since_its_expiry() -> None:
    notice = Notice(Cause(ConditionKind.ROTATION_FAILING), Phase.BEGAN, (NAME,), (NAME,), NOW, 1, 0)
    told = make_notification(notice, Affected(1, NOW - timedelta(hours=3)), NOW)
    assert told.text.startswith("Consumers: failing since 2026-11-30 21:00Z (3 h ago).")


def test_value_whose_user_must_sign_in_says_who_and_that_a_new_pat_is_no_help() -> None:
    post = Post()
    post.deliver()
    post.begin(ProbeFailed(code=RefusalCause.OWNER_MUST_SIGN_IN.value, message="m"), NAME)
    said = hear(post.world, "probe_failing")
    user, pat = post.world.make_services().accounts[0].username, post.world.record()
    for fact in (
        f"Azure DevOps refuses {NAME} until {user} signs in to it in a browser",
        "consumers fail now",
        f"PAT: {NAME} (account {ACCOUNT}, organization {ORGANIZATION}, secret {pat.secret_name} in {VAULT}, expires ",
        f"Fix: Have {user} sign in at https://dev.azure.com/{ORGANIZATION} in a browser. Do not rotate",
    ):
        assert fact in said
    assert "rotator rotate" not in said


@pytest.mark.parametrize("cause", RefusalCause)
def test_each_cause_of_a_refused_value_has_its_own_fix(cause: RefusalCause) -> None:
    pat = make_world().record()
    fixes = [advise_refused_value(pat, other, None).fix for other in RefusalCause if other is not cause]
    same = (RefusalCause.SECRET_CHANGED, RefusalCause.WRONG_IDENTITY)
    assert (advise_refused_value(pat, cause, None).fix in fixes) == (cause in same)


def test_first_pat_to_expire_is_named_first() -> None:
    """Of many, the last ones are only counted."""
    post = Post()
    post.world.add_managed("other", days_left=2)
    post.deliver()
    post.begin(SignInLapsed(code="sign_in_expired"))
    said = hear(post.world, "sign_in_needed")
    assert re.findall(r"^PAT: (\S+) ", said, re.MULTILINE) == ["other", NAME]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_sign_in_that_is_lost_with_the_token_cache_is_not_laid_to_entra(is_damaged: bool) -> None:
    post = Post()
    post.deliver()
    refusal = Failure(NOT_SIGNED_IN, "nobody is signed in", f"Run `rotator login {ACCOUNT}`.")
    with post.world.database.begin() as work:
        work.sign_ins.save(SignInMemory(ACCOUNT, refusal=refusal, refused_at=NOW))
    post.begin(SignInLapsed(code=NOT_SIGNED_IN))
    if is_damaged:
        post.begin(TokenCacheDamaged(damage="damaged"), CACHE)
    said = hear(post.world, "sign_in_needed")
    assert "Entra refused nothing" in said
    assert f"Fix: rotator login {ACCOUNT}\n" in said
    assert (f"{ACCOUNT} is signed out, because the token cache is damaged" in said) == is_damaged
    assert (CACHE in said) == is_damaged


def test_damaged_token_cache_names_its_files_and_each_command() -> None:
    post = Post()
    post.deliver()
    post.begin(TokenCacheDamaged(damage="damaged"), CACHE)
    said = hear(post.world, "token_cache_damaged")
    assert f"{CACHE}.previous" in said
    assert f"`rotator login {ACCOUNT}`" in said
    assert f"no impact until {say_moment(post.world.record().valid_to)}" in said.splitlines()[0]


def test_revoked_pat_says_whether_rotator_replaces_it() -> None:
    """It must not be rotated twice."""
    world = make_world()
    pat = replace(world.record(), hold=Hold.REVOKED_ELSEWHERE)
    rule = world.policy.rule_for(pat)
    assert rule is not None
    way_on = say_way_on(pat, world.policy, world.clock.now())
    by_itself = advise_vanished(pat, replace(rule, on_leak=LeakAction.ROTATE), way_on)
    by_hand = advise_vanished(pat, rule, way_on)
    place = f"secret {pat.secret_name} in {pat.vault}"
    assert f"a new PAT in {place} by itself" in by_itself.otherwise
    assert "rotator rotate" not in by_itself.fix
    assert "does not say `on_leak: rotate`" in by_hand.otherwise
    assert f"`rotator rotate {NAME}` makes a new one" in by_hand.fix


def test_revocation_that_is_not_confirmed_tells_the_old_pat_from_the_one_in_use() -> None:
    world, old = make_ignored(times=10)
    for _ in range(3):
        world.advance(minutes=20)
        world.run()
    said, pat = hear(world, "revocation_pending"), world.record()
    with world.database.read() as reading:
        (item,) = reading.revocations.load()
    for fact in (
        f"The old PAT of {NAME} is not revoked yet (id {old})",
        "Consumers: no impact.",
        f'"{pat.display_name}", id {old}, expires {say_moment(item.valid_to)} (account {ACCOUNT}, organization ',
        f"https://dev.azure.com/{ORGANIZATION}/_usersSettings/tokens",
        f"{item.requests} times to revoke it, last at {say_moment(item.requested_at)}",
        f"Do not touch the one that expires {say_moment(pat.valid_to)} (",
        f"id {pat.authorization_id}): it is the current PAT of {NAME}",
    ):
        assert fact in said, said


@pytest.mark.parametrize("is_required", [False, True])
def test_failing_hook_says_which_pats_wait_and_what_ends_it(is_required: bool) -> None:
    hook = ScriptedHook(required=is_required)
    hook.fails = lambda _: BAD
    caller = Caller(hook)
    caller.call()
    before = caller.world.record()
    caller.world.rotate(NAME)
    assert caller.call() == {"failed": 1}
    caller.world.advance(minutes=31)
    caller.call()
    said = hear(caller.world, "hook_failing")
    (rotation,) = caller.world.rotations()
    until = before.valid_to if is_required else rotation.overlap_until
    assert until is not None
    assert (
        f"`secret_stored` of {NAME} (account {ACCOUNT}, organization {ORGANIZATION}, secret {before.secret_name})"
        in said
    )
    assert f"Consumers: no impact until {say_moment(until)}" in said
    assert (f"does not revoke the old PAT of {NAME} before it has succeeded" in said) == is_required
    assert ("Failed tries: 2 of 10;" in said) != is_required
    assert "Why: the hook restart exited with 1; it printed: no such deployment" in said
    assert ("or was dropped" in said) != is_required


def test_hook_that_failed_after_the_old_pat_was_gone_has_consumers_restarted_first() -> None:
    """They fail now; while the old PAT works, the hook itself comes first."""
    calls = [WaitingCall("secret_stored", name, 1, NOW, is_old_gone=True) for name in ("b", "a")]
    gone = advise_hook("restart", calls, 10)
    assert gone.fix.startswith(
        "First restart the consumers of a, b yourself: their old PATs are revoked already. Then correct what made"
    )
    assert "once the old PAT is gone" not in gone.otherwise
    assert advise_hook("restart", [WaitingCall("secret_stored", "a", 1, NOW, NOW)], 10).fix.startswith("Correct what")


def test_short_lifetime_says_what_happens_if_the_renewal_fails() -> None:
    pat = make_world().record()
    advice = advise_short_lifetime(pat, None, timedelta(days=90), NOW + timedelta(hours=4))
    assert "if that renewal succeeds" not in advice.fix
    assert f"If that renewal fails, consumers fail from {say_moment(pat.valid_to)} on" in advice.fix
    assert f"`rotator rotate {NAME}`" in advice.fix
    assert f"Its rule asks for 90 days; {ORGANIZATION} granted only " in advice.meaning


@pytest.mark.parametrize("code", ["foreign_write", "secret_unconfirmed"])
def test_secret_that_others_wrote_may_harm_consumers_at_once(code: str) -> None:
    post = Post()
    post.deliver()
    post.begin(RotationBlocked(code=code, message="m"), NAME)
    said = hear(post.world, "rotation_blocked")
    assert "Consumers: they may be failing now" in said
    assert "If it does not work, they are failing now; if it is still this PAT, they fail when it expires" in said


def test_account_that_an_organization_refuses_says_how_to_try_a_pat() -> None:
    post = Post()
    post.deliver()
    post.begin(OrganizationDown(code="bearer_refused"), f"{ACCOUNT}/{ORGANIZATION}")
    post.world.advance(minutes=31)
    said = hear(post.world, "organization_down")
    assert f"`curl -i -u pat https://dev.azure.com/{ORGANIZATION}/_apis/connectionData`" in said


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        ("something_else", "its first rotation overwrites secret s in v"),
        ("same_name", "its first rotation writes the new PAT to secret s in v"),
        ("blocked", "does not help"),
    ],
)
def test_pat_that_was_not_adopted_says_what_adopting_does_to_the_secret(code: str, effect: str) -> None:
    pat = Pat("id-1", "npm\nfeed", "vso.code", ("o",), NOW, NOW + timedelta(days=9))
    advice = advise_not_adopted(pat, ORGANIZATION, Failure(code, "m", "Do this."), "secret s in v")
    assert (effect in advice.meaning, advice.fix) == (True, "Do this.")
    assert advice.one == f"the PAT npm feed in {ORGANIZATION} was not adopted"


@pytest.mark.parametrize("vault", [VAULT, ""])
def test_what_a_person_replaces_says_how_by_whether_it_has_a_vault(vault: str) -> None:
    """Without one rotator can make no new PAT: there is no secret to write it to."""
    post = Post()
    post.deliver()
    record = replace(post.world.record(), vault=vault)
    with post.world.database.begin() as work:
        claim = work.claims.claim(NAME, "a person", now=work.now(), span=timedelta(minutes=1))
        work.inventory.save(record, claim)
        work.claims.release(claim)
    post.begin(ExpiryForeseen(code="replace_by_hand", expires_at=NOW), NAME)
    said = hear(post.world, "pat_expiring")
    assert (f"`rotator rotate {NAME}`, which writes a new PAT to its secret" in said) is bool(vault)
    assert ("It has no vault, so rotator cannot do it for you" in said) is not bool(vault)
