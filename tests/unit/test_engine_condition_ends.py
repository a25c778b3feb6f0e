"""No condition outlives its cause: each one ends in every way in which its subject gets well or goes away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.events.event import SubjectKind
from rotator.domain.job_run import JobName
from rotator.domain.managed_pat import Failure, Hold, ManagedPat
from rotator.domain.monitoring_errors import DeliveryError, HookError
from rotator.domain.policy import Guardrails, Match, RuleAction
from rotator.domain.threshold import Threshold
from rotator.domain.urgency import LONGEST_RETRY
from rotator.engine.adopting import adopt, propose
from rotator.engine.auditing import record_policy
from rotator.engine.choices import make_choice
from rotator.engine.delivering import deliver
from rotator.engine.hooking import HookMemory, call_hooks
from rotator.engine.jobs import JobResult, beat, probe_values, verify_audit
from rotator.engine.keeping import forget, pause, resume, revoke_current
from rotator.engine.outage import DeliveryMemory
from rotator.engine.pausing import pause_all, resume_all
from rotator.engine.periods import do_in_period
from rotator.engine.pulse import Pulse
from rotator.engine.stalled import note_no_progress, note_once, note_success
from rotator.engine.status import PatState
from rotator.errors import AuditChainError, DeniedError, FailureKind, SignInRequiredError, VerificationError
from rotator.ports.notifier import UNUSABLE
from rotator.ports.pat_service import PatList
from rotator.ports.permit import unclaimed
from rotator.ports.sign_in import TokenCacheDamage
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, OVERLAP, SCOPE, VAULT, EngineWorld, make_world
from tests.support.engine_scenarios import make_busy
from tests.support.hooks import ScriptedHook
from tests.support.policies import RULE, make_policy
from tests.support.receivers import ScriptedNotifier

ROTATING = make_policy(replace(RULE, overlap=OVERLAP))
IGNORING = make_policy(replace(RULE, action=RuleAction.IGNORE))
ALERTING = make_policy(replace(RULE, action=RuleAction.ALERT))
DENYING = make_policy(replace(RULE, overlap=OVERLAP), guardrails=Guardrails(deny_scopes=("vso.code",)))
IDLE_ACCOUNT = "release-bot"
SUBJECTS = {event.type.begins: event.type.subject for event in EVENTS if event.type.begins is not None}


def list_conditions(world: EngineWorld) -> set[tuple[ConditionKind, str]]:
    """What lasts now."""
    with world.database.read() as reading:
        return {(condition.kind, condition.subject) for condition in reading.conditions.load()}


def list_kinds(world: EngineWorld) -> list[str]:
    """The kinds of what lasts now."""
    return sorted(kind.value for kind, _ in list_conditions(world))


def save(world: EngineWorld, pat: ManagedPat, *, name: str | None = None) -> None:
    """Write a record with no event, as another version of the product or a restored backup would have left it."""
    with world.database.begin() as work:
        claim = work.claims.claim(pat.name, "a person", now=work.now(), span=world.timing.lease)
        work.inventory.remove(pat.name, claim)
        work.inventory.add(replace(pat, name=name or pat.name, epoch=0))


def damage_listing(world: EngineWorld) -> None:
    """Let one entry of every list be unreadable."""
    world.pats.change_listed = lambda listed: PatList(listed, ["odd"])


def lose_account(world: EngineWorld) -> None:
    """A person must sign an account in."""
    world.sign_in.refusals[IDLE_ACCOUNT] = SignInRequiredError("nobody is signed in", account=IDLE_ACCOUNT)


def leave_behind(world: EngineWorld) -> None:
    """A rotation froze, and its old PAT lives."""
    world.run()
    world.advance(hours=24)
    world.secrets.write_foreign(world.location(), "someone's")
    world.run()


def lose_clone(world: EngineWorld) -> None:
    """No new PAT authenticates; one was given up already."""
    error = VerificationError("the probe was refused", code="verification_failed")
    world.pats.fail("verify", error, times=100_000)
    world.run()
    world.advance(minutes=6)


def ignore_revocation(world: EngineWorld) -> None:
    """The revocation of the old PAT is answered as done and does nothing."""
    world.run()
    world.advance(hours=24)
    world.pats.ignores_revoke = lambda authorization_id: True
    world.run()
    world.advance(minutes=15)


def shorten(world: EngineWorld) -> None:
    """A PAT that is near its expiry gets a clone that would be due at once."""
    world.policy = make_policy(replace(RULE, overlap=OVERLAP, rotate_before=Threshold(duration=timedelta(days=20))))
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=10)
    world.advance(days=4)


def ask_for_twins(world: EngineWorld) -> None:
    """A rule asks to take over two PATs of one name."""
    world.policy = make_policy(replace(RULE, match=Match(display_name="twin"), adopt=True), *ROTATING.rules)
    for _ in range(2):
        world.pats.add_pat(ACCOUNT, ORGANIZATION, "twin", SCOPE, world.clock.now() + timedelta(days=20))


def break_chain(world: EngineWorld) -> None:
    """An event was altered when the audit log was verified, and was put back since."""
    world.run()
    with world.database.read() as reading:
        event = reading.audit.load(2)
    assert event is not None
    world.database.alter(replace(event, hash="0" * 64))
    with pytest.raises(AuditChainError):
        verify_audit(world.make_run())
    world.database.alter(event)


def fail_over(world: EngineWorld) -> None:
    """A standby took over, and a secret cannot be read."""
    world.database.clocks.timeline = "a1/1"
    world.run()
    world.database.clocks.timeline = "a1/2"
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"))


def refuse_value(world: EngineWorld) -> None:
    """The server takes the value of the current PAT no more, which two probes see."""
    world.run()
    world.advance(hours=25)
    world.run()
    world.pats.pats[world.record().authorization_id].value = "another value"
    for _ in range(2):
        probe_values(world.make_run(), timedelta(days=1))
        world.advance(minutes=15)


def near_end(world: EngineWorld) -> None:
    """Two days before its expiry somebody else's rule keeps it from being rotated."""
    world.pats.organizations[ORGANIZATION].mint_error = "globalPATCreationBlocked"
    world.run()
    world.advance(days=3)


BEGINS: dict[ConditionKind, Callable[[EngineWorld], object]] = {
    ConditionKind.RECEIVER_FAILING: lambda world: lose_receiver(world),
    ConditionKind.HOOK_FAILING: lambda world: lose_hook(world),
    ConditionKind.SIGN_IN_NEEDED: lose_account,
    ConditionKind.ACCOUNT_DOWN: lambda world: world.sign_in.refusals.update({IDLE_ACCOUNT: make_busy()}),
    ConditionKind.ORGANIZATION_DOWN: lambda world: world.pats.fail("fetch_pats", times=9),
    ConditionKind.VAULT_DOWN: lambda world: world.secrets.fail("prove_writable", make_busy("store", "key_vault")),
    ConditionKind.ROTATION_FAILING: lambda world: world.pats.fail("fetch_pat"),
    ConditionKind.ROTATION_BLOCKED: lambda world: setattr(
        world.pats.organizations[ORGANIZATION], "mint_error", "globalPATCreationBlocked"
    ),
    ConditionKind.PAT_VANISHED: lambda world: setattr(
        world.pats.pats[world.record().authorization_id], "revoked", True
    ),
    ConditionKind.PAT_EXPIRING: near_end,
    ConditionKind.CLONES_ABANDONED: lose_clone,
    ConditionKind.LIFETIME_SHORTENED: shorten,
    ConditionKind.CLOCK_WRONG: lambda world: world.witnesses.ahead.update(key_vault=timedelta(days=1)),
    ConditionKind.TIMELINE_CHANGED: fail_over,
    ConditionKind.PAT_LEFT_BEHIND: leave_behind,
    ConditionKind.REVOCATION_PENDING: ignore_revocation,
    ConditionKind.TOKEN_CACHE_DAMAGED: lambda world: setattr(
        world.sign_in, "damage", TokenCacheDamage("/token-cache", "it is cut")
    ),
    ConditionKind.TOKEN_CACHE_UNSAVED: lambda world: setattr(
        world.sign_in, "unsaved", TokenCacheDamage("/token-cache", "No space left on device")
    ),
    ConditionKind.LISTING_DAMAGED: damage_listing,
    ConditionKind.ADOPTION_BLOCKED: ask_for_twins,
    ConditionKind.AUDIT_BROKEN: break_chain,
    ConditionKind.PROBE_FAILING: refuse_value,
    ConditionKind.ALL_PAUSED: lambda world: pause_all(world.make_run()),
    ConditionKind.JOB_STALLED: lambda world: note_no_progress(world.make_run(), JobName.REFRESH),
    ConditionKind.DAEMONS_MIXED: lambda world: mix_daemons(world),
}
"""How each condition begins at the next run."""


def resume_everything(world: EngineWorld) -> None:
    """A person ends the pause; nothing else does."""
    resume_all(world.make_run())


def drop_account(world: EngineWorld) -> None:
    """The settings name it no more."""
    world.accounts = world.accounts[:1]


def get_well(world: EngineWorld) -> None:
    """Whatever was wrong is mended, and the next try has come."""
    world.heal()
    world.sign_in.damage = world.sign_in.unsaved = None
    world.sign_in.saved_at = world.clock.now()
    world.advance(hours=7)


def finish(world: EngineWorld) -> None:
    """An open rotation is finished."""
    if any(rotation.is_open for rotation in world.rotations()):
        world.advance(hours=25)
        world.run()


def forget_all(world: EngineWorld) -> None:
    """A person forgets what is managed; an open rotation is finished before."""
    finish(world)
    forget(world.make_run(), NAME)


def revoke_by_hand(world: EngineWorld) -> None:
    """A person revokes what consumers use; an open rotation is finished before."""
    finish(world)
    revoke_current(world.make_run(), NAME)


def pause_and_revoke_by_hand(world: EngineWorld) -> None:
    """A person paused it before."""
    finish(world)
    pause(world.make_run(), NAME)
    revoke_current(world.make_run(), NAME)


def revoke_elsewhere(world: EngineWorld) -> None:
    """Somebody revokes it in Azure DevOps, which its record says from the next look on, whoever looks first."""
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    world.advance(hours=1)
    probe_values(world.make_run(), timedelta(days=1))


def revoke_by_hand_and_probe(world: EngineWorld) -> None:
    """A person revokes what consumers use, and disables its secret."""
    revoke_by_hand(world)
    world.secrets.disable(world.location(), world.latest().version.version, permit=unclaimed)
    for _ in range(4):
        world.advance(hours=1)
        probe_values(world.make_run(), timedelta(days=1))


def lose_record(world: EngineWorld) -> None:
    """The record is gone, and no event says so."""
    world.forget()


def lose_idle_record(world: EngineWorld) -> None:
    """The record is gone when no rotation of it is open, so that nothing is left behind."""
    world.advance(hours=25)
    world.run()
    assert not any(rotation.is_open for rotation in world.rotations())
    world.forget()


def forget_and_revoke(world: EngineWorld) -> None:
    """A person forgets what is managed, and revokes in Azure DevOps what it left behind."""
    forget_all(world)
    world.run()
    for fake in world.pats.live_pats():
        fake.revoked = True


def forget_and_adopt(world: EngineWorld) -> None:
    """A person forgets what is managed, and manages instead what it left behind."""
    forget_all(world)
    world.run()
    for kind, identifier in list_conditions(world):
        if kind is ConditionKind.PAT_LEFT_BEHIND:
            run, choice = world.make_run(), make_choice(identifier, identifier)
            assert adopt(run, propose(run, [identifier], everything=False, choice=choice)).proposals


def rename(world: EngineWorld) -> None:
    """The record has another name and is well."""
    save(world, world.record().healed(), name="another")


def take_over(world: EngineWorld) -> None:
    """A person paused it."""
    pause(world.make_run(), NAME)


def ignore(world: EngineWorld) -> None:
    """The rule says to leave it alone."""
    world.policy = IGNORING


def alert(world: EngineWorld) -> None:
    """The rule only wants a person told."""
    world.policy = ALERTING


def heal_record(world: EngineWorld) -> None:
    """The record says that nothing is wrong, and no event said so."""
    world.heal()
    save(world, world.record().healed())


def move_cache(world: EngineWorld) -> None:
    """The token cache is another file, damaged too, and then whole; tokens are saved there."""
    world.sign_in.damage = TokenCacheDamage("/another-cache", "it is cut")
    world.sign_in.unsaved, world.sign_in.saved_at = None, world.clock.now()


def revoke_all(world: EngineWorld) -> None:
    """Everything that is not managed is revoked."""
    for identifier, fake in world.pats.pats.items():
        fake.revoked = fake.revoked or identifier != world.record().authorization_id


def move_values(world: EngineWorld) -> None:
    """The values are in another vault from now on."""
    save(world, replace(world.record(), vault="https://another.vault.azure.net"))


def renew(world: EngineWorld) -> None:
    """The full life is granted again, and the short one comes to two thirds of it twice."""
    world.heal()
    world.pats.organizations[ORGANIZATION].max_lifetime = None
    for _ in range(15):
        world.advance(days=1)
        world.run()


LIVES = (ConditionKind.LIFETIME_SHORTENED,)
"""What a PAT's own life ends, and no next try."""


def set_clocks(world: EngineWorld) -> None:
    """Every clock is right."""
    world.witnesses.ahead.update(key_vault=timedelta(0))


def hear_nobody(world: EngineWorld) -> None:
    """The witness is not heard any more."""
    world.witnesses.ahead.clear()


def verify_again(world: EngineWorld) -> None:
    """The audit log is verified, and holds."""
    verify_audit(world.make_run())


def probe_again(world: EngineWorld) -> None:
    """The server takes the value again, which the next probe sees."""
    world.pats.pats[world.record().authorization_id].value = world.latest().value.reveal()
    world.advance(hours=1)
    probe_values(world.make_run(), timedelta(days=1))


def lose_receiver(world: EngineWorld) -> None:
    """A receiver of notifications cannot be used."""
    notifier = ScriptedNotifier()
    notifier.unusable = DeliveryError("no plugin takes it", code=UNUSABLE, kind=FailureKind.UNUSABLE)
    deliver(world.make_run(), (notifier,), DeliveryMemory())


def find_receiver(world: EngineWorld) -> None:
    """The receiver can be used, after a restart."""
    deliver(world.make_run(), (ScriptedNotifier(),), DeliveryMemory())


def drop_receiver(world: EngineWorld) -> None:
    """The settings name another receiver."""
    deliver(world.make_run(), (ScriptedNotifier("backup"),), DeliveryMemory())


def lose_hook(world: EngineWorld) -> None:
    """A hook fails."""
    hook = ScriptedHook(events=("policy_changed",))
    hook.errors = [HookError("the hook restart exited with 1")]
    world.policy = replace(world.policy, hooks=(hook.terms,))
    call_hooks(world.make_run(), (hook,), HookMemory())
    world.policy = replace(world.policy, digest="1" * 64)
    record_policy(world.make_run())
    call_hooks(world.make_run(), (hook,), HookMemory())


def call_hook_again(world: EngineWorld) -> None:
    """The hook succeeds."""
    world.advance(minutes=1)
    call_hooks(world.make_run(), (ScriptedHook(),), HookMemory())


def remove_hook(world: EngineWorld) -> None:
    """The settings have no hook any more."""
    call_hooks(world.make_run(), (), HookMemory())


def list_again(world: EngineWorld) -> None:
    """The server lists the PAT again."""
    world.pats.pats[world.record().authorization_id].revoked = False


def replace_by_hand(world: EngineWorld) -> None:
    """A person has it replaced."""
    world.rotate(NAME)


def do_job(world: EngineWorld) -> None:
    """The job succeeds again."""
    do_in_period(world.make_run(), JobName.REFRESH, world.clock.now(), "daemon-1", lambda run: JobResult())
    note_success(world.make_run(), JobName.REFRESH, "daemon-1")


def do_without_daemon(world: EngineWorld) -> None:
    """Nobody does the job any more: `rotator once` took the place of the daemon."""
    note_once(world.make_run())


def mix_daemons(world: EngineWorld) -> None:
    """Two hosts work with different versions."""
    pulses = [Pulse(f"start@{name}#1.1", world.clock.now(), timedelta(minutes=1), name) for name in "ab"]
    for _ in range(9):
        world.advance(seconds=30)
        for pulse in pulses:
            beat(world.make_run(), pulse)


def beat_alone(world: EngineWorld) -> None:
    """One of them is left."""
    pulse = Pulse("start@a#1.1", world.clock.now(), timedelta(minutes=1), "a")
    for _ in range(30):
        world.advance(seconds=30)
        beat(world.make_run(), pulse)


def end_daemons(world: EngineWorld) -> None:
    """None is left."""
    world.advance(minutes=5)
    note_once(world.make_run())


UNRECORDED = {ConditionKind.DATABASE_DOWN}
"""What lasts in the daemon's memory alone: `test_engine_delivering` has it."""
RECORD_WAYS = (
    forget_all,
    revoke_by_hand,
    pause_and_revoke_by_hand,
    lose_record,
    rename,
    take_over,
    ignore,
    alert,
    heal_record,
)
WAYS: dict[SubjectKind, tuple[Callable[[EngineWorld], None], ...]] = {
    SubjectKind.ACCOUNT: (get_well, drop_account),
    SubjectKind.ORGANIZATION: (get_well, forget_all, lose_record),
    SubjectKind.VAULT: (get_well, move_values, *RECORD_WAYS),
    SubjectKind.MANAGED_PAT: (get_well, *RECORD_WAYS),
    SubjectKind.PAT: (revoke_all, forget_all, lose_record),
    SubjectKind.TOKEN_CACHE: (get_well, move_cache),
    SubjectKind.CLOCK: (set_clocks, hear_nobody),
    SubjectKind.AUDIT_LOG: (verify_again,),
    SubjectKind.RECEIVER: (find_receiver, drop_receiver),
    SubjectKind.HOOK: (call_hook_again, remove_hook),
    SubjectKind.JOB: (do_job, do_without_daemon),
    SubjectKind.DAEMON: (beat_alone, end_daemons),
    SubjectKind.DATABASE: (get_well, forget_all, lose_record),
    SubjectKind.INVENTORY: (resume_everything,),
}
"""In which ways a subject gets well or goes away."""
LEFT_WAYS = (revoke_all, forget_and_revoke, forget_and_adopt)
"""A PAT that was left behind lives on, whatever becomes of the record."""
LISTED_WAYS = (get_well, forget_all, lose_idle_record)
"""A list is looked at as long as it may show a PAT that was left behind."""
SHORT_WAYS = (renew, *(way for way in RECORD_WAYS if way is not heal_record))
ASKED = (ConditionKind.ADOPTION_BLOCKED,)
"""What a rule asks for, whoever else is managed."""
PROBED_WAYS = (
    probe_again,
    forget_all,
    lose_record,
    rename,
    revoke_by_hand,
    pause_and_revoke_by_hand,
    revoke_elsewhere,
    revoke_by_hand_and_probe,
)
"""What a probe found is ended by a probe, whatever the policy says."""
VANISHED_WAYS = (list_again, replace_by_hand, forget_all, lose_record, rename, take_over, revoke_by_hand)
"""That a PAT vanished is so whatever the policy says, and no next try ends it."""
EXPIRING_WAYS = (get_well, forget_all, revoke_by_hand, lose_record, rename, ignore, heal_record)
"""A pause and a rule that only alerts do not keep it from expiring."""
OWN_WAYS = {
    ConditionKind.PAT_EXPIRING: EXPIRING_WAYS,
    ConditionKind.PAT_VANISHED: VANISHED_WAYS,
    ConditionKind.PAT_LEFT_BEHIND: LEFT_WAYS,
    ConditionKind.LISTING_DAMAGED: LISTED_WAYS,
    ConditionKind.PROBE_FAILING: PROBED_WAYS,
}
CASES = [
    (kind, way)
    for kind in ConditionKind
    if kind not in (*LIVES, *ASKED, *UNRECORDED)
    for way in OWN_WAYS.get(kind, WAYS[SUBJECTS[kind]])
]
CASES += [(kind, way) for kind in ASKED for way in (revoke_all, ignore, alert)]
CASES += [(kind, way) for kind in LIVES for way in SHORT_WAYS]


def test_every_condition_has_a_beginning_and_ways_to_end_when_it_is_in_the_catalogue() -> None:
    assert set(SUBJECTS) == set(ConditionKind)
    assert set(BEGINS) == set(ConditionKind) - UNRECORDED


@pytest.mark.parametrize(("kind", "way"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_condition_ends_when_its_subject_gets_well_or_goes_away(
    kind: ConditionKind, way: Callable[[EngineWorld], None]
) -> None:
    world = make_world(policy=ROTATING)
    BEGINS[kind](world)
    world.run()
    begun = {found for found in list_conditions(world) if found[0] is kind}
    assert begun
    way(world)
    for _ in range(2):
        world.run()
        assert not begun & list_conditions(world)


@pytest.mark.parametrize("way", [forget_all, lose_record])
@pytest.mark.parametrize("kind", [ConditionKind.PAT_LEFT_BEHIND, ConditionKind.LISTING_DAMAGED])
def test_condition_lasts_when_the_last_record_is_gone_and_a_pat_was_left_behind(
    kind: ConditionKind, way: Callable[[EngineWorld], None]
) -> None:
    """The record's end is not the PAT's: it is looked for, in a list that may be damaged, until it is seen gone."""
    world = make_world(policy=ROTATING)
    leave_behind(world)
    damage_listing(world)
    world.run()
    begun = {found for found in list_conditions(world) if found[0] is kind}
    assert begun
    way(world)
    for _ in range(2):
        world.run()
        assert begun <= list_conditions(world)
    world.heal()
    for fake in world.pats.live_pats():
        fake.revoked = True
    world.run()
    assert not begun & list_conditions(world)


def test_pat_that_the_policy_forbids_is_blocked_until_the_policy_allows_it() -> None:
    """A person must act, so it is told, once."""
    world = make_world(policy=DENYING)
    world.run()
    world.advance(hours=1)
    world.run()
    assert list_conditions(world) == {(ConditionKind.ROTATION_BLOCKED, NAME)}
    assert world.events() == ["rotation_blocked failed"]
    assert ("rotation_blocked", NAME) in [(event, line["name"]) for event, line in world.told if "name" in line]
    world.policy = ROTATING
    world.run()
    assert list_conditions(world) == set()
    assert world.events()[1:3] == ["failure_cleared succeeded", "rotation_planned intended"]


def test_pat_that_is_failing_is_blocked_instead_when_the_policy_forbids_it() -> None:
    world = make_world()
    world.pats.fail("fetch_pat")
    world.run()
    world.policy = DENYING
    world.run()
    assert list_kinds(world) == ["rotation_blocked"]
    world.advance(hours=7)
    world.run()
    assert list_kinds(world) == ["rotation_blocked"]
    assert world.events() == ["rotation_failed failed", "rotation_blocked failed"]


def test_refusal_by_hand_is_past_when_the_policy_allows_what_is_not_due() -> None:
    world = make_world("other", policy=DENYING)
    world.add_managed(NAME, days_left=20)
    world.rotate(NAME)
    assert world.record().blocked
    world.policy = ROTATING
    world.run()
    assert not world.record().blocked
    assert (ConditionKind.ROTATION_BLOCKED, NAME) not in list_conditions(world)


def test_record_has_its_condition_when_it_was_blocked_before_there_were_any() -> None:
    """An upgrade brings the table; what was blocked before is told by the next run. So is what adopting found."""
    world = make_world("other", NAME)
    refused = Failure("rejected", "the server refused", "Ask.")
    save(world, replace(world.record(), blocked=True, last_failure=refused))
    failed = replace(world.record("other"), last_failure=refused, retry_at=world.clock.now() + LONGEST_RETRY)
    save(world, failed)
    world.run()
    assert list_conditions(world) == {
        (ConditionKind.ROTATION_BLOCKED, NAME),
        (ConditionKind.ROTATION_FAILING, "other"),
    }
    world.run()
    assert (world.events(), world.events("other")) == (["rotation_blocked failed"], ["rotation_failed failed"])


def test_hold_keeps_its_condition_when_the_rule_ignores_it() -> None:
    """That others wrote its secret, or that it is gone, is so whatever the rule says; a person's pause ends it."""
    world = make_world()
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    assert world.record().hold is Hold.REVOKED_ELSEWHERE
    world.policy = IGNORING
    world.run()
    assert list_kinds(world) == ["pat_vanished"]
    pause(world.make_run(), NAME)
    for _ in range(2):
        world.advance(hours=7)
        world.run()
        assert list_kinds(world) == []
    world.policy = ROTATING
    resume(world.make_run(), NAME)
    world.run()
    assert list_kinds(world) == ["pat_vanished"]


def test_status_does_not_say_blocked_when_the_rule_ignores_it() -> None:
    world = make_world()
    BEGINS[ConditionKind.ROTATION_BLOCKED](world)
    world.run()
    assert world.show_status()[0].state is PatState.BLOCKED
    world.policy = IGNORING
    world.run()
    assert world.show_status()[0].state is PatState.OK
    assert world.record().last_failure is None


def test_block_stays_when_a_person_must_act_although_it_is_not_due() -> None:
    world = make_world("other")
    world.add_managed(NAME, days_left=20)
    world.secrets.fail(
        "prove_writable", DeniedError("no", service="key_vault", operation="write", status=403, fix="Ask.")
    )
    world.rotate(NAME)
    world.advance(hours=7)
    world.run()
    assert (ConditionKind.ROTATION_BLOCKED, NAME) in list_conditions(world)


@pytest.mark.parametrize("skip", [0, 1])
def test_vault_stays_down_when_one_pat_fails_and_another_does_not_in_the_same_run(skip: int) -> None:
    """Whichever comes first; and it is told once."""
    world = make_world(NAME, "other", "third")
    world.secrets.fail("prove_writable", make_busy("store", "key_vault"), skip=skip)
    world.run()
    world.add_managed("fourth")
    world.secrets.fail("prove_writable", make_busy("store", "key_vault"), skip=skip)
    world.advance(minutes=10)
    world.run()
    assert (ConditionKind.VAULT_DOWN, VAULT) in list_conditions(world)
    assert world.events(VAULT) == ["vault_down failed"]


def test_vault_works_again_when_what_was_interrupted_in_it_is_recovered() -> None:
    """Not only a rotation or the end of one shows it."""
    world = make_world()
    world.secrets.fail("fetch_latest", make_busy("fetch_latest", "key_vault"), times=30)
    world.run()
    assert (ConditionKind.VAULT_DOWN, VAULT) in list_conditions(world)
    world.heal()
    world.advance(hours=1)
    world.run()
    world.run()
    assert list_conditions(world) == set()


def test_nothing_is_remembered_as_untracked_where_nothing_is_managed_any_more() -> None:
    """Nobody looks there again, so nobody would ever see it gone. No rotation left a PAT there."""
    world = make_world(policy=ALERTING)
    world.pats.add_pat(ACCOUNT, ORGANIZATION, "stray", SCOPE, world.clock.now() + OVERLAP)
    world.run()
    assert [row.name for row in world.show_status() if row.state is PatState.UNTRACKED] == ["stray"]
    world.forget()
    world.run()
    assert world.show_status() == ()
