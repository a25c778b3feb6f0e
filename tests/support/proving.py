"""Proofs are families of tests that take minutes: `make prove` runs them whole, `make test` a sample of each.

A module of proofs says `pytestmark = pytest.mark.prove`; what of it is in the sample is marked `sample` as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


def pytest_configure(config: pytest.Config) -> None:
    """Register the two markers."""
    config.addinivalue_line("markers", "prove: part of a proof, which `make prove` runs whole")
    config.addinivalue_line("markers", "sample: part of a proof that `make test` runs too")


def with_sample(cases: Mapping[str, tuple[object, ...]], sample: Collection[str]) -> list[ParameterSet]:
    """Make the parameters of every case, by its id, and mark those of the sample. Each id of it must exist."""
    unknown = set(sample) - cases.keys()
    assert not unknown, f"{sorted(unknown)} are not among {list(cases)}"
    marks = {name: [pytest.mark.sample] for name in sample}
    return [pytest.param(*values, id=name, marks=marks.get(name, ())) for name, values in cases.items()]
