"""What changes a record, a rotation or a revocation needs the claim on it: nobody writes beside a run."""

from __future__ import annotations

import ast

from tests.support.source_tree import ROOT

_FENCED = {"inventory": "Inventory", "journal": "Journal", "revocations": "Revocations"}
_FREE = {
    "Inventory.add": "a new record: nobody can have claimed it",
    "Inventory.save_untracked": "what the last look found of PATs that no record has",
    "Inventory.save_waits": "why such a PAT waits for a person",
    "Journal.lock_mints": "writes nothing",
    "Journal.archive": "moves closed rotations to their traces: nobody writes to one that is closed",
    "Revocations.note_missed": "what a look found of a PAT, whose record may be forgotten",
    "Revocations.redate": "moments that are ahead of every clock at hand",
    "Revocations.end": "what is gone stays gone; of several that end it, one is told so",
}
"""What needs none, and why."""


def test_every_write_to_a_record_a_rotation_or_a_revocation_needs_its_claim() -> None:
    free = set[str]()
    for module, port in _FENCED.items():
        tree = ast.parse((ROOT / "rotator" / "ports" / f"{module}.py").read_text(encoding="utf-8"))
        [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == port]
        methods = [node for node in found.body if isinstance(node, ast.FunctionDef)]
        assert methods
        for method in methods:
            kinds = [ast.unparse(each.annotation) for each in method.args.args if each.annotation is not None]
            if "Claim" not in kinds:
                free.add(f"{port}.{method.name}")
    assert free == _FREE.keys()
