"""`plan`, `status` and the metrics over a large inventory on SQLite, beside a bare SELECT of its rows."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.metrics import render_metrics
from rotator.cli.context import CliContext
from rotator.cli.session import open_installation
from rotator.domain.managed_pat import ManagedPat
from rotator.engine.measuring import RotationTally, measure
from rotator.engine.planning import plan_from
from rotator.engine.status import status_from
from rotator.engine.status_memory import StatusMemory
from rotator.sandbox.seeds import ACCOUNT, ORGANIZATION
from tests.bench.stage import Stage, open_stage

_NOWHERE = "https://127.0.0.1:1"
"""Neither plan nor status asks a vault: nobody listens there."""


@dataclass(frozen=True)
class InventoryTiming:
    """Seconds of one look at all rows."""

    what: str
    rows: int
    seconds: float


def measure_inventory(rows: int) -> list[InventoryTiming]:
    """Each look within this process, and by command: before the account is signed in and after; the best of three."""
    with tempfile.TemporaryDirectory() as folder, open_stage(Path(folder)) as stage:
        config, database = stage.directory / "rotator.yaml", stage.directory / "rotator.db"
        stage.run("db", "upgrade")
        _fill(f"sqlite:///{database}", rows)
        looks: dict[str, Callable[[], object]] = {
            "bare SELECT of all columns": lambda: _select(database),
        }
        with open_installation(CliContext(config=config)) as installation:
            store, policy, timing = installation.database, installation.policy, installation.settings.rotation
            looks["plan_from, in process"] = lambda: plan_from(store, policy, installation.clock.now())
            looks["status_from, in process"] = lambda: status_from(
                store, policy, installation.clock.now(), settle=timing.settle, lease=timing.lease
            )
            run, tally = installation.make_run(), RotationTally()
            looks["metrics, measured and rendered, in process"] = lambda: render_metrics(
                measure(run, store, (), tally, StatusMemory()), "0"
            )
            taken = [InventoryTiming(name, rows, min(_time(look) for _ in range(3))) for name, look in looks.items()]
        taken += _measure_commands(stage, rows, "nobody is signed in")
        stage.sign_in()
        return taken + _measure_commands(stage, rows, "signed in")


def _measure_commands(stage: Stage, rows: int, world: str) -> list[InventoryTiming]:
    taken = []
    for command in ("plan", "status"):
        seconds = min(stage.run(command, "--json").wall for _ in range(3))
        taken.append(InventoryTiming(f"rotator {command} --json, {world}", rows, seconds))
    return taken


def _fill(url: str, rows: int) -> None:
    """PATs of thirty days, evenly spread over their lives: about a third is due."""
    now = datetime.now(UTC).replace(microsecond=0)
    database = SqlDatabase(url)
    with database.begin() as work:
        for number in range(rows):
            name = f"pat-{number:06}"
            start = now - timedelta(days=29) * number / rows
            work.inventory.add(
                ManagedPat(
                    name=name,
                    account=ACCOUNT,
                    organization=ORGANIZATION,
                    authorization_id=f"00000000-0000-4000-8000-{number:012}",
                    display_name=name,
                    scope="vso.build vso.code",
                    valid_from=start,
                    valid_to=start + timedelta(days=30),
                    vault=_NOWHERE,
                    secret_name=f"{ORGANIZATION}-{name}",
                )
            )
    database.close()


def _select(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("SELECT * FROM managed_pat").fetchall()
    connection.close()


def _time(look: Callable[[], object]) -> float:
    start = time.perf_counter()
    look()
    return time.perf_counter() - start
