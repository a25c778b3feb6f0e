"""The fault matrix: what each fault of each service leaves behind at once, and once the next runs have healed it.

Every row has every column: a cell, or the reason why there is none. Clocks have columns of their own.

`test_fault_matrix.py` makes a test of every cell. `python -m tests.unit.fault_table --write` puts the table into
tests/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from rotator.domain.secret_value import SecretValue
from rotator.engine.creating import create, make_order
from rotator.engine.report import OutcomeKind, RunReport
from rotator.errors import (
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnreachableError,
    DeniedError,
    RejectedError,
    RemoteError,
    RotatorError,
    SignInRequiredError,
    TransientError,
    UnknownOutcomeError,
    VerificationError,
)
from rotator.ports.pat_service import MintedPat
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, SCOPE, EngineWorld, make_world
from tests.support.engine_restores import make_restored
from tests.support.engine_scenarios import make_late_store, make_overlapping
from tests.unit import fault_lies as lies
from tests.unit.fault_lies import Arrange

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- fault matrix: begin -->", "<!-- fault matrix: end -->"
REFUSED, LOST, THROTTLED, BROKEN = "refused before sending", "applied, reply lost", "429", "5xx"
FORBIDDEN, MALFORMED, SWAPPED = "denied or policy", "malformed or late", "answer of another request"
INEFFECTIVE, STALE = "without effect", "stale or incomplete"
COLUMNS = (REFUSED, LOST, THROTTLED, BROKEN, FORBIDDEN, MALFORMED, SWAPPED, INEFFECTIVE, STALE)
ROWS = ("list", "mint", "revoke", "probe", "vault read", "vault write", "restore", "database", "Entra", "create")
_READS = "it only reads"
EMPTY = {
    ("list", INEFFECTIVE): _READS,
    ("probe", INEFFECTIVE): _READS,
    ("vault read", INEFFECTIVE): _READS,
    ("revoke", SWAPPED): "its answer has no body: another one's says done, or refused",
    ("database", SWAPPED): "a connection carries one request at a time",
    ("Entra", STALE): "a token that is too old is refused: without effect",
}
"""Where no such fault can happen, and why."""
FAST, SLOW = timedelta(days=2), timedelta(days=-2)
CLOCKS = ("host's clock", "database's clock", "Azure DevOps's clock", "Key Vault's clock", "Entra's clock")
CLOCK_COLUMNS = (
    "two days ahead, at a mint",
    "two days behind, at a mint",
    "two days ahead, in an overlap",
    "two days behind, in an overlap",
    "two days ahead, at a revocation",
    "two days behind, at a revocation",
)
ALONE = (
    ("boot clock", "stood still for two days of an overlap"),
    ("boot clock", "started anew in an overlap"),
    ("boot clock", "started anew, at a revocation"),
    ("adopted secret", "written by somebody else before the first rotation"),
)
"""What can happen there only."""
PLACES = (
    *((row, column) for row in ROWS for column in COLUMNS),
    *((row, column) for row in CLOCKS for column in CLOCK_COLUMNS),
    *ALONE,
)
"""Every row with each of its columns."""
_ALWAYS = 60
NEW = "deploy"
"""What is created."""


@dataclass(frozen=True)
class Cell:
    """One fault. It strikes the run that follows `start`, or what `act` does about the ManagedPat `name` instead.

    `then` is where the rotation stands after that run, and the codes that it reported; `rest` is how many PATs were
    made and revoked when all is at rest. `later` happens after the first run without the fault.
    """

    row: str
    column: str
    fault: Arrange
    then: str
    rest: str
    start: Callable[[], EngineWorld] = make_world
    later: Arrange | None = None
    act: Callable[[EngineWorld], RunReport] = EngineWorld.run
    name: str = NAME
    person: str = ""
    """What a person does `later`, where no run may decide."""
    serves: bool = True
    """Whether consumers read a live PAT after that run; not before a late write is undone."""


def describe(world: EngineWorld, report: RunReport | RotatorError, name: str) -> str:
    """What a run left: the newest rotation's state and every code reported."""
    if isinstance(report, RotatorError):
        codes = [report.code]
    else:
        entries = (*report.of_kind(OutcomeKind.FAILED), *report.of_kind(OutcomeKind.BLOCKED))
        codes = list(dict.fromkeys(entry.failure.code for entry in entries if entry.failure))
    states = world.states(name)
    return f"{states[-1] if states else 'not begun'}: {', '.join(codes) or 'no failure'}"


def count_pats(world: EngineWorld, name: str) -> str:
    """How many PATs the product made, and how many were revoked."""
    ours = [fake for fake in world.pats.pats.values() if fake.pat.display_name == name]
    return f"{len(ours) - (name == NAME)} made, {sum(fake.revoked for fake in ours)} revoked"


def make_rotated() -> EngineWorld:
    """A world in which nothing is due."""
    world = make_world()
    world.run()
    return world


def create_new(world: EngineWorld) -> RunReport:
    """One `rotator create`."""
    order = make_order(NEW, ACCOUNT, ORGANIZATION, tuple(SCOPE.split()), timedelta(days=20))
    return world.watch(lambda: create(world.make_run(), order))


def _create(column: str, fault: Arrange, then: str, rest: str) -> Cell:
    return Cell("create", column, fault, then, rest, make_rotated, act=create_new, name=NEW)


def make_lost_mint() -> EngineWorld:
    """A mint whose answer was lost; the next run has to look at the list."""
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.run()
    world.advance(minutes=11)
    return world


def _remote(kind: type[RemoteError], code: str, status: int | None, service: str) -> RemoteError:
    """What an adapter raises; a 429 asks for ten seconds."""
    if kind is TransientError:
        wait = 10.0 if status == 429 else None
        return TransientError(
            f"{service}: {code}", service=service, operation="any", status=status, code=code, retry_after=wait
        )
    return kind(f"{service}: {code}", service=service, operation="any", status=status, code=code, fix="See to it.")


def _azure(
    operation: str,
    code: str,
    status: int | None = None,
    *,
    kind: type[RemoteError] = TransientError,
    after: bool = False,
    times: int = _ALWAYS,
) -> Arrange:
    error = _remote(kind, code, status, "azure_devops")
    return lambda world: world.pats.fail(operation, error, after_effect=after, times=times)


def _vault(
    operation: str,
    code: str,
    status: int | None = None,
    *,
    kind: type[RemoteError] = TransientError,
    after: bool = False,
    times: int = _ALWAYS,
) -> Arrange:
    error = _remote(kind, code, status, "key_vault")
    return lambda world: world.secrets.fail(operation, error, after_effect=after, times=times)


def _entra(error: RotatorError) -> Arrange:
    return lambda world: world.sign_in.refusals.update({"build-bot": error})


def _refuse_mint(world: EngineWorld) -> None:
    world.pats.organizations["contoso"].mint_error = "globalPATCreationBlocked"


def _hide_value(world: EngineWorld) -> None:
    world.pats.change_minted = lambda minted: MintedPat(minted.pat, None)


def _swap_answer(world: EngineWorld) -> None:
    world.pats.add_pat("build-bot", "contoso", "of-a-person", SCOPE, world.record().valid_to)
    world.pats.swap_mint_answer()


def _ignore_revoke(world: EngineWorld) -> None:
    left = iter((True,))
    world.pats.ignores_revoke = lambda authorization_id: next(left, False)


def _be_another_user(world: EngineWorld) -> None:
    other = world.pats.add_pat("release-bot", "contoso", "theirs", SCOPE, world.record().valid_to)
    world.pats.change_minted = lambda minted: MintedPat(minted.pat, SecretValue(other.value))


def _read_old(world: EngineWorld) -> None:
    world.database.interrupts["stored"] = lambda: lies.read_old(world)


def _store_late(world: EngineWorld) -> None:
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=_ALWAYS)


def _land_store(world: EngineWorld) -> None:
    assert world.secrets.apply_late() == 1


def _take_over(world: EngineWorld) -> None:
    def freeze() -> None:
        world.advance(minutes=6)
        with world.database.begin() as work:
            work.claims.claim("npm-feed", "other-run", now=work.now(), span=world.timing.lease)

    world.database.interrupts["verified"] = freeze


def _refuse_commit(mark: str, error: DatabaseError) -> Arrange:
    return lambda world: world.database.refusals.update({mark: error})


def _lose_commit(mark: str, error: DatabaseError) -> Arrange:
    return lambda world: world.database.losses.update({mark: error})


def _fill_disk(world: EngineWorld) -> None:
    world.database.audit_left = 0


def _wrong_value(world: EngineWorld) -> None:
    world.pats.fail("verify", VerificationError("not accepted", fix="Wait."), times=_ALWAYS)


_swap_write = _vault("store", "vault_answer", 200, kind=UnknownOutcomeError, after=True)
_UNREACHABLE = DatabaseUnreachableError("cannot be reached")
_LOCKED = DatabaseLockedError("held by another process")
_WRONG_USER = SignInRequiredError("somebody else", account="build-bot", code="wrong_user", fix="Sign in.")
_NO_SIGN_IN = SignInRequiredError("nobody is signed in", account="build-bot", fix="Sign in.")
ONCE, TWICE = "1 made, 1 revoked", "2 made, 2 revoked"
KEPT, AGAIN, NONE = "1 made, 0 revoked", "2 made, 1 revoked", "0 made, 0 revoked"


def _restore(column: str, fault: Arrange, then: str, *, serves: bool = False, later: Arrange | None = None) -> Cell:
    """A fault of the write that undoes a late one."""
    return Cell("restore", column, fault, then, TWICE, start=make_late_store, later=later, serves=serves)


def _clock(row: str, fault: Callable[[timedelta], Arrange], thens: tuple[str, ...] = ()) -> tuple[Cell, ...]:
    """The cells of one clock. A service's own clock, alone, changes nothing."""
    minted, waits, done = "overlapping: no failure", "overlapping: no failure", "completed: no failure"
    starts = (make_world, lies.make_half_overlapped, make_overlapping)
    cases = [(start, ahead) for start in starts for ahead in (FAST, SLOW)]
    expected = thens or (minted, minted, waits, waits, done, done)
    return tuple(
        Cell(row, column, fault(ahead), then, ONCE, start)
        for column, (start, ahead), then in zip(CLOCK_COLUMNS, cases, expected, strict=True)
    )


_HELD = ("overlapping: no failure",) * 4 + ("completed: no failure", "overlapping: no failure")
"""Of the clocks at hand the slowest one ends an overlap."""
_SKEWED = ("not begun: clock_skew",) * 2 + ("overlapping: clock_skew",) * 4
_BOOT_CELLS = tuple(
    Cell(*place, fault, then, ONCE, start)
    for place, fault, then, start in zip(
        ALONE[:3],
        (lies.suspend, lies.reboot, lies.reboot),
        ("overlapping: no failure",) * 2 + ("completed: no failure",),
        (lies.make_half_overlapped, lies.make_half_overlapped, make_overlapping),
        strict=True,
    )
)
CELLS = (
    Cell("list", REFUSED, _azure("fetch_pats", "refused"), "minting: refused", TWICE, make_lost_mint),
    Cell("list", LOST, _azure("fetch_pats", "lost", after=True), "minting: lost", TWICE, make_lost_mint),
    Cell("list", THROTTLED, _azure("fetch_pats", "throttled", 429), "minting: throttled", TWICE, make_lost_mint),
    Cell("list", BROKEN, _azure("fetch_pats", "server_error", 503), "minting: server_error", TWICE, make_lost_mint),
    Cell(
        "list",
        FORBIDDEN,
        _azure("fetch_pats", "denied", 403, kind=DeniedError),
        "minting: denied",
        TWICE,
        make_lost_mint,
    ),
    Cell("list", MALFORMED, _azure("fetch_pats", "malformed", 200), "minting: malformed", TWICE, make_lost_mint),
    Cell("list", SWAPPED, lies.list_another_user, "abandoned: not_listed", TWICE, make_lost_mint),
    Cell("list", STALE, lies.list_without_oldest, "abandoned: not_listed", TWICE, make_lost_mint),
    Cell("mint", REFUSED, _azure("mint", "refused"), "abandoned: refused", ONCE),
    Cell("mint", LOST, _azure("mint", "lost", kind=UnknownOutcomeError, after=True), "minting: lost", TWICE),
    Cell("mint", THROTTLED, _azure("mint", "throttled", 429), "abandoned: throttled", ONCE),
    Cell("mint", BROKEN, _azure("mint", "server_error", 503, kind=UnknownOutcomeError), "minting: server_error", ONCE),
    Cell("mint", FORBIDDEN, _refuse_mint, "abandoned: global_pat_policy", ONCE),
    Cell("mint", MALFORMED, _hide_value, "abandoned: mint_without_value", TWICE),
    Cell("mint", SWAPPED, _swap_answer, "minting: mint_answer_doubted", TWICE),
    Cell("mint", INEFFECTIVE, lies.mint_nothing, "minting: mint_answer_doubted", ONCE),
    Cell("mint", STALE, lies.show_as_before_the_mint, "minting: mint_answer_doubted", TWICE),
    Cell("revoke", REFUSED, _azure("revoke", "refused"), "retiring: refused", ONCE, make_overlapping),
    Cell(
        "revoke",
        LOST,
        _azure("revoke", "lost", kind=UnknownOutcomeError, after=True),
        "retiring: lost",
        ONCE,
        make_overlapping,
    ),
    Cell("revoke", THROTTLED, _azure("revoke", "throttled", 429), "retiring: throttled", ONCE, make_overlapping),
    Cell(
        "revoke",
        BROKEN,
        _azure("revoke", "server_error", 503, kind=UnknownOutcomeError),
        "retiring: server_error",
        ONCE,
        make_overlapping,
    ),
    Cell(
        "revoke",
        FORBIDDEN,
        _azure("revoke", "denied", 403, kind=DeniedError),
        "retiring: denied",
        ONCE,
        make_overlapping,
    ),
    Cell(
        "revoke",
        MALFORMED,
        _azure("revoke", "revoke_not_confirmed", 200, kind=RejectedError),
        "retiring: revoke_not_confirmed",
        ONCE,
        make_overlapping,
    ),
    Cell("revoke", INEFFECTIVE, _ignore_revoke, "completed: no failure", ONCE, make_overlapping),
    Cell("revoke", STALE, lies.show_as_now, "completed: no failure", ONCE, make_overlapping),
    Cell("probe", REFUSED, _azure("verify", "refused"), "abandoned: refused", TWICE),
    Cell("probe", LOST, _azure("verify", "lost", after=True, times=3), "overlapping: no failure", ONCE),
    Cell("probe", THROTTLED, _azure("verify", "throttled", 429, times=3), "overlapping: no failure", ONCE),
    Cell("probe", BROKEN, _azure("verify", "server_error", 503, times=3), "overlapping: no failure", ONCE),
    Cell("probe", FORBIDDEN, _wrong_value, "abandoned: verification_failed", TWICE),
    Cell("probe", MALFORMED, _be_another_user, "abandoned: wrong_identity", TWICE),
    Cell("probe", SWAPPED, lies.sign_in_as_another, "abandoned: wrong_identity", TWICE),
    Cell("probe", STALE, lies.accept_late, "overlapping: no failure", ONCE),
    Cell("vault read", REFUSED, _vault("fetch_latest", "refused"), "stored: refused", ONCE),
    Cell("vault read", LOST, _vault("fetch_latest", "lost", after=True), "stored: lost", ONCE),
    Cell("vault read", THROTTLED, _vault("fetch_latest", "vault_throttled", 429), "stored: vault_throttled", ONCE),
    Cell("vault read", BROKEN, _vault("fetch_latest", "vault_failed", 503), "stored: vault_failed", ONCE),
    Cell("vault read", FORBIDDEN, lambda world: world.secrets.denied.add("get"), "abandoned: vault_denied", ONCE),
    Cell("vault read", MALFORMED, _vault("fetch_latest", "vault_answer", 200), "stored: vault_answer", ONCE),
    Cell("vault read", SWAPPED, _vault("fetch_latest", "vault_answer", 200, after=True), "stored: vault_answer", ONCE),
    Cell("vault read", STALE, _read_old, "stored: vault_reads_old", ONCE),
    Cell("vault write", REFUSED, _vault("store", "refused"), "storing: refused", TWICE),
    Cell(
        "vault write",
        LOST,
        _vault("store", "lost", kind=UnknownOutcomeError, after=True),
        "overlapping: no failure",
        ONCE,
    ),
    Cell("vault write", THROTTLED, _vault("store", "vault_throttled", 429, times=3), "overlapping: no failure", ONCE),
    Cell(
        "vault write",
        BROKEN,
        _vault("store", "vault_failed", 503, kind=UnknownOutcomeError),
        "storing: vault_failed",
        TWICE,
    ),
    Cell(
        "vault write",
        FORBIDDEN,
        _vault("store", "vault_denied", 403, kind=DeniedError),
        "abandoned: vault_denied",
        TWICE,
    ),
    Cell("vault write", MALFORMED, _store_late, "storing: connection_lost", TWICE, later=_land_store),
    Cell("vault write", SWAPPED, _swap_write, "overlapping: no failure", ONCE),
    Cell("vault write", INEFFECTIVE, lies.ignore_writes, "storing: secret_write_ignored", TWICE),
    Cell("vault write", STALE, lies.lose_write_and_read_old, "overlapping: no failure", ONCE),
    _restore(REFUSED, _vault("store", "refused"), "overlapping: refused"),
    _restore(
        LOST,
        _vault("store", "lost", kind=UnknownOutcomeError, after=True),
        "overlapping: lost",
        serves=True,
    ),
    _restore(THROTTLED, _vault("store", "vault_throttled", 429), "overlapping: vault_throttled"),
    _restore(BROKEN, _vault("store", "vault_failed", 503, kind=UnknownOutcomeError), "overlapping: vault_failed"),
    _restore(FORBIDDEN, _vault("store", "vault_denied", 403, kind=DeniedError), "overlapping: vault_denied"),
    _restore(
        MALFORMED, lambda world: world.secrets.postpone_restore(), "overlapping: connection_lost", later=_land_store
    ),
    _restore(SWAPPED, _swap_write, "overlapping: vault_answer", serves=True),
    _restore(INEFFECTIVE, lies.ignore_writes, "overlapping: secret_write_ignored"),
    _restore(STALE, lies.read_old, "overlapping: no failure"),
    Cell("database", REFUSED, _refuse_commit("minting", _UNREACHABLE), "planned: database_unreachable", ONCE),
    Cell("database", LOST, _lose_commit("minting", _UNREACHABLE), "minting: database_unreachable", ONCE),
    Cell("database", THROTTLED, _refuse_commit("planned", _LOCKED), "not begun: database_locked", ONCE),
    Cell("database", BROKEN, _take_over, "verified: claim_lost", TWICE),
    Cell("database", FORBIDDEN, _fill_disk, "not begun: database_full", ONCE),
    Cell("database", MALFORMED, _refuse_commit("stored", _UNREACHABLE), "overlapping: no failure", ONCE),
    Cell(
        "database",
        INEFFECTIVE,
        lies.lose_commits,
        "minting: no failure",
        ONCE,
        lies.make_on_timeline,
        later=lies.rebuild_from_vault,
        person="`rotator inventory rebuild`",
    ),
    Cell(
        "database",
        STALE,
        lambda world: None,
        "abandoned: database_behind",
        ONCE,
        make_restored,
        later=lies.rebuild_from_vault,
        person="`rotator inventory rebuild`",
    ),
    Cell("Entra", REFUSED, _entra(_remote(TransientError, "refused", None, "entra")), "not begun: refused", ONCE),
    Cell("Entra", LOST, _entra(_remote(TransientError, "lost", None, "entra")), "not begun: lost", ONCE),
    Cell(
        "Entra", THROTTLED, _entra(_remote(TransientError, "entra_busy", 429, "entra")), "not begun: entra_busy", ONCE
    ),
    Cell("Entra", BROKEN, _entra(_remote(TransientError, "entra_busy", 503, "entra")), "not begun: entra_busy", ONCE),
    Cell("Entra", FORBIDDEN, _entra(_NO_SIGN_IN), "not begun: sign_in_required", ONCE),
    Cell(
        "Entra",
        MALFORMED,
        _entra(_remote(TransientError, "entra_unexpected", 200, "entra")),
        "not begun: entra_unexpected",
        ONCE,
    ),
    Cell("Entra", SWAPPED, _entra(_WRONG_USER), "not begun: wrong_user", ONCE),
    Cell("Entra", INEFFECTIVE, lies.refuse_tokens, "not begun: sign_in_required", ONCE),
    _create(REFUSED, _azure("mint", "refused"), "abandoned: refused", KEPT),
    _create(LOST, _azure("mint", "lost", kind=UnknownOutcomeError, after=True), "minting: lost", AGAIN),
    _create(THROTTLED, _vault("store", "vault_throttled", 429), "storing: vault_throttled", AGAIN),
    _create(BROKEN, _vault("fetch_latest", "vault_failed", 503), "stored: vault_failed", KEPT),
    _create(FORBIDDEN, _refuse_mint, "abandoned: global_pat_policy", NONE),
    _create(MALFORMED, _hide_value, "abandoned: mint_without_value", AGAIN),
    _create(SWAPPED, _swap_answer, "minting: mint_answer_doubted", AGAIN),
    _create(INEFFECTIVE, lies.ignore_writes, "storing: secret_write_ignored", AGAIN),
    _create(STALE, _read_old, "stored: vault_reads_old", KEPT),
    *_clock("host's clock", lies.set_host, _SKEWED),
    *_clock("database's clock", lies.set_database, _HELD),
    *_clock("Azure DevOps's clock", partial(lies.set_witness, "azure_devops")),
    *_clock("Key Vault's clock", partial(lies.set_witness, "key_vault")),
    *_clock("Entra's clock", partial(lies.set_witness, "entra")),
    *_BOOT_CELLS,
    Cell(
        *ALONE[3],
        lambda world: None,
        "abandoned: secret_unconfirmed",
        ONCE,
        lies.make_changed,
        later=lies.replace_foreign,
        person="`rotator inventory adopt --replace-foreign`",
        serves=False,
    ),
)


def render_table() -> str:
    """The matrix as Markdown, one line per cell, in the order of rows and columns."""
    cells = {(cell.row, cell.column): cell for cell in CELLS}
    lines = ["| what | fault | right after | at rest |", "|---|---|---|---|"]
    for row, column in PLACES:
        cell = cells.get((row, column))
        shown = f"no such fault: {EMPTY[row, column]} | " if cell is None else _render_cell(cell)
        lines.append(f"| {row} | {column} | {shown} |")
    return "\n".join(lines)


def _render_cell(cell: Cell) -> str:
    state, _, codes = cell.then.partition(": ")
    rest = f"{cell.rest}, after {cell.person}" if cell.person else cell.rest
    return f"`{state}`, {codes.replace('_', ' ')} | {rest}"


def put_table(text: str) -> str:
    """The README's text with the table of now between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{render_table()}\n{END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        README.write_text(put_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(render_table())
