"""The numbers of the migrations: each follows the one before, and the code knows them all."""

from rotator.adapters.database.schema import REVISIONS
from tests.support.source_tree import ROOT


def test_migrations_follow_each_other_without_a_gap() -> None:
    """Two changes that were made at the same time may both have taken the next number."""
    scripts = sorted((ROOT / "migrations" / "versions").glob("*.py"))
    assert tuple(script.name[:4] for script in scripts) == REVISIONS
    for script, before in zip(scripts, ("None", *(f'"{number}"' for number in REVISIONS)), strict=False):
        named = f'revision = "{script.name[:4]}"\ndown_revision = {before}\n'
        assert named in script.read_text(encoding="utf-8"), script.name
