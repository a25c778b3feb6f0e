"""What lasts: begun by an event, ended by another, and in the audit log only when it changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.audit_event import Detail
from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import ManagedPatState
from rotator.engine.auditing import load_events
from rotator.engine.jobs import refresh_sign_ins
from rotator.engine.keeping import forget, pause, resume, revoke_current
from rotator.engine.left_behind import revoke_left_behind
from rotator.engine.report import OutcomeKind
from rotator.engine.run import Run, recover_interrupted, work_on_due, work_on_named
from rotator.errors import DatabaseError, DeniedError, RotatorError, SignInRequiredError, TransientError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.pat_service import PatFilter
from rotator.ports.sign_in import TokenCacheDamage
from tests.support.engine import ACCOUNT, NAME, VAULT, EngineWorld, make_world
from tests.support.engine_scenarios import make_busy, make_overlapping

CONTOSO = f"{ACCOUNT}/contoso"

BUSY = TransientError("busy", service="entra", operation="refresh")
PATH = "/var/lib/rotator/token-cache.bin"


def make_lapsed(account: str = ACCOUNT) -> SignInRequiredError:
    """What the port raises when a person must sign in."""
    return SignInRequiredError("nobody is signed in", account=account, fix="Sign in.")


LAPSED = make_lapsed()


def list_conditions(world: EngineWorld) -> dict[str, str]:
    """What lasts now, as kind and subject."""
    with world.database.begin() as work:
        return {condition.kind.value: condition.subject for condition in work.conditions.load()}


def load_since(world: EngineWorld, kind: ConditionKind) -> object:
    """Since when one lasts."""
    with world.database.begin() as work:
        (since,) = [condition.since for condition in work.conditions.load() if condition.kind is kind]
    return since


def list_codes(world: EngineWorld, subject: str) -> list[Detail]:
    """Why each event of a subject happened, where the audit log says so."""
    events = load_events(world.database, AuditFilter(subject=subject))
    return [event.entry.details["code"] for event in events if "code" in event.entry.details]


def run_twice(world: EngineWorld) -> None:
    """Two runs, an hour apart."""
    for _ in range(2):
        world.advance(hours=1)
        world.run()


def test_sign_in_is_needed_from_its_lapse_until_a_run_has_it_again() -> None:
    world = make_world()
    world.sign_in.refusals[ACCOUNT] = LAPSED
    began = world.clock.now()
    world.run()
    assert list_conditions(world) == {"sign_in_needed": ACCOUNT}
    run_twice(world)
    assert world.events(ACCOUNT) == ["sign_in_lapsed failed"]
    assert load_since(world, ConditionKind.SIGN_IN_NEEDED) == began
    world.heal()
    run_twice(world)
    assert list_conditions(world) == {}
    assert world.events(ACCOUNT) == ["sign_in_lapsed failed", "sign_in_restored succeeded"]
    assert list_codes(world, ACCOUNT) == ["sign_in_required"]


def test_account_is_down_while_entra_cannot_be_asked() -> None:
    world = make_world()
    world.sign_in.refusals[ACCOUNT] = BUSY
    run_twice(world)
    assert list_conditions(world) == {"account_down": ACCOUNT}
    world.heal()
    run_twice(world)
    assert list_conditions(world) == {}
    assert world.events(ACCOUNT) == ["account_down failed", "account_restored succeeded"]
    assert list_codes(world, ACCOUNT) == ["transient"]


def test_account_is_no_longer_down_when_it_turns_out_that_a_person_must_sign_in() -> None:
    """And while that is so, an Entra that cannot be asked changes nothing."""
    world = make_world()
    for refusal in (BUSY, LAPSED, BUSY, LAPSED):
        world.sign_in.refusals[ACCOUNT] = refusal
        world.run()
    assert list_conditions(world) == {"sign_in_needed": ACCOUNT}
    assert world.events(ACCOUNT) == ["account_down failed", "sign_in_lapsed failed"]


def list_told(world: EngineWorld) -> list[tuple[str, Detail]]:
    """What was told of accounts and organizations, each with its cause."""
    return [(name, line.get("code")) for name, line in world.told if {"account", "organization"} & line.keys()]


def make_denied(code: str) -> DeniedError:
    """What the port raises when an organization does not let the account in."""
    return DeniedError("no access", service="azure_devops", operation="list", status=403, code=code, fix="Ask.")


def test_account_that_is_down_is_told_when_that_begins_has_another_cause_and_ends() -> None:
    """And not at every look: the daemon looks once a minute."""
    world = make_world()
    revoked = SignInRequiredError("revoked", account=ACCOUNT, code="sign_in_revoked")
    for refusal in (BUSY, LAPSED, revoked):
        world.sign_in.refusals[ACCOUNT] = refusal
        run_twice(world)
        refresh_sign_ins(world.make_run())
    world.heal()
    run_twice(world)
    told = [
        ("account_down", "transient"),
        ("sign_in_lapsed", "sign_in_required"),
        ("sign_in_lapsed", "sign_in_revoked"),
    ]
    assert list_told(world) == [*told, ("sign_in_restored", None)]
    assert world.events(ACCOUNT) == [
        "account_down failed",
        "sign_in_lapsed failed",
        "sign_in_lapsed failed",
        "sign_in_restored succeeded",
    ]


def test_organization_that_is_down_is_told_when_that_begins_has_another_cause_and_ends() -> None:
    """Since when it is down stays as it was."""
    world = make_world()
    began = world.clock.now() + timedelta(hours=1)
    for code in ("denied", "forbidden"):
        world.pats.fail("fetch_pats", make_denied(code), times=2)
        run_twice(world)
        assert load_since(world, ConditionKind.ORGANIZATION_DOWN) == began
    world.heal()
    run_twice(world)
    told = [("organization_down", "denied"), ("organization_down", "forbidden"), ("organization_restored", None)]
    assert list_told(world) == told


def test_pat_that_was_left_behind_is_told_once() -> None:
    """What lasts is not told at every look, whatever it is about."""
    world = make_overlapping()
    world.secrets.write_foreign(world.location(), "someone's")
    for _ in range(3):
        run_twice(world)
    assert [name for name, _ in world.told].count("pat_left_behind") == 1


@pytest.mark.parametrize("refusal", [BUSY, make_lapsed("release-bot")], ids=["down", "sign-in needed"])
def test_account_is_dropped_when_the_settings_name_it_no_more(refusal: RotatorError) -> None:
    world = make_world()
    world.sign_in.refusals["release-bot"] = refusal
    world.run()
    world.accounts = world.accounts[:1]
    run_twice(world)
    assert list_conditions(world) == {}
    assert world.events("release-bot")[1:] == ["account_dropped succeeded"]


def test_organization_is_down_until_it_can_be_looked_at_again() -> None:
    """What is not looked at, as the account itself is down, stays as it was."""
    world = make_world()
    denied = DeniedError("no access", service="azure_devops", operation="list", status=403, fix="Ask.")
    world.pats.fail("fetch_pats", denied)
    world.run()
    assert list_conditions(world) == {"organization_down": CONTOSO}
    world.sign_in.refusals[ACCOUNT] = BUSY
    run_twice(world)
    assert list_conditions(world) == {"organization_down": CONTOSO, "account_down": ACCOUNT}
    world.heal()
    run_twice(world)
    assert list_conditions(world) == {}
    assert world.events(CONTOSO) == ["organization_down failed", "organization_restored succeeded"]
    assert list_codes(world, CONTOSO) == ["denied"]


def test_organization_is_dropped_when_nothing_is_managed_there_any_more() -> None:
    world = make_world()
    world.pats.fail("fetch_identity", times=60)
    world.run()
    assert list_conditions(world)["organization_down"] == CONTOSO
    world.heal()
    forget(world.make_run(), NAME)
    world.run()
    assert list_conditions(world) == {}
    assert world.events(CONTOSO)[-1] == "organization_dropped succeeded"


def test_organization_that_can_only_be_listed_is_down_until_revoked_pats_can_be_looked_for() -> None:
    """Work on another PAT lists, each minute: that neither ends it, nor has it told again."""
    world = make_overlapping()
    world.add_managed("other", days_left=20)
    world.advance(hours=25)
    world.pats.failing_lists[PatFilter.REVOKED] = make_busy("list_pats")
    world.run()
    for _ in range(6):
        world.advance(minutes=20)
        world.run()
        work_on_named(world.make_run(), ["other"])
        assert list_conditions(world)["organization_down"] == CONTOSO
        with world.database.read() as reading:
            assert [memory.failure is not None for memory in reading.organizations.load()] == [True]
    assert world.events(CONTOSO) == ["organization_down failed"]
    world.pats.failing_lists.clear()
    work_on_named(world.make_run(), [NAME])
    assert world.events(CONTOSO) == ["organization_down failed", "organization_restored succeeded"]


def test_sign_in_is_needed_when_azure_devops_says_so() -> None:
    world = make_world()
    world.pats.fail("fetch_pats", LAPSED)
    world.run()
    assert list_conditions(world) == {"sign_in_needed": ACCOUNT}
    world.advance(hours=6)
    world.run()
    assert list_conditions(world) == {}


def test_vault_is_down_until_a_pat_of_it_could_be_worked_on() -> None:
    """Another vault's PATs prove nothing."""
    world = make_world(NAME, "other")
    busy = make_busy("fetch_versions", "key_vault")
    world.secrets.fail("prove_writable", busy, times=2)
    world.run()
    assert list_conditions(world)["vault_down"] == VAULT
    world.secrets.fail("prove_writable", busy, times=2)
    world.advance(hours=1)
    world.run()
    world.advance(hours=1)
    world.run()
    assert list_conditions(world) == {}
    assert world.events(VAULT) == ["vault_down failed", "vault_restored succeeded"]
    assert list_codes(world, VAULT) == ["transient"]


@pytest.mark.parametrize(("operation", "failing"), [("prove_writable", "mint"), ("fetch_versions", "revoke")])
def test_vault_works_again_when_it_answers_although_its_pat_is_still_retried(operation: str, failing: str) -> None:
    """What fails at the server says nothing of the vault, before a rotation and at the end of one."""
    world = make_world() if failing == "mint" else make_overlapping()
    world.advance(hours=25)
    world.secrets.fail(operation, make_busy(operation, "key_vault"))
    world.run()
    assert list_conditions(world)["vault_down"] == VAULT
    world.pats.fail(failing, make_busy(failing), times=9)
    world.advance(hours=7)
    world.run()
    assert list_conditions(world) == {"rotation_failing": NAME}
    assert world.events(VAULT) == ["vault_down failed", "vault_restored succeeded"]


def test_vault_that_failed_after_it_answered_is_down() -> None:
    """Another run met the failure while this one still worked on somebody else."""
    world = make_world()
    this = Run(world.make_run())
    this.run.services.secrets.fetch_versions(world.location())
    this.run.services.secrets.prove_access(world.location())
    ((vault, answered),) = this.vaults.list_working()
    world.advance(minutes=1)
    world.secrets.fail("prove_writable", make_busy("store", "key_vault"))
    world.run()
    this.vaults.end(vault, answered)
    assert list_conditions(world)["vault_down"] == VAULT
    world.advance(minutes=-1)
    this.vaults.end(vault, answered)
    assert "vault_down" not in list_conditions(world), "its beginning is in the future: a wrong clock noted it"


def test_vault_is_the_same_one_when_another_record_spells_its_address_otherwise() -> None:
    world = make_world()
    world.secrets.fail("prove_writable", make_busy("fetch_versions", "key_vault"))
    world.run()
    assert list_conditions(world)["vault_down"] == VAULT
    spelled = replace(world.add_managed("other"), vault="https://Contoso-KV.vault.azure.net/")
    with world.database.begin() as work:
        claim = work.claims.claim("other", "a-person", now=world.clock.now(), span=world.timing.lease)
        work.inventory.remove("other", claim)
        work.inventory.add(spelled)
    world.run()
    assert "vault_down" not in list_conditions(world)
    assert world.events(VAULT) == ["vault_down failed", "vault_restored succeeded"]


def test_vault_that_takes_no_writes_is_down_until_it_takes_one() -> None:
    """It can be read, and changed, all the time: an operator is told once, and status says so as long as it is true."""
    world = make_world(NAME, "other")
    world.secrets.fail("store", make_busy("store", "key_vault"), times=9999)
    for _ in range(40):
        world.run()
        assert list_conditions(world)["vault_down"] == VAULT
        world.advance(hours=1)
    assert world.events(VAULT) == ["vault_down failed"]
    world.heal()
    for _ in range(12):
        world.run()
        world.advance(hours=1)
    assert list_conditions(world) == {}
    assert world.events(VAULT) == ["vault_down failed", "vault_restored succeeded"]


def test_vault_that_takes_no_writes_after_it_could_not_be_read_is_told_of_again() -> None:
    """Else what was told first would end it: that it can be read."""
    world = make_overlapping()
    world.advance(hours=25)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), times=1)
    world.run()
    assert list_conditions(world)["vault_down"] == VAULT
    world.add_managed("other", days_left=1)
    world.secrets.fail("store", make_busy("store", "key_vault"), times=9999)
    for _ in range(5):
        world.run()
        world.advance(hours=1)
    assert list_conditions(world)["vault_down"] == VAULT
    assert world.events(VAULT) == ["vault_down failed", "vault_down failed"]


def test_vault_took_a_write_when_it_is_found_there_although_no_answer_came() -> None:
    world = make_world()
    for _ in range(9):
        world.secrets.postpone_store()
    world.run()
    assert list_conditions(world)["vault_down"] == VAULT
    world.heal()
    world.secrets.apply_late()
    world.advance(minutes=1)
    world.run()
    assert world.events(VAULT) == ["vault_down failed", "vault_restored succeeded"]


@pytest.mark.parametrize("answers", [False, True])
def test_vault_that_nothing_is_tried_at_any_more_works_again_only_when_it_answers(answers: bool) -> None:
    """Its PAT is paused: no run works on it, so a look asks the vault, without a change to it."""
    world = make_world()
    world.secrets.fail("prove_writable", make_busy("prove_writable", "key_vault"))
    world.run()
    pause(world.make_run(), NAME)
    versions = world.secrets.fetch_versions(world.location())
    if not answers:
        world.secrets.fail("prove_access", make_busy("prove_access", "key_vault"), times=99)
    run_twice(world)
    assert ("vault_down" in list_conditions(world)) is not answers
    assert world.events(VAULT) == ["vault_down failed", *(["vault_restored succeeded"] if answers else [])]
    assert world.secrets.fetch_versions(world.location()) == versions


def test_vault_is_not_down_when_something_else_is() -> None:
    world = make_world()
    world.pats.fail("fetch_pat")
    world.run()
    world.secrets.denied.add("set")
    world.advance(hours=1)
    world.run()
    assert list_conditions(world) == {"rotation_blocked": NAME}


def test_vault_is_dropped_when_nothing_managed_is_in_it_any_more() -> None:
    world = make_world()
    world.secrets.fail("prove_writable", make_busy("fetch_versions", "key_vault"))
    world.run()
    assert list_conditions(world)["vault_down"] == VAULT
    forget(world.make_run(), NAME)
    world.run()
    assert list_conditions(world) == {}
    assert world.events(VAULT)[-1] == "vault_dropped succeeded"


def test_token_cache_is_damaged_until_it_is_whole() -> None:
    world = make_world()
    world.sign_in.damage = TokenCacheDamage(PATH, "it is cut")
    run_twice(world)
    assert list_conditions(world) == {"token_cache_damaged": PATH}
    world.sign_in.damage = None
    run_twice(world)
    assert list_conditions(world) == {}
    assert world.events(PATH) == ["token_cache_damaged failed", "token_cache_repaired succeeded"]


def test_rotation_is_failing_from_the_first_failure_until_it_succeeds() -> None:
    world = make_world()
    began = world.clock.now()
    world.pats.fail("fetch_pat", times=2)
    world.run()
    assert list_conditions(world) == {"rotation_failing": NAME}
    run_twice(world)
    assert load_since(world, ConditionKind.ROTATION_FAILING) == began if list_conditions(world) else True
    world.heal()
    world.advance(hours=7)
    world.run()
    assert list_conditions(world) == {}


def test_rotation_is_failing_until_the_old_pat_is_gone_when_its_revocation_failed() -> None:
    world = make_overlapping()
    world.pats.fail("revoke", after_effect=True)
    world.run()
    assert list_conditions(world) == {"rotation_failing": NAME}
    world.advance(hours=1)
    world.run()
    assert world.states() == ["completed"]
    assert list_conditions(world) == {}


def test_rotation_is_no_longer_failing_when_it_needs_no_further_try() -> None:
    """Tried by hand long before it is due."""
    world = make_world("other")
    world.add_managed(NAME, days_left=20)
    world.pats.fail("fetch_pat")
    world.rotate(NAME)
    assert list_conditions(world) == {"rotation_failing": NAME}
    world.advance(hours=1)
    world.run()
    assert "failure_cleared succeeded" in world.events()
    assert list_conditions(world) == {}


@pytest.mark.parametrize("permission", ["set", "list"])
def test_rotation_is_no_longer_blocked_when_the_vault_grants_what_it_denied(permission: str) -> None:
    """Tried by hand long before it is due: each later try asks the vault, and changes nothing there."""
    world = make_world("other")
    world.add_managed(NAME, days_left=20)
    world.secrets.denied.add(permission)
    world.rotate(NAME)
    assert list_conditions(world) == {"rotation_blocked": NAME}
    versions, began = world.secrets.versions_of(world.location()), world.record().failures
    world.advance(hours=1)
    work_on_due(world.make_run())
    assert (world.record().blocked, world.record().failures) == (True, began + 1)
    world.secrets.denied.clear()
    world.advance(hours=1)
    work_on_due(world.make_run())
    assert (list_conditions(world), world.events()[-1]) == ({}, "failure_cleared succeeded")
    assert world.secrets.versions_of(world.location()) == versions


def test_rotation_stays_blocked_while_its_organization_is_down() -> None:
    """Nobody saw that the vault lets rotator in again, so nobody is told that this is over."""
    world = make_world()
    world.secrets.denied.add("set")
    world.run()
    assert list_conditions(world) == {"rotation_blocked": NAME}
    told = world.events()
    world.pats.fail("fetch_identity", make_busy("fetch_identity"), times=60)
    run_twice(world)
    assert list_conditions(world) == {"organization_down": CONTOSO, "rotation_blocked": NAME}
    assert world.events() == told
    record = world.record()
    assert (record.blocked, record.last_failure and record.last_failure.code) == (True, "vault_denied")
    world.heal()
    run_twice(world)
    assert list_conditions(world) == {}


def test_denial_is_not_over_because_a_look_for_a_late_write_may_read() -> None:
    """The vault still denies what it denied before: to write."""
    world = make_world()
    world.secrets.fail("store", times=99)
    world.run()
    world.heal()
    world.secrets.denied.add("set")
    run_twice(world)
    run_twice(world)
    assert list_conditions(world)["rotation_blocked"] == NAME
    assert "failure_cleared succeeded" not in world.events()


def test_rotation_is_blocked_from_the_refusal_until_it_can_go_on() -> None:
    """A failure of another kind in between makes it failing, and not blocked."""
    world = make_world()
    world.pats.organizations["contoso"].mint_error = "globalPATCreationBlocked"
    world.run()
    assert list_conditions(world) == {"rotation_blocked": NAME}
    world.heal()
    world.pats.fail("fetch_pat")
    world.advance(hours=7)
    world.run()
    assert list_conditions(world) == {"rotation_failing": NAME}
    world.advance(hours=7)
    world.run()
    assert list_conditions(world) == {}


def test_rotation_is_blocked_and_pats_are_left_behind_when_it_froze() -> None:
    """Until a person rotates it and says what becomes of what was left."""
    world = make_overlapping()
    world.secrets.write_foreign(world.location(), "someone's")
    world.run()
    assert list_conditions(world) == {"rotation_blocked": NAME}
    (old,) = (set(world.live_ids()) - {world.record().authorization_id}) or {""}
    world.run()
    assert list_conditions(world) == {"rotation_blocked": NAME, "pat_left_behind": old}
    world.run()
    assert world.events(old) == ["pat_left_behind unknown"]
    revoke_left_behind(world.make_run(), old)
    assert list_conditions(world) == {"rotation_blocked": NAME}
    assert world.events(old) == ["pat_left_behind unknown", "left_behind_resolved succeeded"]
    world.rotate(NAME)
    assert list_conditions(world) == {}


def test_left_behind_is_resolved_when_the_pat_is_listed_no_more() -> None:
    world = make_overlapping()
    world.secrets.write_foreign(world.location(), "someone's")
    world.run()
    world.run()
    old = list_conditions(world)["pat_left_behind"]
    world.pats.pats[old].revoked = True
    world.pats.fail("fetch_pats")
    world.run()
    assert list_conditions(world)["pat_left_behind"] == old
    world.run()
    assert "pat_left_behind" not in list_conditions(world)
    assert world.events(old)[-1] == "left_behind_resolved succeeded"


def test_late_mint_is_not_left_behind_when_the_run_revokes_it() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.pats.fail("mint")
    world.run()
    world.advance(minutes=11)
    recover_interrupted(world.make_run())
    world.pats.apply_late()
    world.advance(minutes=1)
    world.run()
    assert "pat_left_behind" not in list_conditions(world)


@pytest.mark.parametrize("by_hand", [pause, resume, forget])
def test_nothing_is_blocked_any_more_when_a_person_takes_it_in_hand(by_hand: object) -> None:
    world = make_world()
    world.pats.organizations["contoso"].mint_error = "globalPATCreationBlocked"
    world.run()
    assert list_conditions(world) == {"rotation_blocked": NAME}
    assert callable(by_hand)
    by_hand(world.make_run(), NAME)
    assert list_conditions(world) == {}


def test_nothing_is_failing_any_more_when_a_person_revokes_it() -> None:
    """The audit log says that it is paused, too."""
    world = make_world()
    world.pats.fail("fetch_pat")
    world.run()
    revoke_current(world.make_run(), NAME)
    assert list_conditions(world) == {}
    assert world.events()[-2:] == ["pat_paused succeeded", "pat_revoked succeeded"]
    assert world.record().state is ManagedPatState.PAUSED


def test_tokens_that_one_process_cannot_save_are_not_called_saved_by_another() -> None:
    """The daemon holds them in memory alone; `rotator once` beside it has nothing to save, or saved before that."""
    world = make_overlapping(hours=1)
    world.sign_in.saved_at = world.clock.now()
    world.advance(minutes=1)
    world.sign_in.unsaved = TokenCacheDamage(PATH, "No space left on device")
    world.run()
    for saved_at in (None, world.sign_in.saved_at):
        world.sign_in.unsaved, world.sign_in.saved_at = None, saved_at
        world.run()
        assert list_conditions(world) == {"token_cache_unsaved": PATH}
    world.advance(minutes=1)
    world.sign_in.saved_at = world.clock.now()
    world.run()
    assert list_conditions(world) == {}


def test_vault_whose_end_of_trouble_cannot_be_written_is_reported_and_its_end_is_written_by_the_next_run() -> None:
    world = make_world()
    world.secrets.fail("prove_writable", make_busy("store", "key_vault"))
    world.run()
    world.heal()
    world.advance(hours=7)
    world.database.refusals["vault_restored"] = DatabaseError("no space is left", code="database_full")
    (failed,) = [outcome for outcome in world.run().outcomes if outcome.kind is OutcomeKind.FAILED]
    assert (failed.name, failed.account, failed.organization) == (VAULT, "", "")
    assert failed.failure is not None
    assert failed.failure.message == "no space is left"
    assert list_conditions(world)["vault_down"] == VAULT
    world.run()
    assert "vault_down" not in list_conditions(world)
