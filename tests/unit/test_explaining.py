"""The words for refusals, obstacles and PATs left behind, made from fields."""

from __future__ import annotations

from rotator.domain.managed_pat import Failure
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.engine.explaining import explain_obstacle, explain_refusal


def test_explaining_has_words_of_its_own_when_any_refusal_is_asked_for() -> None:
    """No kind is left out, and none is shown as another one."""
    kinds = [kind for kind in RefusalKind if kind is not RefusalKind.CHANGED]
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
