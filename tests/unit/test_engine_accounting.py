"""Who accounts for a PAT: nothing that a rotation made, or may have made, becomes a record of its own beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.refusal import RefusalKind
from rotator.domain.rotation import Rotation, RotationState
from rotator.engine.accounting import Keepers, find_other_keeper, load_keepers
from rotator.engine.adopting import AdoptionPlan, adopt, propose
from rotator.engine.choices import Choice
from rotator.engine.comparing import ScanKind
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.report import OutcomeKind
from rotator.engine.scanning import scan
from rotator.ports.pat_service import MintedPat
from tests.support.engine import NAME, ORGANIZATION, EngineWorld, codes_of, make_world
from tests.support.engine_scenarios import make_overlapping
from tests.support.records import make_pat, make_rotation

STEPS = (
    "planned", "minting", "minted", "verified", "storing", "stored", "overlapping", "retiring", "completed",
)  # fmt: skip


def adopt_now(world: EngineWorld, *references: str) -> AdoptionPlan:
    """One `inventory adopt` of another process; all when nothing is named."""
    run = world.make_run()
    return adopt(run, propose(run, list(references), everything=not references))


def list_records(world: EngineWorld) -> list[str]:
    with world.database.read() as reading:
        return [pat.name for pat in reading.inventory.load_all()]


def lose_answer(world: EngineWorld) -> str:
    """A mint that is carried out and whose run dies before the answer; the id that it made."""
    world.run_and_die(before="minted")
    return world.live_ids()[-1]


def find_kind(world: EngineWorld, authorization_id: str) -> ScanKind:
    return next(e.kind for e in scan(world.make_run()).entries if e.authorization_id == authorization_id)


@pytest.mark.parametrize("mark", STEPS)
@pytest.mark.parametrize("by_id", [False, True], ids=["all", "by-id"])
def test_no_second_record_is_made_when_a_person_adopts_beside_any_step(mark: str, by_id: bool) -> None:
    world = make_world()

    def meddle() -> None:
        for references in [[found] for found in world.live_ids()] if by_id else [[]]:
            adopt_now(world, *references)

    world.database.interrupts[mark] = meddle
    world.run()
    world.advance(hours=25)
    world.run()
    assert mark not in world.database.interrupts
    assert list_records(world) == [NAME]
    world.finish()


@pytest.mark.parametrize("mark", [mark for mark in STEPS if mark != "completed"])
def test_no_second_record_is_made_when_a_person_adopts_after_a_crash_at_any_step(mark: str) -> None:
    """The commit is lost or kept, and the next run comes after the person."""
    for where in ("before", "after"):
        world = make_world()
        try:
            world.run_and_die(**{where: mark})
        except AssertionError:
            world.database.revive()
            world.advance(hours=25)
            world.run_and_die(**{where: mark})
        adopt_now(world)
        for found in world.live_ids():
            adopt_now(world, found)
        assert list_records(world) == [NAME]
        world.finish()


def test_clone_is_refused_when_it_is_listed_between_the_mint_and_its_journal() -> None:
    world = make_world()
    run, plans = world.make_run(), list[AdoptionPlan]()

    def look_meanwhile(minted: MintedPat) -> MintedPat:
        plans.append(propose(run, [], everything=True))
        return minted

    world.pats.change_minted = look_meanwhile
    world.run()
    [plan] = plans
    assert plan.proposals == ()
    assert "a rotation of npm-feed may have made it" in explain_refusal(plan.refusals[0]).message
    assert "rotator once" in explain_refusal(plan.refusals[0]).fix


def test_plan_is_refused_when_a_rotation_has_come_to_account_for_its_pat_since_it_was_listed() -> None:
    """As when another process adopts and rotates while a person reads the question."""
    world = make_world()
    end = world.clock.now() + timedelta(days=5)
    fake = world.pats.add_pat("build-bot", "contoso", "deploy", "vso.code", end, valid_from=end - timedelta(days=30))
    run = world.make_run()
    plan = propose(run, [fake.pat.authorization_id], everything=False)
    adopt_now(world)
    world.run()
    assert world.states("deploy") == ["overlapping"]
    again = adopt(
        run,
        replace(
            plan,
            proposals=(
                replace(
                    plan.proposals[0], record=replace(plan.proposals[0].record, name="second", secret_name="second")
                ),
            ),
        ),
    )
    assert again.proposals == ()
    assert "an unfinished rotation of deploy uses it" in explain_refusal(again.refusals[0]).message
    assert list_records(world) == ["deploy", NAME]


def test_orphan_of_a_crash_is_refused_and_shown_until_a_run_has_revoked_it() -> None:
    world = make_world()
    clone = lose_answer(world)
    assert find_kind(world, clone) is ScanKind.MINTING
    [refusal] = adopt_now(world, clone).refusals
    assert explain_refusal(refusal).message == "a rotation of npm-feed may have made it"
    assert "`rotator once`" in explain_refusal(refusal).fix
    world.advance(minutes=6)
    world.run()
    assert clone in world.revoked_ids()
    world.finish()


def test_shortened_orphan_of_a_crash_is_refused_while_its_mint_is_open() -> None:
    """A server that clamps made it with another expiry than the journal planned."""
    world = make_world()
    world.pats.organizations["contoso"].max_lifetime = timedelta(days=20)
    clone = lose_answer(world)
    assert find_kind(world, clone) is ScanKind.MINTING
    assert len(adopt_now(world).refusals) == len(adopt_now(world, clone).refusals) == 1
    assert list_records(world) == [NAME]


def test_pat_of_a_failed_rotation_is_refused_until_its_record_is_forgotten() -> None:
    world = make_world()
    world.run()
    world.secrets.write_foreign(world.location(), "somebody else's")
    world.advance(hours=25)
    world.run()
    assert world.states() == ["failed"]
    old, clone = world.live_ids()
    assert world.record().authorization_id == clone
    [refusal] = adopt_now(world, old).refusals
    assert "a failed rotation of npm-feed" in explain_refusal(refusal).message
    assert f"recover --revoke {old}" in explain_refusal(refusal).fix
    assert adopt_now(world).proposals == ()
    world.forget()
    [refusal] = adopt_now(world, old).refusals
    assert "does not look like a PAT" in explain_refusal(refusal).message
    confirmed = Choice(replace_foreign=True)
    assert len(propose(world.make_run(), [old], everything=False, choice=confirmed).proposals) == 1


def test_late_mint_is_refused_when_its_rotation_was_closed() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(minutes=11)
    world.run()
    assert world.states()[0] == "abandoned"
    world.pats.apply_late()
    ours = [found for found in world.live_ids() if found not in known_ids(world.rotations())]
    [late] = [found for found in ours if found != world.record().authorization_id]
    assert find_kind(world, late) is ScanKind.LATE
    assert "may have made it" in explain_refusal(adopt_now(world, late).refusals[0]).message
    world.finish()
    assert late in world.revoked_ids()


def test_pats_that_closed_mints_may_have_made_are_not_adopted_while_runs_work_on_their_records() -> None:
    """Those may be about to revoke them."""
    names = (NAME, "other")
    world = make_world(*names)
    world.pats.fail("mint", after_effect=True, times=2)
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    world.run()
    found = [world.live_ids(name)[1] for name in names]
    for _ in range(2):
        world.advance(minutes=11)
        world.run()
    run = world.make_run()
    choices = {each: Choice(f"found-{n}", f"found-{n}", replace_foreign=True) for n, each in enumerate(found)}
    plan = propose(run, found, everything=False, choices=choices)
    assert [proposal.record.authorization_id for proposal in plan.proposals] == found
    with world.database.begin() as work:
        claims = [work.claims.claim(name, "another run", now=work.now(), span=world.timing.lease) for name in names]
    refused = {(refusal.kind, refusal.reference, refusal.name) for refusal in adopt(run, plan).refusals}
    assert refused == {(RefusalKind.BEING_REVOKED, each, name) for each, name in zip(found, names, strict=True)}
    with world.database.begin() as work:
        for claim in claims:
            work.claims.release(claim)
    assert adopt(run, plan).refusals == ()


def known_ids(rotations: list[Rotation]) -> set[str]:
    return {found for r in rotations for found in (r.predecessor_id, r.new_authorization_id) if found}


def test_old_pat_is_kept_when_a_rotation_of_another_accounts_for_it() -> None:
    """Records that name each other's PATs, as an older database may hold them."""
    world = make_world()
    world.add_managed("other")
    world.run()
    mine, theirs = world.rotations()[0], world.rotations("other")[0]
    with world.database.begin() as work:
        claim = work.claims.claim("other", "a person", now=work.now(), span=world.timing.lease)
        work.journal.save(replace(theirs, predecessor_id=mine.predecessor_id), claim)
        work.claims.release(claim)
    world.advance(hours=25)
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED)[0] == "predecessor_in_use"
    assert mine.predecessor_id not in world.revoked_ids()


def test_clone_is_kept_when_a_record_names_it_although_its_rotation_was_given_up() -> None:
    world = make_world()
    world.run_and_die(after="minted")
    clone = world.live_ids()[-1]
    record = replace(world.record(), name="other", authorization_id=clone, secret_name="other")
    with world.database.begin() as work:
        work.inventory.add(record)
    world.advance(minutes=6)
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["clone_in_use"]
    assert clone not in world.revoked_ids()
    assert world.states() == ["failed"]


def test_closed_rotation_keeps_no_pat_any_more_when_its_record_is_forgotten() -> None:
    """Until then a rotation of another ManagedPat may not revoke what it left."""
    world = make_overlapping()
    world.secrets.write_foreign(world.location(), "someone's")
    world.run()
    assert world.states() == ["failed"]
    old = world.rotations()[0].predecessor_id
    with world.database.read() as reading:
        keeper = find_other_keeper(reading, old, "another")
    assert keeper is not None
    assert keeper.name == NAME
    world.forget()
    with world.database.read() as reading:
        assert find_other_keeper(reading, old, "another") is None


def test_open_rotation_keeps_its_pats_although_its_record_is_forgotten() -> None:
    world = make_overlapping()
    world.forget()
    with world.database.read() as reading:
        keepers = [find_other_keeper(reading, found, "another") for found in world.live_ids()]
    assert [keeper is not None and keeper.name for keeper in keepers] == [NAME, NAME]


def make_keepers(rotation: Rotation) -> Keepers:
    """What accounts for PATs when this is the only rotation."""
    return Keepers((), (rotation,), (rotation,), frozenset())


def test_rotation_does_not_account_for_what_it_is_asked_about_itself() -> None:
    rotation = replace(make_rotation(), record_id="record-1")
    old = make_pat(rotation.predecessor_id)
    keepers = make_keepers(rotation)
    assert keepers.find(old, rotation.account, rotation.organization) is not None
    assert keepers.find(old, rotation.account, rotation.organization, besides=rotation.name) is None


@pytest.mark.parametrize(
    ("account", "organization", "organization_id", "is_kept"),
    [
        ("build-bot", "contoso", "org-1", True),
        ("build-bot", "contoso", "org-2", False),
        ("release-bot", "contoso", "org-1", False),
        ("build-bot", "fabrikam", "org-1", False),
    ],
)
def test_unanswered_mint_accounts_for_its_likeness_only_where_it_was_sent(
    account: str, organization: str, organization_id: str, is_kept: bool
) -> None:
    alike = make_pat("made")
    rotation = replace(
        make_rotation(), display_name=alike.display_name, scope=alike.scope, planned_valid_to=alike.valid_to
    )
    assert (make_keepers(rotation).find(alike, account, organization, organization_id) is not None) == is_kept


def test_ids_that_a_rotation_made_are_known_to_be_made() -> None:
    world = make_overlapping()
    clone = world.record().authorization_id
    with world.database.read() as reading:
        keepers = load_keepers(reading, [clone, world.rotations()[0].predecessor_id], world.clock.now())
    assert keepers.minted_ids == {clone}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_open_rotation_accounts_for_a_pat_before_a_closed_one_and_that_before_one_without_a_record(
    order: tuple[int, ...],
) -> None:
    """A tool gives back the value of an old PAT, and the next rotation replaces that one again."""
    going = replace(make_rotation("r2"), record_id="record-1")
    failed = replace(make_rotation("r1"), state=RotationState.FAILED, record_id="record-1")
    forgotten = replace(make_rotation("r0"), state=RotationState.FAILED)
    three = (going, failed, forgotten)
    found = Keepers((), tuple(three[n] for n in order), (), frozenset()).find_by_id(going.predecessor_id)
    assert found is not None
    assert found.rotation is going
    found = Keepers((), tuple(three[n] for n in order if n), (), frozenset()).find_by_id(going.predecessor_id)
    assert found is not None
    assert found.rotation is failed
