"""The words for refusals, obstacles and PATs left behind, made from fields."""

from __future__ import annotations

from dataclasses import replace

from rotator.cli.output.words import render_causes
from rotator.domain.managed_pat import Failure
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.domain.sight import Holding, Sight
from rotator.engine.explaining import explain_obstacle, explain_sight
from rotator.engine.explaining_refusals import Asked, explain_refusal
from tests.support.records import make_managed_pat


def test_explaining_has_words_of_its_own_when_any_refusal_is_asked_for() -> None:
    """No kind is left out, and none is shown as another one; some repeat what others said."""
    repeating = (RefusalKind.CHANGED, RefusalKind.UNREADABLE, RefusalKind.UNFIT)
    kinds = [kind for kind in RefusalKind if kind not in repeating]
    told = [explain_refusal(Refusal(kind, "id-1", name="feed", ids=("id-2",), organizations=("o",))) for kind in kinds]
    assert [failure.code for failure in told] == [kind.value for kind in kinds]
    assert len({(failure.message, failure.fix) for failure in told}) == len(kinds)


def test_explaining_repeats_the_inventory_when_it_refused_the_record() -> None:
    """What the database said is an error with a fix already."""
    failure = Failure("usage", "npm-feed is managed already", "Choose another name.")
    assert explain_refusal(Refusal(RefusalKind.CHANGED, "id-1", failure=failure)) == failure


def test_explaining_has_words_of_its_own_when_any_obstacle_is_asked_for() -> None:
    """Each with who must do what."""
    told = [explain_obstacle(Obstacle(kind)) for kind in ObstacleKind]
    assert [failure.code for failure in told] == [kind.value for kind in ObstacleKind]
    assert len({failure.message for failure in told}) == len(ObstacleKind)
    assert all(failure.fix for failure in told)


def test_explaining_says_what_a_secret_holds_when_any_sight_is_asked_for() -> None:
    """Three kinds of something else among them."""
    seen = [Sight(holding, user="Build Bot") for holding in Holding if holding is not Holding.SOMETHING_ELSE]
    other = Sight(Holding.SOMETHING_ELSE, expected="Build Bot")
    seen += [other, replace(other, pat_shaped=True), replace(other, pat_shaped=True, user="Someone Else")]
    told = [explain_sight(sight) for sight in seen]
    assert len(set(told)) == len(seen)
    refusal = explain_refusal(Refusal(RefusalKind.SOMETHING_ELSE, "id-1", sight=other))
    assert told[-3] in refusal.message


def test_fix_of_a_refused_secret_asks_for_the_secret_that_was_asked_for() -> None:
    """Typed as printed, it adopts the PAT onto that one and no other; with a file only the file says which."""
    kinds = [RefusalKind.SOMETHING_ELSE, RefusalKind.LIST_INCOMPLETE, RefusalKind.PLACE_TAKEN]
    refusals = [Refusal(kind, "id-1", secret_name="s", vault="https://v", rule="ci") for kind in kinds]
    typed = Asked(" --as feed --secret feed-token")
    foreign, unclear, _ = (explain_refusal(refusal, typed).fix for refusal in refusals)
    assert "`rotator inventory adopt id-1 --as feed --secret feed-token --replace-foreign`" in foreign
    assert "`rotator inventory adopt id-1 --as feed --secret feed-token`" in unclear
    assert [explain_refusal(refusal, Asked(lines={"id-1": 3})).fix for refusal in refusals] == [
        "If it may be overwritten: set replace_foreign to true in line 3 of the file; else choose another secret in "
        "that line.",
        "If it holds this PAT: adopt the file again; else choose another secret in line 3.",
        "Choose another secret in line 3 of the file.",
    ]


def test_fix_has_the_name_and_the_secret_of_its_pat_and_is_said_once_for_several() -> None:
    """Word for word to be typed but for the id; where several share it, none is told another one's name."""
    pat = replace(make_managed_pat("feed"), secret_name="feed-token")
    other = replace(pat, name="site", secret_name="site-token")
    obstacle = Obstacle(ObstacleKind.SCOPE_DENIED, scopes=("vso.code_full",))
    first, second = explain_obstacle(obstacle, pat), explain_obstacle(obstacle, other)
    assert "`rotator inventory adopt ID --as feed --secret feed-token`, then `rotator rotate feed`." in first.fix
    assert list(render_causes([("feed", first)])) == [f"feed: {first.message}", f"    fix: {first.fix}"]
    both = list(render_causes([("feed", first), ("site", second)]))
    assert both == [f"feed, site, each: {first.message}", f"    fix: {explain_obstacle(obstacle).fix}"]
    assert not any("{" in explain_obstacle(Obstacle(kind), pat).fix for kind in ObstacleKind)
