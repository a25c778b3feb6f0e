"""A person has a PAT of some user revoked: journaled before it is sent, and never one that rotator accounts for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.azure_devops.call import Call, Trace, make_denied, make_unknown_outcome
from rotator.domain.managed_pat import Hold
from rotator.domain.refusal import RefusalKind
from rotator.domain.service_log import KEPT_FOR, EntryKind
from rotator.engine.admin_revoking import check_account, check_foreign, revoke_as_admin
from rotator.engine.adopting import adopt, propose
from rotator.engine.auditing import load_events
from rotator.engine.comparing_logs import reconcile_logs
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.scanning_users import FoundPat, look_for_pat
from rotator.errors import ClockSkewError, RotatorError, UsageError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, SCOPE, EngineWorld, make_world
from tests.support.engine_fakes import RecordAdder
from tests.support.service_log import TheirLog
from tests.support.token_admin import ANSWER, FakeTokenAdmin

FOREIGN = "0a0a0a0a-0000-4000-8000-00000000000a"
CALL = Call("revoke_user_pat", "revoke the PAT", ACCOUNT, ORGANIZATION, "POST", "")


def revoke(world: EngineWorld, admin: FakeTokenAdmin, identifier: str = FOREIGN) -> None:
    run = replace(world.make_run(), reason="found in a build log")
    revoke_as_admin(run, admin, check_foreign(run, identifier), ACCOUNT, ORGANIZATION)


def refuse(world: EngineWorld, identifier: str) -> str:
    """Why it is refused; nothing is sent, and nothing written."""
    admin, before = FakeTokenAdmin(world), world.database.dump()
    with pytest.raises(UsageError) as caught:
        revoke(world, admin, identifier)
    assert (admin.revoked, world.database.dump()) == ([], before)
    return f"{caught.value.message}. {caught.value.fix}"


def test_intent_and_result_are_in_the_audit_log() -> None:
    world = make_world()
    admin = FakeTokenAdmin(world)
    revoke(world, admin)
    assert admin.revoked == [(ACCOUNT, ORGANIZATION, FOREIGN)]
    started, requested = load_events(world.database, AuditFilter(subject=FOREIGN))
    assert (started.entry.event, requested.entry.event) == ("admin_revocation_started", "admin_revocation_requested")
    wanted = {"account": ACCOUNT, "organization": ORGANIZATION, "reason": "found in a build log"}
    assert dict(started.entry.details) == wanted
    assert dict(requested.entry.details) == {**wanted, **ANSWER}


def test_intent_is_committed_before_the_request_is_sent() -> None:
    world = make_world()

    class Late(FakeTokenAdmin):
        def revoke(self, account: str, organization: str, authorization_id: str) -> dict[str, str]:
            assert world.events(FOREIGN) == ["admin_revocation_started intended"]
            return dict(super().revoke(account, organization, authorization_id))

    revoke(world, Late(world))


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (make_denied(CALL, Trace(401, answer_ids=ANSWER), "token_admin_denied", "no administrator", ""), True),
        (make_unknown_outcome(CALL, Trace(answer_ids=ANSWER), "timeout", "no answer"), False),
    ],
)
def test_what_goes_wrong_is_in_the_audit_log(error: RotatorError, refused: bool) -> None:
    world = make_world()
    admin = FakeTokenAdmin(world, errors={"revoke": error})
    with pytest.raises(type(error)):
        revoke(world, admin)
    _, failed = load_events(world.database, AuditFilter(subject=FOREIGN))
    assert failed.entry.event == "admin_revocation_failed"
    assert (failed.entry.details["code"], failed.entry.details.get("refused", False)) == (error.code, refused)
    assert failed.entry.details["e2e_id"] == ANSWER["e2e_id"]


def test_current_pat_of_a_record_is_refused() -> None:
    world = make_world()
    said = refuse(world, world.record().authorization_id.upper())
    assert f"is the current PAT of {NAME}" in said
    assert f"rotator revoke {NAME}" in said
    with pytest.raises(UsageError, match="is the current PAT"):  # before a person is asked, too
        check_foreign(world.make_run(), world.record().authorization_id)


def test_both_pats_of_a_rotation_are_refused() -> None:
    world = make_world()
    old = world.record().authorization_id
    world.run()
    assert f"{old} is a PAT of a rotation of {NAME}" in refuse(world, old)
    assert f"is the current PAT of {NAME}" in refuse(world, world.record().authorization_id)


def test_pat_that_a_frozen_rotation_left_behind_is_refused_with_what_revokes_it() -> None:
    world = make_world()
    old = world.record().authorization_id
    world.run()
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(hours=25)
    world.run()
    said = refuse(world, old)
    assert said.startswith(f"{old} is a PAT of a rotation of {NAME}")
    assert said.endswith(f"`rotator recover --revoke {old}` revokes it.")


def test_pat_that_an_unanswered_mint_may_have_made_is_refused() -> None:
    world = make_world()
    known = set(world.pats.pats)
    world.pats.fail("mint", after_effect=True)
    world.run()
    [made] = set(world.pats.pats) - known
    assert "finds out what became of that mint" in refuse(world, made)


def test_pat_of_somebody_else_is_not_refused_while_a_mint_is_unanswered() -> None:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.run()
    fake = world.pats.add_pat("release-bot", ORGANIZATION, "own", SCOPE, world.clock.now() + timedelta(days=9))
    admin = FakeTokenAdmin(world)
    revoke(world, admin, fake.pat.authorization_id)
    assert admin.revoked == [(ACCOUNT, ORGANIZATION, fake.pat.authorization_id)]


def test_nothing_is_revoked_while_the_vault_hands_out_a_pat_that_the_database_does_not_know() -> None:
    """It was restored from before the last rotation, and a run saw that."""
    world = make_world()
    restore = world.database.back_up()
    world.run()
    new = world.record().authorization_id
    restore()
    world.advance(minutes=11)
    world.run()
    assert f"the secret of {NAME} holds a PAT that this database does not know" in refuse(world, new)


@pytest.mark.parametrize(
    ("identifier", "hold", "said"),
    [
        (FOREIGN, None, f"{FOREIGN} is the current PAT of late"),
        ("other", Hold.DATABASE_BEHIND, "the secret of late holds a PAT"),
    ],
)
def test_record_that_came_meanwhile_is_refused(identifier: str, hold: Hold | None, said: str) -> None:
    """After each earlier look; what counts is what the transaction sees that writes the intent."""
    world = make_world()
    late = replace(world.record(), name="late", secret_name="contoso-late", authorization_id=identifier, hold=hold)
    world.database.watcher = RecordAdder(late)
    admin = FakeTokenAdmin(world)
    with pytest.raises(UsageError, match=said):
        revoke(world, admin)
    assert (admin.revoked, world.events(FOREIGN)) == ([], [])


def test_nothing_is_revoked_by_a_clock_that_is_wrong() -> None:
    world = make_world()
    world.run()
    world.host_clock.ahead = timedelta(hours=3)
    admin = FakeTokenAdmin(world)
    with pytest.raises(ClockSkewError):
        revoke(world, admin)
    assert admin.revoked == []


@pytest.mark.parametrize(
    ("account", "organization", "said"),
    [("nobody", ORGANIZATION, 'no account named "nobody"'), ("release-bot", "fabrikam", 'no organization "fabrikam"')],
)
def test_account_and_organization_are_those_of_the_settings(account: str, organization: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_account(make_world().make_run(), account, organization)


def test_what_is_no_id_is_refused() -> None:
    assert "is not the id of a PAT" in refuse(make_world(), NAME)


def add_deploy(world: EngineWorld) -> str:
    """A PAT of the account that nobody manages yet."""
    made = world.pats.add_pat(ACCOUNT, ORGANIZATION, "deploy", SCOPE, world.clock.now() + timedelta(days=20))
    return made.pat.authorization_id


def try_to_adopt(world: EngineWorld, identifier: str) -> list[RefusalKind]:
    """A person adopts it: why that is refused."""
    run = world.make_run()
    return [found.kind for found in adopt(run, propose(run, [identifier], everything=False)).refusals]


def test_pat_that_is_about_to_be_revoked_is_not_adopted() -> None:
    world = make_world()
    deploy = add_deploy(world)
    refused: list[RefusalKind] = []

    class Overtaken(FakeTokenAdmin):
        def revoke(self, account: str, organization: str, authorization_id: str) -> dict[str, str]:
            refused.extend(try_to_adopt(world, authorization_id))
            return dict(super().revoke(account, organization, authorization_id))

    revoke(world, Overtaken(world), deploy)
    assert refused == [RefusalKind.BEING_REVOKED]


@pytest.mark.parametrize(
    ("error", "minutes", "refusals"),
    [
        (None, 60, [RefusalKind.BEING_REVOKED]),
        (None, 62, []),
        (make_unknown_outcome(CALL, Trace(), "timeout", "no answer"), 60, [RefusalKind.BEING_REVOKED]),
        (make_denied(CALL, Trace(401), "token_admin_denied", "no administrator", ""), 0, []),
    ],
    ids=["accepted", "accepted long ago", "not answered", "refused"],
)
def test_pat_is_not_adopted_while_a_request_to_revoke_it_may_take_effect(
    error: RotatorError | None, minutes: int, refusals: list[RefusalKind]
) -> None:
    world = make_world()
    deploy = add_deploy(world)
    with suppress(RotatorError):
        revoke(world, FakeTokenAdmin(world, errors={"revoke": error} if error else {}), deploy)
    world.advance(minutes=minutes)
    assert try_to_adopt(world, deploy) == refusals


def test_request_of_an_administrator_is_named_as_the_reason() -> None:
    world = make_world()
    deploy = add_deploy(world)
    revoke(world, FakeTokenAdmin(world), deploy)
    run = world.make_run()
    [refusal] = adopt(run, propose(run, [deploy], everything=False)).refusals
    assert explain_refusal(refusal).message == "it is being revoked by an administrator"


@pytest.mark.parametrize("is_listed", [True, False])
def test_entry_of_azure_devops_is_explained_by_the_id_of_the_answer_alone(is_listed: bool) -> None:
    """A revocation of the same minute that somebody else made is not taken for ours, which may not be listed at all."""
    world = make_world()
    their = TheirLog(world)
    revoke(world, FakeTokenAdmin(world))
    foreign = their.add(EntryKind.REVOKED, display_name="other")
    if is_listed:
        entry = their.add(EntryKind.REVOKED, display_name="own")
        their.entries[-1] = replace(entry, answer_ids=frozenset(ANSWER.values()))
    now = world.clock.now()
    [home, *_] = reconcile_logs(world.make_run(), their, now - KEPT_FOR, now, lambda *_: None)
    assert (home.explained, [found.entry for found in home.findings], home.lacking) == (is_listed, [foreign], ())


def test_own_revocation_of_another_accounts_pat_explains_the_entry() -> None:
    """It is in that user's part of their log; another revocation of the same minute is not ours."""
    world = make_world()
    their = TheirLog(world)
    revoke(world, FakeTokenAdmin(world))
    foreign = their.add(EntryKind.REVOKED, owner="Release-Bot", display_name="")
    entry = their.add(EntryKind.REVOKED, owner="Release-Bot", display_name="own")
    their.entries[-1] = replace(entry, answer_ids=frozenset(ANSWER.values()))
    now = world.clock.now()
    [home, *_] = reconcile_logs(world.make_run(), their, now - KEPT_FOR, now, lambda *_: None)
    assert (home.explained, [found.entry for found in home.findings], home.lacking) == (1, [foreign], ())


def test_own_revocation_explains_the_entry_by_the_name_of_the_pat_where_it_has_no_id_of_the_answer() -> None:
    world = make_world()
    valid_to = world.clock.now() + timedelta(days=20)
    stray = world.pats.add_pat("release-bot", ORGANIZATION, "stray", SCOPE, valid_to).pat.authorization_id
    their = TheirLog(world)
    revoke(world, FakeTokenAdmin(world), stray)
    their.add(EntryKind.REVOKED, owner="Release-Bot", display_name="stray")
    foreign = their.add(EntryKind.REVOKED, owner="Release-Bot", display_name="other")
    now = world.clock.now()
    [home, *_] = reconcile_logs(world.make_run(), their, now - KEPT_FOR, now, lambda *_: None)
    assert (home.explained, [found.entry for found in home.findings], home.lacking) == (1, [foreign], ())


def test_whose_pat_it_is_is_found_or_nobody_has_it_or_nobody_could_tell() -> None:
    world = make_world()
    admin = FakeTokenAdmin(world)

    def look(identifier: str) -> FoundPat:
        return look_for_pat(admin, ACCOUNT, ORGANIZATION, identifier, lambda *_: None)

    found = look(world.record().authorization_id)
    assert found.user is not None
    assert found.pat is not None
    assert (found.user.name, found.pat.display_name, found.error) == (ACCOUNT, NAME, None)
    assert look(FOREIGN) == FoundPat()
    admin.unreadable = 1
    assert look(FOREIGN).error is not None, "it may be what cannot be read"
    admin.unreadable, busy = 0, make_unknown_outcome(CALL, Trace(answer_ids=ANSWER), "timeout", "no answer")
    for where in ("release-bot", ACCOUNT):
        admin.errors = {where: busy}
        assert look(FOREIGN) == FoundPat(error=busy)
