"""What `rotator audit verify` says of an intact log, for one and for several."""

from __future__ import annotations

import pytest

from rotator.cli.output.audit import render_anchors, render_seals
from rotator.engine.anchoring import AnchorSight
from rotator.engine.log_checking import LogSummary

HEAD = "ab" * 32


@pytest.mark.parametrize(
    ("events", "checkpoints", "signed", "lines"),
    [
        (2, 0, 0, ["It has no checkpoint yet: anyone who can write the database could have rewritten it."]),
        (
            2,
            1,
            0,
            ["1 checkpoint is valid, but it is not signed: anyone who can write the database could have made it."],
        ),
        (
            2,
            2,
            0,
            ["2 checkpoints are valid, but none is signed: anyone who can write the database could have made them."],
        ),
        (2, 1, 1, ["1 checkpoint is valid; signatures cover event 1.", "1 later event is not signed yet."]),
        (9, 3, 7, ["3 checkpoints are valid; signatures cover events 1 to 7.", "2 later events are not signed yet."]),
        (7, 3, 7, ["3 checkpoints are valid; signatures cover events 1 to 7."]),
    ],
)
def test_seals_are_said_for_one_and_for_several(events: int, checkpoints: int, signed: int, lines: list[str]) -> None:
    assert list(render_seals(LogSummary(events, HEAD, checkpoints, signed))) == lines


@pytest.mark.parametrize(("accepted", "others"), [(1, "1 other"), (2, "2 others")])
def test_anchors_are_said_for_one_and_for_several(accepted: int, others: str) -> None:
    assert list(render_anchors(AnchorSight((), {}), accepted)) == [
        "The log contains everything that the vaults hold of it: 0 heads, 0 checkpoints.",
        f"A person accepted that the log lacks {others}: see `rotator audit list --event gap_accepted`.",
    ]
