"""Taking PATs under management: what is meant, what is refused, and that nothing is written before it is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.cli.output.inventory import render_adoption, render_refusals
from rotator.documents.adoption import make_adoption_document
from rotator.documents.document import make_failure_or_none
from rotator.domain.managed_pat import Pat
from rotator.domain.policy import Guardrails, Match, RuleAction
from rotator.domain.refusal import RefusalKind
from rotator.engine.adopting import AdoptionPlan, adopt, propose
from rotator.engine.auditing import load_events
from rotator.engine.choices import Choice, make_choice
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.keeping import forget
from rotator.engine.report import OutcomeKind
from rotator.errors import DatabaseError, SignInRequiredError, TransientError, UsageError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.pat_service import PatList
from rotator.ports.secret_store import SecretLocation, SecretVersion
from tests.support.engine import ACCOUNT, CANARY, NAME, SCOPE, VAULT, EngineWorld, make_world, names_of
from tests.support.engine_restores import make_restored
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy


def add_untracked(
    world: EngineWorld, *names: str, organization: str | None = "contoso", scope: str = SCOPE
) -> list[str]:
    """PATs that exist on the server; their ids."""
    end = world.clock.now() + timedelta(days=20)
    return [world.pats.add_pat(ACCOUNT, organization, name, scope, end).pat.authorization_id for name in names]


def look(world: EngineWorld, *references: str) -> AdoptionPlan:
    """What would be adopted; all when nothing is named."""
    before = world.database.dump()
    plan = propose(world.make_run(), list(references), everything=not references)
    assert world.database.dump() == before
    assert CANARY not in repr(plan)
    return plan


def list_names(plan: AdoptionPlan) -> list[str]:
    return [proposal.record.name for proposal in plan.proposals]


def hide_in(world: EngineWorld, hidden: str, hiding: set[int]) -> None:
    """Of the next lists, those with these numbers lack that PAT."""
    listings = iter(range(3))

    def hide(listed: tuple[Pat, ...]) -> PatList:
        is_hidden = next(listings, None) in hiding
        return PatList([pat for pat in listed if not is_hidden or pat.authorization_id != hidden])

    world.pats.change_listed = hide


def test_proposal_shows_handle_vault_and_secret_when_named_by_id_or_display_name() -> None:
    world = make_world()
    first, second = add_untracked(world, "CI build (Linux)", "deploy")
    plan = look(world, first, "deploy", first.upper())
    assert list_names(plan) == ["ci-build-linux", "deploy"]
    record, rule = plan.proposals[0].record, plan.proposals[0].rule
    assert (record.authorization_id, record.display_name, record.scope) == (first, "CI build (Linux)", SCOPE)
    assert (record.account, record.organization) == (ACCOUNT, "contoso")
    assert (record.vault, record.secret_name) == (VAULT, "contoso-ci-build-linux")
    assert rule.name == "ci"
    assert plan.proposals[1].record.authorization_id == second
    assert (plan.refusals, plan.errors) == ((), ())


@pytest.mark.parametrize("hiding", [{0, 1}, {0, 2}, {1, 2}])
def test_none_of_two_namesakes_is_proposed_when_two_of_three_listings_hide_one(hiding: set[int]) -> None:
    world = make_world()
    first, second = add_untracked(world, "hook", "hook")
    hide_in(world, first, hiding)
    plan = look(world)
    assert list_names(plan) == []
    refused = {refusal.reference for refusal in plan.refusals if refusal.kind is RefusalKind.SAME_NAME}
    assert refused == {first, second}


@pytest.mark.parametrize("hiding", [{0, 1}, {0, 2}, {1, 2}])
def test_display_name_is_ambiguous_when_two_of_three_listings_hide_one_of_two_namesakes(hiding: set[int]) -> None:
    """Consumers of the secret may use the hidden one; only an id tells."""
    world = make_world()
    first, second = add_untracked(world, "hook", "hook")
    hide_in(world, first, hiding)
    plan = look(world, "hook")
    assert list_names(plan) == []
    (refusal,) = plan.refusals
    assert (refusal.kind, set(refusal.ids)) == (RefusalKind.AMBIGUOUS, {first, second})


@pytest.mark.parametrize("failing", [1, 2])
def test_nothing_is_proposed_of_an_organization_one_of_whose_listings_failed(failing: int) -> None:
    """The one that was had may hide a namesake."""
    world = make_world()
    hidden, _ = add_untracked(world, "hook", "hook")
    looks = iter(range(3))

    def fail(listed: tuple[Pat, ...]) -> PatList:
        if next(looks, None) == failing:
            raise TransientError("it is too busy", service="azure_devops", operation="list")
        return PatList([pat for pat in listed if pat.authorization_id != hidden])

    world.pats.change_listed = fail
    plan = look(world)
    assert list_names(plan) == []
    assert [error.code for error in plan.errors] == ["transient"]


@pytest.mark.parametrize("references", [(), ("hook",)], ids=["all", "by name"])
@pytest.mark.parametrize("unreadable", ["", "id"])
def test_secret_in_use_is_not_handed_to_one_pat_while_the_list_hides_another(
    unreadable: str, references: tuple[str, ...]
) -> None:
    """Its value signs in as the user: it may be that of the entry which could not be read."""
    world = make_world()
    hidden, shown = add_untracked(world, "hook", "hook")
    location = SecretLocation(VAULT, "contoso-hook", ACCOUNT)
    world.secrets.write_foreign(location, world.pats.pats[hidden].value)
    world.pats.change_listed = lambda listed: PatList(
        [pat for pat in listed if pat.authorization_id != hidden], [hidden if unreadable else ""]
    )
    plan = look(world, *references)
    assert [(refusal.kind, refusal.reference) for refusal in plan.refusals] == [(RefusalKind.LIST_INCOMPLETE, shown)]
    assert list_names(plan) == []
    assert list_names(look(world, shown)) == ["hook"]


@pytest.mark.parametrize("overlap_is_over", [False, True], ids=["in the overlap", "after it"])
@pytest.mark.parametrize("named", ["all", "id", "name"])
def test_clone_that_the_secret_of_a_record_holds_is_not_adopted_when_the_database_was_restored(
    named: str, overlap_is_over: bool
) -> None:
    """As a record of its own it would be rotated into another secret, and revoked while consumers read the first."""
    world = make_restored(overlap_is_over=overlap_is_over)
    clone = world.live_ids()[-1]
    references = {"all": (), "id": (clone,), "name": (NAME,)}[named]
    plan = look(world, *references)
    assert list_names(plan) == []
    (refusal,) = plan.refusals
    assert (refusal.kind, refusal.reference, refusal.name) == (RefusalKind.SERVED, clone, NAME)
    assert "inventory rebuild" in explain_refusal(refusal).fix


@pytest.mark.parametrize("shown", [NAME, "deploy"], ids=["a namesake", "another"])
def test_namesake_of_a_record_is_not_adopted_while_the_secret_of_that_cannot_be_read(
    shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    (found,) = add_untracked(world, shown)
    place, fetch = world.location(), world.secrets.fetch_versions

    def fail_there(location: SecretLocation) -> tuple[SecretVersion, ...]:
        if location == place:
            raise make_busy("fetch_versions", "key_vault")
        return fetch(location)

    monkeypatch.setattr(world.secrets, "fetch_versions", fail_there)
    plan = look(world)
    refused = [(item.kind, item.reference) for item in plan.refusals]
    assert refused == ([(RefusalKind.UNREADABLE, found)] if shown == NAME else [])
    assert len(plan.proposals) == (shown != NAME)


def test_everything_covered_is_proposed_when_all_is_asked_for() -> None:
    ignore = replace(RULE, name="hands-off", match=Match(display_name="*-manual"), action=RuleAction.IGNORE)
    contoso = replace(RULE, match=Match(organization="contoso"))
    world = make_world(policy=make_policy(ignore, contoso))
    add_untracked(world, "a", "b-manual", "c")
    add_untracked(world, "d", organization="fabrikam")
    plan = look(world)
    assert list_names(plan) == ["a", "c"]
    assert plan.refusals == ()


@pytest.mark.parametrize("by_all", [False, True])
def test_forgotten_pat_comes_back_to_the_secret_that_its_consumers_read(by_all: bool) -> None:
    """And not to the one that the rule would give it, which nobody reads."""
    world = make_world()
    (found,) = add_untracked(world, "CSV one")
    chosen = propose(world.make_run(), [found], everything=False, choice=Choice("csv", "team-csv"))
    adopt(world.make_run(), chosen)
    world.rotate("csv")
    world.advance(days=2)
    world.run()
    current = world.record("csv").authorization_id
    forget(world.make_run(), "csv")
    plan = look(world, *([] if by_all else [current]))
    assert [(item.record.name, item.record.secret_name) for item in plan.proposals] == [("csv", "team-csv")]
    other = propose(world.make_run(), [current], everything=False, choice=Choice("other"))
    assert [(item.record.name, item.record.secret_name) for item in other.proposals] == [("other", "contoso-other")]


def test_records_and_events_are_written_when_adopted() -> None:
    world = make_world()
    (found,) = add_untracked(world, "deploy")
    run = world.make_run()
    adopt(run, propose(run, ["deploy"], everything=False))
    assert world.record("deploy").authorization_id == found
    assert world.events("deploy") == ["pat_adopted succeeded"]
    (event,) = load_events(world.database, AuditFilter(subject="deploy"))
    assert (event.entry.details["secret_holds"], event.entry.details.get("confirmed_version")) == ("absent", None)
    assert world.events("policy") == ["policy_changed succeeded"]
    world.check_promises()
    assert look(world).proposals == ()


def test_event_names_the_version_that_a_person_confirmed_when_adopted() -> None:
    world = make_world()
    (found,) = add_untracked(world, "deploy")
    seen = world.secrets.write_foreign(SecretLocation(VAULT, "contoso-deploy", ACCOUNT), world.pats.pats[found].value)
    run = world.make_run()
    adopt(run, propose(run, ["deploy"], everything=False))
    (event,) = load_events(world.database, AuditFilter(subject="deploy"))
    assert event.entry.details["confirmed_version"] == seen == world.record("deploy").confirmed_version


def test_adopted_pat_is_rotated_when_it_becomes_due() -> None:
    world = make_world()
    add_untracked(world, "deploy")
    run = world.make_run()
    adopt(run, propose(run, [], everything=True))
    world.advance(days=16)
    assert "deploy" in names_of(world.run(), OutcomeKind.ROTATED)
    world.finish("deploy")


def test_nothing_is_written_when_one_of_several_cannot_be() -> None:
    world = make_world()
    add_untracked(world, "a", "b")
    run = world.make_run()
    plan = propose(run, [], everything=True)
    world.database.audit_left = 2
    with pytest.raises(DatabaseError):
        adopt(run, plan)
    with world.database.begin() as work:
        assert [pat.name for pat in work.inventory.load_all()] == [NAME]


def test_reference_is_refused_when_several_pats_have_the_display_name() -> None:
    world = make_world()
    first, second = add_untracked(world, "deploy", "deploy")
    plan = look(world, "deploy")
    assert plan.proposals == ()
    assert f"{first} (contoso)" in explain_refusal(plan.refusals[0]).message
    assert f"{second} (contoso)" in explain_refusal(plan.refusals[0]).message
    assert "authorization id" in explain_refusal(plan.refusals[0]).fix
    assert list_names(look(world, first, second)) == ["deploy", "deploy-contoso"]


def test_neither_is_proposed_when_two_of_all_have_one_display_name() -> None:
    """Which of them consumers mean is for a person to say: they read one secret."""
    world = make_world()
    first, second = add_untracked(world, "deploy", "deploy")
    add_untracked(world, "other")
    add_untracked(world, "deploy", organization="fabrikam")
    plan = look(world)
    assert list_names(plan) == ["other", "deploy"]
    assert [refusal.reference for refusal in plan.refusals] == [first, second]
    assert second in explain_refusal(plan.refusals[0]).message
    assert f"`rotator inventory adopt {first} --as NAME --secret NAME`" in explain_refusal(plan.refusals[0]).fix


def test_neither_is_proposed_when_two_organizations_would_share_the_plain_secret() -> None:
    world = make_world(policy=make_policy(replace(RULE, secret_name="{name}")))
    add_untracked(world, "deploy")
    add_untracked(world, "deploy", organization="fabrikam")
    plan = look(world)
    assert (list_names(plan), len(plan.refusals)) == ([], 2)


def test_name_and_secret_are_those_that_a_person_chose_when_one_pat_is_named() -> None:
    world = make_world()
    _, second = add_untracked(world, "deploy", "deploy")
    run = world.make_run()
    adopt(run, propose(run, [second], everything=False, choice=make_choice("deploy-eu", "eu-Token")))
    record = world.record("deploy-eu")
    assert (record.authorization_id, record.secret_name) == (second, "eu-Token")


def test_choice_is_refused_when_it_is_taken_or_can_be_no_name() -> None:
    world = make_world()
    (found,) = add_untracked(world, "deploy")
    run = world.make_run()
    for choice, reason in (
        (make_choice(NAME, None), "name npm-feed is taken"),
        (make_choice(None, "Contoso-npm-feed"), "belongs to npm-feed already"),
    ):
        [refusal] = propose(run, [found], everything=False, choice=choice).refusals
        assert reason in explain_refusal(refusal).message
    for name, secret in (("No Name", None), (None, "under_score"), (None, ""), ("", None)):
        with pytest.raises(UsageError):
            make_choice(name, secret)


def test_reference_is_refused_when_it_is_unknown_and_fine_when_it_is_managed_already() -> None:
    world = make_world()
    plan = look(world, "ghost", world.record().authorization_id)
    assert plan.proposals == ()
    assert [refusal.reference for refusal in plan.refusals] == ["ghost"]
    assert "no untracked active PAT" in explain_refusal(plan.refusals[0]).message
    assert [item.record.name for item in plan.managed] == [NAME]
    assert plan.confirmations == ()


def test_pat_is_not_called_unknown_when_a_list_could_not_be_fetched() -> None:
    world = make_world()
    world.pats.fail("fetch_pats", TransientError("busy", service="azure_devops", operation="list_pats"))
    plan = propose(world.make_run(), ["ghost"], everything=False)
    assert [refusal.kind for refusal in plan.refusals] == [RefusalKind.UNSEEN]
    assert len(plan.errors) == 1


def test_reference_is_refused_when_no_rule_covers_it() -> None:
    world = make_world(policy=make_policy(replace(RULE, match=Match(display_name="ci-*"))))
    add_untracked(world, "deploy")
    (refusal,) = look(world, "deploy").refusals
    assert "no rule in the policy covers it" in explain_refusal(refusal).message
    assert explain_refusal(refusal).fix


@pytest.mark.parametrize(
    ("match", "is_covered"),
    [
        (Match(account=ACCOUNT, organization="contoso", display_name="deploy", scope="vso.code"), True),
        (Match(account="release-bot"), False),
        (Match(organization="fabrikam"), False),
        (Match(display_name="other"), False),
        (Match(scope="vso.build"), False),
    ],
)
def test_pat_is_proposed_only_when_a_rule_is_about_it(match: Match, is_covered: bool) -> None:
    world = make_world(policy=make_policy(replace(RULE, match=match)))
    add_untracked(world, "deploy")
    assert [refusal.kind for refusal in look(world, "deploy").refusals] == ([] if is_covered else [RefusalKind.NO_RULE])


def test_reference_is_refused_when_its_rule_says_ignore() -> None:
    world = make_world(policy=make_policy(replace(RULE, action=RuleAction.IGNORE)))
    add_untracked(world, "deploy")
    assert explain_refusal(look(world, "deploy").refusals[0]).message == "rule ci says ignore"


def test_reference_is_refused_when_its_secret_belongs_to_another() -> None:
    world = make_world(policy=make_policy(replace(RULE, secret_name="contoso-NPM-feed", vault=f"{VAULT.upper()}/")))
    add_untracked(world, "deploy")
    (refusal,) = look(world, "deploy").refusals
    assert "belongs to npm-feed already" in explain_refusal(refusal).message
    assert "{name}" in explain_refusal(refusal).fix


def test_only_one_is_proposed_when_a_rule_gives_several_the_same_secret() -> None:
    world = make_world(policy=make_policy(replace(RULE, secret_name="shared")))
    add_untracked(world, "a", "b")
    plan = look(world)
    assert len(plan.proposals) == len(plan.refusals) == 1


def test_pat_is_adopted_as_blocked_when_it_cannot_be_cloned() -> None:
    world = make_world()
    add_untracked(world, "everywhere", organization=None)
    (record,) = [proposal.record for proposal in look(world).proposals]
    assert record.blocked
    assert record.last_failure is not None
    assert record.last_failure.code == "all_organizations"
    assert record.last_failure.fix


def test_proposal_says_so_when_a_guardrail_denies_to_rotate_the_pat() -> None:
    world = make_world(policy=make_policy(RULE, guardrails=Guardrails(deny_scopes=("app_token",))))
    add_untracked(world, "full", scope="app_token")
    run = world.make_run()
    plan = adopt(run, propose(run, ["full"], everything=False))
    (proposal,) = plan.proposals
    assert proposal.denied is not None
    assert "denied by guardrails.deny_scopes" in proposal.denied.message
    assert any(line.startswith("    blocked: its scope app_token") for line in render_adoption(plan, world.clock.now()))
    (adopted,) = make_adoption_document(plan, "run-1", dry_run=False)["adopted"]
    assert (adopted["blocked"], adopted["last_error"]) == (True, make_failure_or_none(proposal.denied))
    assert not world.record("full").blocked  # the policy decides anew at every plan


def test_refused_pat_is_named_by_more_than_its_id_when_the_server_listed_it() -> None:
    world = make_world()
    first, _ = add_untracked(world, "ci-build", "ci-build")
    plan = look(world)
    assert any(line.startswith(f'x {first} ("ci-build", build-bot/contoso): ') for line in render_refusals(plan))
    shown = make_adoption_document(plan, "run-1", dry_run=True)["refused"]
    assert {(item["display_name"], item["account"], item["organization"]) for item in shown} == {
        ("ci-build", "build-bot", "contoso")
    }


def test_adopted_pat_is_rotated_when_the_guardrail_on_its_scope_is_lifted() -> None:
    world = make_world(policy=make_policy(RULE, guardrails=Guardrails(deny_scopes=("app_token",))))
    add_untracked(world, "full", scope="app_token")
    run = world.make_run()
    adopt(run, propose(run, ["full"], everything=False))
    world.advance(days=16)
    world.run()
    assert world.states("full") == []
    world.policy = make_policy(RULE)
    world.run()
    assert world.states("full") == ["overlapping"]


def test_all_organization_pat_is_proposed_once_when_every_organization_lists_it() -> None:
    world = make_world()
    (found,) = add_untracked(world, "everywhere", organization=None)
    (proposal,) = look(world).proposals
    assert (proposal.record.authorization_id, proposal.record.organization) == (found, "contoso")


def test_pat_of_another_organization_is_not_taken_for_this_one_when_the_list_shows_it() -> None:
    world = make_world()
    add_untracked(world, "theirs", organization="fabrikam")
    (proposal,) = look(world, "theirs").proposals
    assert proposal.record.organization == "fabrikam"


def test_rest_is_proposed_when_one_account_cannot_be_asked() -> None:
    world = make_world()
    add_untracked(world, "deploy")
    world.sign_in.refusals["release-bot"] = SignInRequiredError("nobody is signed in", account="release-bot")
    plan = look(world)
    assert list_names(plan) == ["deploy"]
    assert [error.code for error in plan.errors] == ["sign_in_required"]


def test_each_pat_gets_what_was_chosen_for_it_when_several_are_named_by_id() -> None:
    world = make_world()
    first, second = add_untracked(world, "deploy", "deploy")
    choices = {
        first: Choice("one", "One-Token", vault="https://other-kv.vault.azure.net"),
        second: Choice("two", "two-token", account=ACCOUNT, organization="contoso"),
    }
    run = world.make_run()
    adopt(run, propose(run, [first, second], everything=False, choices=choices))
    places = {name: (world.record(name).vault, world.record(name).secret_name) for name in ("one", "two")}
    assert places == {"one": ("https://other-kv.vault.azure.net", "One-Token"), "two": (VAULT, "two-token")}
    again = propose(run, [first, second], everything=False, choices=choices)
    assert (again.proposals, again.refusals, len(again.managed)) == ((), (), 2)


def test_pat_is_refused_when_it_is_not_where_the_choice_says() -> None:
    world = make_world()
    (found,) = add_untracked(world, "deploy")
    current = world.record().authorization_id
    for place in (Choice(account="release-bot"), Choice(organization="fabrikam")):
        plan = propose(world.make_run(), [found, current], everything=False, choices={found: place, current: place})
        assert [refusal.kind for refusal in plan.refusals] == [RefusalKind.MISPLACED] * 2
        assert (plan.proposals, plan.managed) == ((), ())
    elsewhere = {current: Choice(vault="https://other-kv.vault.azure.net")}
    [refusal] = propose(world.make_run(), [current], everything=False, choices=elsewhere).refusals
    assert refusal.kind is RefusalKind.ELSEWHERE
