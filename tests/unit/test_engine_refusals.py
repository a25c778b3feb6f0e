"""What must not be rotated, what must not be kept, and what is found out before anything is minted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import Pat
from rotator.domain.policy import Guardrails
from rotator.domain.secret_value import SecretValue
from rotator.domain.threshold import Threshold
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.planning import make_plan
from rotator.engine.report import OutcomeKind, RunReport
from rotator.engine.run import run_once
from rotator.engine.tags import ROTATION_TAG
from rotator.errors import PlanRefusedError, RotationError, TransientError, VerificationError
from rotator.ports.pat_service import MintedPat
from tests.support.engine import NAME, SCOPE, EngineWorld, codes_of, make_world, names_of
from tests.support.policies import RULE, make_policy

FABRIKAM = "38c1b7f4-52f0-4f3c-8a75-2f1f6f3f0c02"
CONTOSO = "38c1b7f4-52f0-4f3c-8a75-2f1f6f3f0c01"


def get_code(report: RunReport, *, blocked: bool = True) -> str:
    """The code of the only failure in the report, which tells what to do."""
    (entry,) = report.of_kind(OutcomeKind.BLOCKED) if blocked else report.of_kind(OutcomeKind.FAILED)
    assert (report.of_kind(OutcomeKind.FAILED) if blocked else report.of_kind(OutcomeKind.BLOCKED)) == ()
    assert entry.failure is not None
    assert entry.failure.fix
    assert not entry.failure.message.startswith(entry.name), "it is shown beside its name"
    return entry.failure.code


def retarget(world: EngineWorld, *targets: str, everywhere: bool = False) -> None:
    fake = world.pats.pats[world.record().authorization_id]
    fake.pat = replace(fake.pat, target_accounts=None if everywhere else targets)


def make_refused() -> VerificationError:
    return VerificationError("Azure DevOps does not accept the credential", fix="Wait.")


# Blocked before anything is sent.


def test_pat_is_blocked_when_it_is_valid_for_all_organizations() -> None:
    world = make_world()
    retarget(world, everywhere=True)
    assert get_code(world.run()) == "all_organizations"
    assert world.record().blocked
    assert world.count("mint") == world.count("prove_writable") == 0
    world.check_served()


def test_pat_is_blocked_when_it_is_valid_for_several_organizations() -> None:
    world = make_world()
    retarget(world, CONTOSO, FABRIKAM)
    assert get_code(world.run()) == "several_organizations"
    assert world.count("mint") == 0


def test_other_pats_go_on_when_one_is_blocked() -> None:
    world = make_world("a", NAME)
    retarget(world, everywhere=True)
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == ["a"]
    assert find_code_of_report(report) == 3


def test_blocked_pat_is_not_looked_at_again_when_its_wait_lasts() -> None:
    world = make_world()
    retarget(world, everywhere=True)
    world.run()
    asked = world.count("fetch_pat")
    world.advance(minutes=4)
    world.run()
    assert world.count("fetch_pat") == asked
    retarget(world, CONTOSO)
    world.advance(minutes=2)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert not world.record().blocked


@pytest.mark.parametrize("scopes", [("vso.code",), ("app_token", "vso.packaging")])
def test_pat_is_blocked_when_a_guardrail_denies_its_scope(scopes: tuple[str, ...]) -> None:
    world = make_world(policy=make_policy(RULE, guardrails=Guardrails(deny_scopes=scopes)))
    world.run()
    assert world.count("mint") == 0
    (action,) = make_plan(world.make_run()).actions
    assert action.kind.value == "blocked"
    assert action.failure is not None
    assert "denied by guardrails.deny_scopes" in action.failure.message
    assert action.failure.fix


def test_guardrail_holds_when_a_person_asks_for_a_rotation() -> None:
    world = make_world(policy=make_policy(RULE, guardrails=Guardrails(deny_scopes=("vso.code",))))
    assert get_code(world.rotate(NAME)) == "blocked"
    assert world.count("mint") == 0


def test_guardrail_holds_when_the_server_describes_more_scopes_than_the_inventory() -> None:
    world = make_world(policy=make_policy(RULE, guardrails=Guardrails(deny_scopes=("app_token",))))
    fake = world.pats.pats[world.record().authorization_id]
    fake.pat = replace(fake.pat, scope=f"{SCOPE} app_token")
    world.run()
    assert world.count("mint") == 0


def test_pat_is_blocked_when_it_was_revoked_outside() -> None:
    world = make_world()
    world.pats.pats[world.record().authorization_id].revoked = True
    assert get_code(world.run()) == "revoked_elsewhere"
    assert world.count("mint") == 0


def test_pat_is_blocked_when_it_was_revoked_outside_before_it_is_due() -> None:
    world = make_world()
    world.add_managed("fresh", days_left=20)
    world.pats.pats[world.record("fresh").authorization_id].revoked = True
    report = world.run()
    assert [(entry.name, entry.failure and entry.failure.code) for entry in report.of_kind(OutcomeKind.BLOCKED)] == [
        ("fresh", "revoked_elsewhere")
    ]
    assert world.run().of_kind(OutcomeKind.BLOCKED) == ()


def test_revoked_pat_is_replaced_when_a_person_asks_for_it() -> None:
    world = make_world()
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    assert world.record().last_failure is None
    world.finish()


def test_pat_is_not_rotated_when_no_rule_covers_it() -> None:
    world = make_world(policy=make_policy())
    world.run()
    assert world.count("mint") == 0
    assert get_code(world.rotate(NAME)) == "blocked"


# The vault, looked at before minting.


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda world: world.secrets.denied.add("set"), "vault_denied"),
        (lambda world: setattr(world.secrets, "firewall", True), "vault_firewall"),
        (lambda world: world.secrets.soft_delete(world.location()), "secret_soft_deleted"),
        (lambda world: world.secrets.write_foreign(world.location(), "x", enabled=False), "secret_disabled"),
    ],
    ids=["denied", "firewall", "soft_deleted", "disabled"],
)
def test_nothing_is_minted_when_the_vault_would_not_take_it(spoil: Callable[[EngineWorld], None], code: str) -> None:
    world = make_world()
    spoil(world)
    report = world.run()
    (entry,) = report.of_kind(OutcomeKind.BLOCKED)
    assert entry.failure is not None
    assert entry.failure.code == code
    assert world.count("mint") == 0
    assert world.states() == ["abandoned"]


def test_account_goes_on_when_only_its_vault_denies() -> None:
    world = make_world("a", "b")
    world.secrets.denied.add("set")
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == [
        "vault_denied",
        "vault_denied",
    ]


def test_nothing_is_minted_when_an_unknown_rotation_wrote_the_secret() -> None:
    world = make_world()
    world.secrets.write_foreign(world.location(), "x", {ROTATION_TAG: "f" * 32})
    assert get_code(world.run()) == "database_behind"
    assert get_code(world.rotate(NAME)) == "database_behind"
    assert world.count("mint") == 0


def make_rotated_world() -> EngineWorld:
    """A world whose ManagedPat was rotated once by us and is due again."""
    world = make_world()
    world.run()
    world.advance(hours=24)
    world.run()
    world.clock.advance(world.record().valid_to - world.clock.now() - timedelta(days=5))
    return world


def test_nothing_is_minted_when_somebody_else_wrote_the_secret() -> None:
    world = make_rotated_world()
    world.secrets.write_foreign(world.location(), "theirs")
    assert get_code(world.run()) == "foreign_write"
    assert world.count("mint") == 1
    assert world.latest().value.reveal() == "theirs"


def test_foreign_write_is_overruled_when_a_person_asks_for_a_rotation() -> None:
    world = make_rotated_world()
    world.secrets.write_foreign(world.location(), "theirs")
    world.run()
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    world.finish()


# The answer to the mint.


def make_storming_world() -> EngineWorld:
    """A server that grants five days at most, and a rule that renews seven days before the end."""
    world = make_world(policy=make_policy(replace(RULE, rotate_before=Threshold(duration=timedelta(days=7)))))
    world.pats.organizations["contoso"].max_lifetime = timedelta(days=5)
    return world


def test_clone_is_revoked_and_the_maximum_learned_when_it_would_be_due_at_once() -> None:
    world = make_storming_world()
    assert get_code(world.run()) == "lifetime_clamped"
    with world.database.begin() as work:
        assert work.limits.load() == {("build-bot", "contoso"): LifetimeLimit(timedelta(days=5), world.clock.now())}
    assert world.states() == ["abandoned"]
    world.check_rest()


def test_server_is_not_stormed_when_the_learned_maximum_is_below_the_threshold() -> None:
    world = make_storming_world()
    for _ in range(47):
        world.run()
        world.advance(hours=1)
    assert world.count("mint") == 1
    (action,) = make_plan(world.make_run()).actions
    assert action.kind.value == "blocked"


def test_clone_is_accepted_and_the_maximum_learned_when_it_lives_long_enough() -> None:
    world = make_world()
    world.pats.organizations["contoso"].max_lifetime = timedelta(days=20)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.record().lifetime == timedelta(days=20)
    assert world.latest().version.expires_at == world.record().valid_to.replace(microsecond=0)
    world.advance(days=16)
    world.run()
    world.advance(hours=24)
    world.run()
    last = world.rotations()[-1]
    assert last.planned_valid_to is not None
    assert last.planned_valid_to == last.new_valid_to
    assert timedelta(days=19) < last.planned_valid_to - last.created_at < timedelta(days=20)


def answer(change: Callable[[Pat], Pat]) -> Callable[[MintedPat], MintedPat]:
    return lambda minted: MintedPat(change(minted.pat), minted.value)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (answer(lambda pat: replace(pat, scope="app_token")), "mint_answer_wrong"),
        (answer(lambda pat: replace(pat, scope="vso.code")), "mint_answer_wrong"),
        (answer(lambda pat: replace(pat, display_name="other")), "mint_answer_wrong"),
        (answer(lambda pat: replace(pat, target_accounts=None)), "mint_answer_wrong"),
        (answer(lambda pat: replace(pat, target_accounts=(CONTOSO, FABRIKAM))), "mint_answer_wrong"),
        (answer(lambda pat: replace(pat, target_accounts=(FABRIKAM,))), "mint_answer_wrong"),
        (lambda minted: MintedPat(minted.pat, None), "mint_without_value"),
        (lambda minted: MintedPat(minted.pat, SecretValue("rubbish")), "verification_failed"),
    ],
    ids=["more", "less", "name", "everywhere", "two_organizations", "other_organization", "no_value", "rubbish"],
)
def test_clone_is_revoked_when_the_answer_is_not_what_was_asked_for(
    change: Callable[[MintedPat], MintedPat], code: str
) -> None:
    world = make_world()
    old = world.record().authorization_id
    world.pats.change_minted = change
    report = world.run()
    (entry,) = report.of_kind(OutcomeKind.FAILED)
    assert entry.failure is not None
    assert (entry.failure.code, bool(entry.failure.message)) == (code, True)
    assert world.states() == ["abandoned"]
    assert world.revoked_ids() != [old]
    assert world.count("store") == 0
    world.check_rest()
    world.pats.change_minted = None
    world.finish()


def test_clone_is_revoked_when_it_authenticates_as_another_user() -> None:
    world = make_world()
    other = world.pats.add_pat("release-bot", "contoso", "theirs", SCOPE, world.record().valid_to)
    world.pats.change_minted = lambda minted: MintedPat(minted.pat, SecretValue(other.value))
    assert get_code(world.run(), blocked=True) == "wrong_identity"
    assert world.count("store") == 0
    assert other in world.pats.live_pats()
    world.check_rest()


def test_nothing_is_revoked_when_the_mint_answers_with_the_old_pat() -> None:
    world = make_world()
    old = world.pats.pats[world.record().authorization_id]
    world.pats.change_minted = lambda minted: MintedPat(old.pat, SecretValue(old.value))
    assert get_code(world.run(), blocked=False) == "mint_answer_doubted"
    assert world.states() == ["minting"]
    assert world.revoked_ids() == []
    world.pats.change_minted = None
    world.finish()


def test_mint_is_not_repeated_when_the_server_refuses_it() -> None:
    world = make_world()
    world.pats.organizations["contoso"].mint_error = "globalPATCreationBlocked"
    report = world.run()
    (entry,) = report.of_kind(OutcomeKind.BLOCKED)
    assert entry.failure is not None
    assert entry.failure.fix
    assert world.states() == ["abandoned"]
    assert world.count("mint") == 1


# The probe.


def test_clone_is_revoked_when_it_does_not_authenticate_in_time() -> None:
    world = make_world()
    world.pats.fail("verify", make_refused(), times=100)
    began = world.clock.now()
    report = world.run()
    (entry,) = report.of_kind(OutcomeKind.FAILED)
    assert entry.failure is not None
    assert entry.failure.code == "verification_failed"
    assert world.clock.now() - began <= world.timing.probe_patience
    assert world.clock.slept[:5] == [1, 2, 4, 8, 16]
    assert world.states() == ["abandoned"]
    assert world.count("store") == 0
    world.check_rest()


@pytest.mark.parametrize("times", [1, 3])
def test_clone_is_used_when_it_authenticates_after_some_seconds(times: int) -> None:
    world = make_world()
    world.pats.fail("verify", make_refused(), times=times)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.count("verify") == times + 1


def test_probe_waits_as_long_as_asked_when_it_is_throttled() -> None:
    world = make_world()
    error = TransientError("slow down", service="azure_devops", operation="verify_pat", status=429, retry_after=45)
    world.pats.fail("verify", error)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.clock.slept == [45]


def test_attempts_stop_when_three_clones_were_given_up_within_a_day() -> None:
    world = make_world()
    world.pats.fail("verify", make_refused(), times=100_000)
    codes = []
    for _ in range(20):
        report = world.run()
        codes += codes_of(report, OutcomeKind.FAILED)
        world.advance(hours=1)
    assert world.count("mint") == 3
    assert codes[:4] == ["verification_failed"] * 3 + ["too_many_attempts"]
    world.check_rest()
    world.rotate(NAME)
    assert world.count("mint") == 4


def test_attempts_go_on_when_a_day_has_passed() -> None:
    world = make_world()
    world.pats.fail("verify", make_refused(), times=10)
    for _ in range(3):
        world.run()
        world.advance(hours=1)
    world.advance(hours=24)
    world.heal()
    world.run()
    world.finish()


def test_run_is_refused_when_a_person_names_no_managed_pat() -> None:
    world = make_world()
    with pytest.raises(Exception, match='no managed PAT named "ghost"'):
        world.rotate(NAME, "ghost")
    assert world.count("mint") == 0


def test_second_rotation_is_refused_when_the_overlap_lasts() -> None:
    world = make_world()
    run_once(world.make_run())
    with pytest.raises(RotationError, match="still in its overlap") as caught:
        world.rotate(NAME)
    assert caught.value.code == "overlap_not_over"
    assert not isinstance(caught.value, PlanRefusedError)
    assert world.count("mint") == 1
