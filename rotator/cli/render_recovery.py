"""What was interrupted and what is left over, as people and scripts read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rotator.cli.documents import Document, make_failure_document, make_rotation_document
from rotator.cli.render import SCHEMA_VERSION, clean
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.words import say_duration, say_moment
from rotator.engine.context import RunContext
from rotator.engine.left_behind import LeftBehind, make_warning
from rotator.engine.rebuilding import Found, Rebuild
from rotator.engine.reconciling import Reconciliation
from rotator.engine.tags import AUTHORIZATION_TAG


def list_interrupted(run: RunContext) -> tuple[Rotation, ...]:
    """The open rotations that are not simply waiting for the end of their overlap."""
    with run.services.database.read() as reading:
        return tuple(item for item in reading.journal.load_open() if item.state is not RotationState.OVERLAPPING)


def render_left_behind(left: LeftBehind) -> str:
    """What it is, and the command that ends it."""
    pat, warning = left.pat, make_warning(left)
    head = f"{left.kind.value}  {pat.display_name}  until {say_moment(pat.valid_to)}: {warning.message}"
    return "\n".join(_say_problem(head, warning.fix))


def _say_problem(head: str, fix: str) -> Iterator[str]:
    yield clean(head)
    if fix:
        yield clean(f"    fix: {fix}")


def render_down(found: Reconciliation) -> Iterator[str]:
    """What could not be looked at, each with who must do what."""
    for (account, organization), error in found.down.items():
        place = f"{account} in {organization}" if organization else account
        yield from _say_problem(f"failed  {place}: {error.message}", error.fix)


def render_rebuilt(item: Found) -> str:
    """One line: the record, what it was, and what becomes of the old PAT and of what consumers read."""
    was = f"was {item.before.authorization_id}" if item.before else "new in the inventory"
    line = f"{item.record.name}  {item.record.authorization_id}  ({was})"
    if item.predecessor is not None:
        line += (
            f"; the old one, {item.predecessor.authorization_id}, stays valid for another {say_duration(item.overlap)}"
        )
    if item.gone:
        dead = item.gone[0].tags.get(AUTHORIZATION_TAG)
        line += f"; the vault hands out {dead}, which is gone: `rotator once` puts this one's value back"
    return clean(line)


def render_unbuilt(plan: Rebuild) -> Iterator[str]:
    """What a rebuild cannot do, each with who must do what."""
    for refusal in plan.refusals:
        yield from _say_problem(f"not rebuilt  {refusal.reference}: {refusal.reason}", refusal.fix)
    for error in plan.errors:
        yield from _say_problem(f"error: {error.message}", error.fix)


def make_left_behind_documents(left_behind: Iterable[LeftBehind]) -> list[Document]:
    """The list `left_behind` of `recover --json`, dry or not."""
    return [
        {
            "kind": item.kind.value,
            "name": item.rotation.name,
            "authorization_id": item.pat.authorization_id,
            "display_name": item.pat.display_name,
            "rotation_id": item.rotation.id,
            "fix": make_warning(item).fix,
        }
        for item in left_behind
    ]


def make_recovery_document(
    interrupted: tuple[Rotation, ...], found: Reconciliation, written_over: tuple[str, ...]
) -> Document:
    """What `recover --dry-run --json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "interrupted": [{"name": item.name, **make_rotation_document(item)} for item in interrupted],
        "left_behind": make_left_behind_documents(found.left_behind),
        "landed_late": sorted(found.late),
        "written_over": list(written_over),
        "errors": [
            {"account": account, "organization": organization, **(make_failure_document(error) or {})}
            for (account, organization), error in found.down.items()
        ],
    }


def make_rebuild_document(plan: Rebuild, *, dry_run: bool) -> Document:
    """What `inventory rebuild --json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": dry_run,
        "rebuilt": [
            {
                "name": item.record.name,
                "account": item.record.account,
                "organization": item.record.organization,
                "authorization_id": item.record.authorization_id,
                "before": item.before.authorization_id if item.before else None,
                "overlapping": item.predecessor is not None,
                "gone": [version.tags.get(AUTHORIZATION_TAG) for version in item.gone],
            }
            for item in plan.news
        ],
        "unchanged": len(plan.found) - len(plan.news),
        "refused": [{"name": item.reference, "reason": item.reason, "fix": item.fix} for item in plan.refusals],
        "errors": [make_failure_document(error) for error in plan.errors],
    }
