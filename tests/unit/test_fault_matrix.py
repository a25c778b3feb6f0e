"""Every fault of every service: where the run that it strikes stops, and that the next ones bring all to rest."""

from __future__ import annotations

import pytest

from rotator.engine.report import RunReport
from rotator.errors import RotatorError
from tests.support.engine import NAME, EngineWorld
from tests.unit.fault_table import (
    BEGIN,
    CELLS,
    EMPTY,
    END,
    PLACES,
    README,
    Cell,
    count_pats,
    describe,
    put_table,
)


def act(cell: Cell, world: EngineWorld) -> RunReport | RotatorError:
    """The report of the run, or of what is done in its place; or the error that ended it."""
    try:
        return cell.act(world)
    except RotatorError as error:
        return error


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.row}-{cell.column}".replace(" ", "_"))
def test_fault_leaves_nothing_behind_when_the_next_runs_have_healed_it(cell: Cell) -> None:
    world = cell.start()
    cell.fault(world)
    assert describe(world, act(cell, world), cell.name) == cell.then
    assert world.is_live() == cell.serves
    world.heal()
    world.advance(minutes=11)
    world.run()
    if cell.later is not None:
        cell.later(world)
    with world.database.read() as reading:
        names = reading.inventory.find_names({NAME, cell.name})
    for name in sorted(names):
        world.finish(name)
    assert count_pats(world, cell.name) == cell.rest


def test_matrix_has_a_cell_or_a_reason_for_every_row_and_column() -> None:
    filled = [(cell.row, cell.column) for cell in CELLS]
    assert sorted([*filled, *EMPTY]) == sorted(PLACES)


def test_readme_shows_the_matrix_of_now() -> None:
    text = README.read_text(encoding="utf-8")
    assert BEGIN in text
    assert END in text
    assert text == put_table(text), "run python -m tests.unit.fault_table --write"
