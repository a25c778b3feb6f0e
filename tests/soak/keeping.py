"""A year that is kept: the daemon's log is signed and anchored, people use its commands, and a reviewer gets it all."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import yaml

from rotator.adapters.anchor_places import AnchorFile
from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.cli.reviewing import gather_contents, review_period
from rotator.documents.review import make_review_document
from rotator.domain.checkpoint import decode_public_key
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.period import read_period
from rotator.engine.adopting import adopt, propose
from rotator.engine.choices import Choice
from rotator.engine.context import RunContext, Trust
from rotator.engine.creating import Order, create, make_order
from rotator.engine.keeping import pause, resume
from rotator.engine.run import rotate_by_hand
from rotator.errors import RotatorError
from rotator.report.archive import write_archive
from rotator.report.page import render_page
from rotator.settings.load import load_policy
from rotator.wiring.installation import Installation
from rotator.wiring.origin import Origin
from rotator.wiring.sealing import find_trust, make_signer
from tests.simulation.crashing import Life
from tests.simulation.world import ACCOUNTS, LIFETIME, VAULT, Spot
from tests.soak.years import BOUNDED, DAY, SoakWorld, Years

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
_SPOTS = {
    "ci-build": Spot(),
    "docs-site": Spot(organization="fabrikam"),
    "npm-feed": Spot(ACCOUNTS[1].name),
    "release-notes": Spot(ACCOUNTS[1].name, "fabrikam"),
}


def _make_policy(overlap: str) -> dict[str, object]:
    return {
        "version": 1,
        "defaults": {
            "rotate_before": "33%",
            "overlap": overlap,
            "vault": VAULT,
            "secret_name": "{organization}-{name}",
        },
        "rules": [{"name": "all"}],
        "guardrails": {"max_lifetime": "90d"},
    }


_SETTINGS: dict[str, object] = {
    "database": "sqlite:///not-used.db",
    "policy": "policy.yaml",
    "accounts": [
        {
            "name": account.name,
            "tenant": "11111111-1111-1111-1111-111111111111",
            "client_id": "22222222-2222-2222-2222-222222222222",
            "username": account.username,
            "organizations": list(account.organizations),
        }
        for account in ACCOUNTS
    ],
    "token_cache": {"path": "token-cache.bin", "key": {"env": "ROTATOR_TOKEN_CACHE_KEY"}},
    "audit": {"signing_key": {"file": "audit-signing.key"}, "anchors": [{"file": "anchors.txt"}]},
}


class KeptWorld(SoakWorld):
    """Four ManagedPats, which a person adopts; what runs do is signed, and anchored in a file."""

    def __init__(self, randomness: random.Random, folder: Path) -> None:
        self._folder, self.to_adopt = folder, list[ManagedPat]()
        self._key = make_signing_key()
        signer, anchors = Ed25519Signer(self._key), AnchorFile(folder / "anchors.txt")
        self._signer, self._anchors = signer, anchors
        self.public_key = decode_public_key(signer.public_key).hex()
        super().__init__(randomness, tuple(_SPOTS), tuple(_SPOTS.values()), NEW_YEAR)
        self.trust = Trust((signer.public_key,), is_signed)
        self.write_policy(_make_policy("2h"))

    def write_policy(self, policy: dict[str, object]) -> None:
        """Write the policy file, by which every later run works."""
        path = self._folder / "policy.yaml"
        path.write_text(yaml.safe_dump(policy, sort_keys=False), encoding="utf-8")
        self.set_policy(load_policy(path))

    def write_settings(self) -> Path:
        """Write the settings file and the key that it names; return the path."""
        key, path = self._folder / "audit-signing.key", self._folder / "rotator.yaml"
        key.write_text(self._key.reveal(), encoding="utf-8")
        key.chmod(0o600)
        path.write_text(yaml.safe_dump(_SETTINGS, sort_keys=False), encoding="utf-8")
        return path

    def make_run(self, life: Life, *, is_person: bool = False) -> RunContext:
        """See `World`."""
        run = super().make_run(life, is_person=is_person)
        services = replace(run.services, signer=self._signer, trust=self.trust, anchor_places=(self._anchors,))
        return replace(run, actor="rotator@build-1", services=services)

    def command(self, words: str, reason: str, act: Callable[[RunContext], object]) -> None:
        """Let a person give a command."""
        run = self.make_run(Life(), is_person=True)
        command = {"command": f'rotator {words} --reason "{reason}"'}
        try:
            act(replace(run, actor="anna@build-1", reason=reason, command=command))
        finally:
            self.note_adopted()

    def _manage(self, record: ManagedPat) -> None:
        self.to_adopt.append(record)


@dataclass
class _Plan:
    """What a person does on a day, or later, if it fails then."""

    day: int
    act: Callable[[], object]


class KeptYears(Years):
    """Years in which people adopt, create, pause, rotate, and change the policy."""

    world: KeptWorld
    bounded: Mapping[str, int] = {**BOUNDED, "untracked": 2 * len(_SPOTS), "conditions": 4 * len(_SPOTS)}

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, partial(KeptWorld, folder=folder))
        self._plans = list(self._list_plans())

    def _begin_day(self) -> None:
        super()._begin_day()
        for plan in [plan for plan in self._plans if self._now >= plan.day * DAY]:
            try:
                plan.act()
            except RotatorError:
                continue
            self._plans.remove(plan)

    def _list_plans(self) -> Iterator[_Plan]:
        world = self.world
        for record in world.to_adopt:
            words = f"inventory adopt {record.authorization_id} --as {record.name} --replace-foreign"
            yield _Plan(0, partial(world.command, words, "the first ones", partial(_adopt, record=record)))
        order = make_order("deploy", ACCOUNTS[0].name, "contoso", ("vso.build",), LIFETIME)
        yield _Plan(20, partial(self._create, order))
        yield _Plan(70, partial(world.write_policy, _make_policy("4h")))
        rotate = partial(rotate_by_hand, names=["npm-feed"])
        yield _Plan(120, partial(world.command, "rotate npm-feed", "a laptop was lost", rotate))
        for day, act, reason in ((180, pause, "the site moves"), (181, resume, "the site has moved")):
            words = f"inventory {act.__name__} docs-site"
            yield _Plan(day, partial(world.command, words, reason, partial(act, name="docs-site")))
        valid_to = NEW_YEAR + 450 * DAY
        yield _Plan(300, partial(world.add_human, Spot(), "marias laptop", "vso.code", valid_to))

    def _create(self, order: Order) -> None:
        self.world.spots["deploy"] = Spot()
        self.world.command("create deploy", "the new pipeline", partial(create, order=order))


def _adopt(run: RunContext, record: ManagedPat) -> None:
    plan = propose(
        run,
        [record.authorization_id],
        everything=False,
        choice=Choice(record.name, record.secret_name, replace_foreign=True),
    )
    adopt(run, plan)
    if plan.errors or not (plan.proposals or plan.managed):
        raise plan.errors[0] if plan.errors else RotatorError("it was not listed")


@contextmanager
def open_kept(seed: int) -> Iterator[KeptYears]:
    """Years to be lived and then kept; their settings are in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="rotator-year-") as name:
        yield KeptYears(seed, Path(name))


def keep(years: KeptYears, target: Path) -> Iterator[str]:
    """Write `report.html` and `evidence.zip` of the year 2027 into a folder; yield what there is to say of it."""
    world = years.world
    target.mkdir(parents=True, exist_ok=True)
    page_path, archive_path = target / "report.html", target / "evidence.zip"
    began = time.process_time()
    with KeptInstallation(world.write_settings(), world) as installation:
        now = world.clock.now() + timedelta(microseconds=999_999)
        trust, problem = find_trust(installation)
        review = review_period(
            installation, read_period("2027"), now.replace(microsecond=0), trust, problem, anchors=True
        )
        document = make_review_document(review, str(page_path), str(archive_path))
        page = render_page(document)
        page_path.write_text(page, encoding="utf-8")
        reviewed = time.process_time()
        with archive_path.open("wb") as stream:
            contents = gather_contents(installation, review, document, page, trust)
            write_archive(stream, contents, make_signer(installation))
    done = time.process_time()
    yield f"report: {page_path.stat().st_size} bytes, {reviewed - began:.1f} s of processor time"
    yield f"archive: {archive_path.stat().st_size} bytes, {done - reviewed:.1f} s of processor time"
    yield f"{document['log']['in_period']} events; public key {world.public_key}"


class KeptInstallation(Installation):
    """The installation that the kept years are of: its database, clock and runs are theirs."""

    def __init__(self, settings: Path, world: KeptWorld) -> None:
        super().__init__(Origin(settings, {}, settings.parent))
        self._world = world
        self.__dict__.update(database=world.database, clock=world.clock)

    def make_run(self, reason: str | None = None) -> RunContext:
        """See `Installation`."""
        return self._world.make_run(Life())
