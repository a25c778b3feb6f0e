"""A rotation from due to done, several at once, and one that fails beside others that do not."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.policy import Verdict
from rotator.domain.rotation import make_offset_range
from rotator.engine.auditing import load_events
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.keeping import pause
from rotator.engine.report import OutcomeKind
from rotator.engine.run import run_once
from rotator.engine.tags import AUTHORIZATION_TAG, ROTATION_TAG
from rotator.errors import DeniedError, SignInRequiredError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import CANARY, LIFETIME, MUTATIONS, NAME, OVERLAP, SCOPE, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy

FIRST_WAIT = timedelta(minutes=5)
OFFSET = timedelta(seconds=make_offset_range(LIFETIME)[0])
"""By how much an expiry falls short of the lifetime when chance picks the low bound."""


def make_denied() -> DeniedError:
    return DeniedError("may not list PATs", service="azure_devops", operation="fetch_pats", status=403)


def test_rotation_passes_every_state_when_nothing_goes_wrong() -> None:
    world = make_world()
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert find_code_of_report(report) == 0
    assert world.states() == ["overlapping"]
    world.advance(hours=24)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    passed = [mark for mark in world.timeline if mark in {*MUTATIONS, "verify", "fetch_latest"} or mark in _STATES]
    assert passed == [
        "planned",
        "prove_writable",
        "minting",
        "mint",
        "minted",
        "verify",
        "verified",
        "storing",
        "store",
        "stored",
        "fetch_latest",
        "overlapping",
        "fetch_latest",
        "verify",
        "retiring",
        "revoke",
        "completed",
    ]
    world.check_rest()


_STATES = {"planned", "minting", "minted", "verified", "storing", "stored", "overlapping", "retiring", "completed"}


def test_audit_tells_each_intent_before_and_each_result_after_when_rotating() -> None:
    world = make_world()
    world.run()
    world.advance(hours=24)
    world.run()
    assert world.events() == [
        "rotation_planned intended",
        "mint_started intended",
        "pat_minted succeeded",
        "pat_verified succeeded",
        "store_started intended",
        "secret_stored succeeded",
        "overlap_started succeeded",
        "revoke_started intended",
        "revocation_requested succeeded",
        "rotation_completed succeeded",
        "pat_revoked succeeded",
    ]
    assert world.events("policy") == ["policy_changed succeeded"]


def test_vault_gets_expiry_and_tags_when_the_clone_is_stored() -> None:
    world = make_world()
    old = world.record()
    world.run()
    (rotation,), record, stored = world.rotations(), world.record(), world.latest()
    assert stored.version.expires_at == record.valid_to
    assert stored.version.tags[ROTATION_TAG] == rotation.id
    assert stored.version.tags[AUTHORIZATION_TAG] == record.authorization_id == rotation.new_authorization_id
    assert stored.version.tags["rotator-predecessor-id"] == old.authorization_id
    assert stored.version.tags["rotator-rule"] == "ci"
    assert stored.version.version == record.secret_version == rotation.secret_version
    assert CANARY not in repr(stored)


def test_inventory_names_the_clone_from_the_overlap_on_and_not_before() -> None:
    world = make_world()
    old = world.record().authorization_id
    seen: dict[str, str] = {}

    def note(mark: str) -> Callable[[], None]:
        return lambda: seen.update({mark: world.record().authorization_id})

    for mark in ("minted", "storing", "stored", "overlapping"):
        world.database.interrupts[mark] = note(mark)
    world.run()
    new = world.live_ids()[1]
    assert seen == {"minted": old, "storing": old, "stored": old, "overlapping": new}


def test_clone_has_the_same_name_scope_and_organization_when_minted() -> None:
    world = make_world()
    world.run()
    old, new = (world.pats.pats[found].pat for found in world.live_ids())
    assert (new.display_name, new.scopes, new.target_accounts) == (old.display_name, old.scopes, old.target_accounts)
    assert world.record().scope == SCOPE


def test_planned_expiry_is_a_whole_second_inside_the_lifetime_and_nobody_elses() -> None:
    world = make_world()
    world.advance(microseconds=123456)
    first = world.clock.now().replace(microsecond=0) + LIFETIME - OFFSET
    world.add_lookalike(first)
    world.add_lookalike(first - timedelta(seconds=1))
    world.run()
    (rotation,) = world.rotations()
    assert rotation.planned_valid_to == first - timedelta(seconds=2)
    assert world.record().valid_to == rotation.planned_valid_to < world.clock.now() + LIFETIME


def test_planned_expiry_differs_from_an_earlier_attempts_when_both_fall_on_one_second() -> None:
    world = make_world()
    world.pats.fail("mint", make_busy("mint_pat"))
    world.run()
    world.rotate(NAME)
    first, second = world.rotations()
    assert first.planned_valid_to is not None
    assert second.planned_valid_to == first.planned_valid_to - timedelta(seconds=1)


def test_clones_keep_their_lifetime_when_rotated_many_times() -> None:
    world = make_world()
    for _ in range(12):
        world.clock.advance(world.record().valid_to - world.clock.now() - timedelta(days=5))
        world.run()
        world.advance(hours=25)
        world.run()
    assert len([state for state in world.states() if state == "completed"]) == 12
    assert LIFETIME - timedelta(minutes=10) < world.record().lifetime < LIFETIME


@pytest.mark.parametrize(("host_hours", "skew_hours", "revoked"), [(23, 2, 0), (25, -2, 0), (24, 0, 1)])
def test_predecessor_lives_until_the_overlap_is_over_by_both_clocks(
    host_hours: int, skew_hours: int, revoked: int
) -> None:
    world = make_world()
    world.run()
    world.advance(hours=host_hours)
    world.database.skew = timedelta(hours=skew_hours)
    world.run()
    assert world.count("revoke") == revoked
    world.check_served()


def test_older_versions_are_disabled_when_the_rule_says_so() -> None:
    world = make_world(policy=make_policy(replace(RULE, disable_previous=True)))
    world.run()
    assert all(stored.version.enabled for stored in world.secrets.versions_of(world.location()))
    world.advance(hours=24)
    world.run()
    assert [stored.version.enabled for stored in world.secrets.versions_of(world.location())] == [True, False]
    world.check_rest()


def test_older_version_of_ours_is_disabled_although_a_tool_took_our_tags_off() -> None:
    world = make_world(policy=make_policy(replace(RULE, disable_previous=True)))
    world.run()
    world.advance(hours=24)
    world.run()
    world.secrets.replace_tags(world.location(), {"env": "prod"})
    world.advance(days=26)
    world.run()
    world.advance(hours=24)
    world.run()
    assert [stored.version.enabled for stored in world.secrets.versions_of(world.location())] == [True, False, False]


def test_expired_pat_is_replaced_when_nobody_renewed_it_in_time() -> None:
    world = make_world()
    world.advance(days=6)
    report = world.run()
    [rotated] = report.of_kind(OutcomeKind.ROTATED)
    assert rotated.decision is not None
    assert (rotated.decision.verdict, rotated.decision.rule) == (Verdict.DUE, RULE)
    world.advance(hours=25)
    world.run()
    world.check_rest()


def test_pat_is_left_alone_when_it_is_not_due() -> None:
    world = make_world()
    world.add_managed("fresh", days_left=20)
    world.run()
    assert world.states("fresh") == []
    assert world.count("mint") == 1


def test_paused_pat_is_skipped_when_due() -> None:
    world = make_world("a", "b")
    pause(world.make_run(), "a")
    assert names_of(world.run(), OutcomeKind.ROTATED) == ["b"]
    assert world.states("a") == []


def test_nearest_expiry_comes_first_when_several_are_due() -> None:
    world = make_world()
    world.add_managed("soonest", days_left=1)
    world.add_managed("later", days_left=6)
    assert names_of(world.run(), OutcomeKind.ROTATED) == ["soonest", NAME, "later"]


def test_every_pat_is_rotated_once_when_threads_share_the_work() -> None:
    names = [f"pat-{number}" for number in range(12)]
    world = make_world(*names)
    world.max_parallel = 4
    world.database._lock_timeout = 30
    assert sorted(entry.name for entry in world.run().of_kind(OutcomeKind.ROTATED)) == sorted(names)
    assert world.count("mint") == 12
    assert world.count("fetch_pats") == 1


def test_next_pat_is_rotated_when_one_fails() -> None:
    world = make_world("a", "b")
    world.pats.fail("mint", make_busy("mint_pat"))
    report = world.run()
    assert [(entry.name, entry.failure and entry.failure.code) for entry in report.of_kind(OutcomeKind.FAILED)] == [
        ("a", "transient")
    ]
    (failed,) = load_events(world.database, AuditFilter(subject="a", event="rotation_failed"))
    failure = world.record("a").last_failure
    assert failure is not None
    assert (failed.entry.details["code"], failed.entry.details["message"]) == (failure.code, failure.message)
    assert names_of(report, OutcomeKind.ROTATED) == ["b"]
    assert find_code_of_report(report) == 3


def test_next_pat_is_rotated_when_one_meets_a_bug() -> None:
    world = make_world("a", "b")
    bug = ZeroDivisionError(f"a value {CANARY}")
    world.pats.fail("mint", bug)
    report = world.run()
    (failed,) = report.of_kind(OutcomeKind.FAILED)
    assert failed.failure is not None
    assert failed.failure.code == "internal"
    where = traceback.extract_tb(bug.__traceback__)[-1]
    assert f"ZeroDivisionError at {where.filename}:{where.lineno};" in failed.failure.message
    assert where.filename.endswith("fake_pat_service.py")
    assert names_of(report, OutcomeKind.ROTATED) == ["b"]
    world.finish("a")
    world.check_rest("b")


def test_bug_before_a_claim_is_taken_is_the_failure_of_its_pat_alone() -> None:
    world = make_world("a")
    world.add_managed("b", account="release-bot")
    world.sign_in.refusals["release-bot"] = ZeroDivisionError("before the claim")
    report = world.rotate("b", "a")
    assert names_of(report, OutcomeKind.ROTATED) == ["a"]
    assert (names_of(report, OutcomeKind.FAILED), codes_of(report, OutcomeKind.FAILED)) == (["b"], ["internal"])


@pytest.mark.parametrize("call", ["fetch_pats", "fetch_identity"])
def test_bug_during_the_look_harms_one_organization_only(call: str) -> None:
    world = make_world("a")
    world.add_managed("b", organization="fabrikam")
    world.pats.fail(call, ZeroDivisionError("during the look"))
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED)[-1] == "b"
    assert "internal" in codes_of(report, OutcomeKind.FAILED)


def test_bug_during_the_look_harms_one_account_only() -> None:
    world = make_world("a")
    world.add_managed("b", account="release-bot")
    world.sign_in.refusals["release-bot"] = ZeroDivisionError("during the look")
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == ["a"]
    assert codes_of(report, OutcomeKind.FAILED) == ["internal", "internal"]
    world.heal()
    assert names_of(world.run(), OutcomeKind.ROTATED) == ["b"]


def test_exit_code_is_1_when_the_only_pat_fails() -> None:
    world = make_world()
    world.pats.fail("mint", make_busy("mint_pat"))
    assert find_code_of_report(world.run()) == 1


def test_wait_doubles_up_to_its_most_when_a_pat_fails_again_and_again() -> None:
    world = make_world()
    world.pats.fail("fetch_pat", make_busy(), times=10)
    waits = []
    for _ in range(9):
        world.run()
        retry_at = world.record().retry_at
        assert retry_at is not None
        waits.append((retry_at - world.clock.now()) / FIRST_WAIT)
        asked = world.count("fetch_pat")
        world.run()
        assert world.count("fetch_pat") == asked
        world.clock.advance(retry_at - world.clock.now())
    assert waits == [1, 2, 4, 8, 16, 32, 64, 72, 72]


def test_failures_are_forgotten_when_a_rotation_succeeds() -> None:
    world = make_world()
    world.pats.fail("fetch_pat", make_busy())
    world.run()
    assert world.record().failures == 1
    world.advance(minutes=5)
    world.run()
    record = world.record()
    assert (record.failures, record.retry_at, record.last_failure) == (0, None, None)


def test_account_is_not_used_when_it_needs_a_sign_in() -> None:
    world = make_world()
    world.add_managed("release", account="release-bot")
    world.sign_in.refusals["build-bot"] = SignInRequiredError(
        "nobody is signed in", account="build-bot", fix="Sign in: rotator login build-bot."
    )
    report = world.run()
    assert find_code_of_report(report) == 10
    assert names_of(report, OutcomeKind.ROTATED) == ["release"]
    assert world.states() == []
    minted = [subject for call, _, subject in world.pats.calls if call == "mint"]
    assert minted == ["release"]
    assert {subject for call, _, subject in world.pats.calls if call == "fetch_pat"} == {
        fake.pat.authorization_id for fake in world.pats.live_pats("release")
    }


def test_no_server_is_asked_when_the_only_account_needs_a_sign_in() -> None:
    world = make_world()
    for account in world.accounts:
        world.sign_in.refusals[account.name] = SignInRequiredError("nobody is signed in", account=account.name)
    assert find_code_of_report(world.run()) == 10
    assert world.pats.calls == []
    assert world.secrets.calls == []


def test_rest_of_an_account_is_left_when_it_is_signed_out_during_the_run() -> None:
    world = make_world("a", "b")
    world.database.interrupts["planned"] = lambda: world.pats.signed_out.add("build-bot")
    report = world.run()
    assert find_code_of_report(report) == 10
    assert sorted(entry.name for entry in report.of_kind(OutcomeKind.FAILED)) == ["a", "b"]
    assert world.states("b") == []


def test_account_is_put_down_when_it_is_denied() -> None:
    world = make_world("a", "b")
    world.add_managed("release", account="release-bot")
    world.pats.fail("fetch_pat", make_denied())
    report = world.run()
    assert names_of(report, OutcomeKind.BLOCKED) == ["a"]
    assert names_of(report, OutcomeKind.FAILED) == ["b"]
    assert names_of(report, OutcomeKind.ROTATED) == ["release"]
    minted = world.record("release").authorization_id
    asked = [subject for call, _, subject in world.pats.calls if call == "fetch_pat" and subject != minted]
    assert len(asked) == 2


def test_other_organizations_of_an_account_go_on_when_one_denies() -> None:
    world = make_world("a", "b")
    world.add_managed("far", organization="fabrikam")
    world.pats.fail("fetch_pats", make_denied())
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == ["far"]
    assert sorted(names_of(report, OutcomeKind.FAILED)) == ["a", "b", "build-bot"]
    assert world.states("a") == world.states("b") == []


def test_other_organizations_of_an_account_go_on_when_one_denies_in_the_middle_of_the_run() -> None:
    world = make_world("a", "b")
    world.add_managed("far", organization="fabrikam", days_left=6)
    world.pats.fail("mint", make_denied())
    report = world.run()
    assert names_of(report, OutcomeKind.BLOCKED) == ["a"]
    assert names_of(report, OutcomeKind.FAILED) == ["b"]
    assert names_of(report, OutcomeKind.ROTATED) == ["far"]


def test_only_the_pats_of_an_account_fail_when_it_was_renamed_in_the_settings() -> None:
    world = make_world("a")
    world.add_managed("release", account="release-bot")
    world.accounts = tuple(account for account in world.accounts if account.name != "release-bot")
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == ["a"]
    codes = {entry.failure.code for entry in report.of_kind(OutcomeKind.FAILED) if entry.failure}
    assert (sorted(names_of(report, OutcomeKind.FAILED)), codes) == (["release", "release-bot"], {"unknown_account"})
    assert "release-bot" not in world.sign_in.calls
    assert world.states("release") == []


def test_account_is_put_down_when_its_listing_is_denied() -> None:
    world = make_world("a", "b")
    world.add_managed("release", account="release-bot")
    world.pats.fail("fetch_pats", make_denied())
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == ["release"]
    assert {entry.failure.code for entry in report.of_kind(OutcomeKind.FAILED) if entry.failure} == {"denied"}
    assert world.states("a") == world.states("b") == []


def test_old_pat_serves_on_when_the_overlap_lasts() -> None:
    world = make_world()
    old = world.record().authorization_id
    world.run()
    world.clock.advance(OVERLAP - timedelta(seconds=1))
    world.run()
    assert old in world.live_ids()
    assert world.revoked_ids() == []


def test_hosts_with_different_policies_tell_of_them_once_each_and_of_each_change() -> None:
    """As during an upgrade of several hosts, or for ever: not at each of their runs in turn."""
    world = make_world()
    digests = {"rotator@one": "1" * 64, "rotator@two": "2" * 64, "rotator@three": "2" * 64}

    def run_all(times: int) -> list[tuple[str, object, object]]:
        for _ in range(times):
            for actor, digest in digests.items():
                policy = replace(world.policy, digest=digest)
                services = replace(world.make_services(), settings_digest=digest)
                run_once(replace(world.make_run(services), actor=actor, policy=policy))
                world.advance(minutes=1)
        assert len(world.events("settings")) == len(world.events("policy"))
        events = [event.entry for event in load_events(world.database, AuditFilter(subject="policy"))]
        return [(entry.actor, entry.details["previous"], entry.details["sha256"]) for entry in events]

    first = [("rotator@one", None, "1" * 64), ("rotator@two", "1" * 64, "2" * 64)]
    assert run_all(4) == first
    digests["rotator@one"] = "2" * 64
    assert run_all(4) == [*first, ("rotator@one", "1" * 64, "2" * 64)]
    digests["rotator@one"] = "1" * 64
    assert run_all(4)[3:] == [("rotator@one", "2" * 64, "1" * 64)], "the third one changed nothing"
    digests["rotator@three"] = "3" * 64
    assert run_all(4)[4:] == [("rotator@three", "1" * 64, "3" * 64)]
