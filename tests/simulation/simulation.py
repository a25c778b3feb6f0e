"""One simulated history from a seed, and what must hold when it has come to rest."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.marker import strip_mark
from rotator.domain.secret_value import SecretValue
from rotator.engine.adopting import adopt, propose
from rotator.engine.left_behind import find_left_behind
from rotator.engine.rebuilding import look, rebuild
from rotator.engine.records import load_known
from rotator.engine.run import run_once
from rotator.errors import RotatorError, TransientError, VerificationError
from rotator.ports.pat_service import PatFilter
from rotator.ports.secret_store import SecretLocation
from tests.simulation.crashing import Crash, Life
from tests.simulation.world import ACCOUNT, LIFETIME, ORGANIZATION, InvariantError, World

MOST_CYCLES = 40
_FAULTY = ("fetch_pats", "fetch_pat", "fetch_identity", "verify", "mint", "revoke")
_FAULTY_VAULT = ("prove_writable", "fetch_latest", "fetch_version", "fetch_versions", "store", "disable")


@dataclass
class History:
    """What one run went through."""

    seed: int
    crashes: int = 0
    faults: int = 0
    thaws: int = 0
    stops: int = 0
    adoptions: int = 0
    outages: int = 0
    restores: int = 0
    rebuilds: int = 0
    database_faults: int = 0
    notes: list[str] = field(default_factory=list)
    breaks: int = 0


def simulate(seed: int) -> History:
    """Live through one random history; InvariantError when the promise is broken."""
    randomness = random.Random(seed)
    world, history = World(randomness), History(seed)
    world.marker_key = SecretValue("a key") if randomness.random() < 0.2 else None
    restores = randomness.random() < 0.15
    backups = [world.database.back_up()]
    if randomness.random() < 0.1:
        _live_through_outage(world, history)
    for _ in range(randomness.randint(1, 3)):
        _stir(world, history)
        if randomness.random() < 0.25:
            _run_two(world, history)
        else:
            point = _pick_point(randomness)
            if restores:
                run_process(world, history, point, lambda: backups.append(world.database.back_up()))
            elif point is not None and randomness.random() < 0.25:
                run_process(world, history, point, world.set_stop)
            elif point is not None and randomness.random() < 0.3:
                run_process(world, history, point, _make_adopter(world, history))
            else:
                run_process(world, history, point)
        world.clock.advance(timedelta(minutes=randomness.choice((0, 1, 6, 20, 130))))
    if restores:
        world.restored = True
        history.restores += 1
        randomness.choice(backups)()
    settle(world, history)
    return history


def run_process(world: World, history: History, at: int | None, action: Callable[[], None] | None = None) -> int:
    """One `rotator once`, killed before the bytecode `at` (or `action` done there); how many it executed."""
    life = Life(at, action)
    run = world.make_run(life)
    try:
        with life.lived():
            report = run_once(run)
        history.stops += report.is_stopped
    except Crash:
        history.crashes += 1
    except RotatorError as error:
        history.notes.append(error.code)
    return life.executed


def settle(world: World, history: History) -> None:
    """Let everything late take effect, run undisturbed until nothing changes any more, and check what must hold then.

    What took effect after the database that knew of it was replaced looks like another installation's work: rotator
    freezes, and says that a person should rebuild. That person does, and the next run heals the vault.
    """
    _clear_faults(world)
    history.database_faults = world.database_faults
    world.pats.apply_late()
    world.secrets.apply_late()
    _run_until_at_rest(world, history)
    if world.restored and world.find_unserved():
        run = world.make_run(Life())
        rebuild(run, look(run))
        history.rebuilds += 1
        _run_until_at_rest(world, history)
    history.breaks = len(world.breaks)
    if world.breaks and world.is_calm:
        raise InvariantError(f"I1: {world.breaks[0]}, and nothing took effect late")
    check_rest(world)


def _run_until_at_rest(world: World, history: History) -> None:
    """Runs an hour apart, and one more at the end."""
    for _ in range(MOST_CYCLES):
        run_process(world, history, None)
        world.clock.advance(timedelta(hours=1))
        if _is_at_rest(world):
            break
    else:
        raise InvariantError(
            f"not at rest after {MOST_CYCLES} cycles: {[r.state.value for r in world.load_rotations()]}"
        )
    run_process(world, history, None)


def check_rest(world: World) -> None:
    """I1, I2, I3, I6, I8 at rest; after an old database was restored only that consumers are served."""
    world.check_database()
    if world.restored:
        if world.find_unserved():
            raise InvariantError(f"I1: consumers of {world.find_unserved()} read a dead PAT, the database was restored")
        return
    with world.database.begin() as work:
        records = {pat.name: pat for pat in work.inventory.load_all()}
    for name in world.names:
        record = records[name]
        if record.blocked and name in world.meddled:
            continue
        latest = world.secrets.versions_of(world.location(name))[0]
        if not world.is_live(latest.value):
            raise InvariantError(f"I1: consumers of {name} read a dead PAT at rest")
        is_ours = world.pats.pats[record.authorization_id].value == latest.value.reveal()
        if not is_ours and name not in world.meddled:
            raise InvariantError(f"I2: the inventory's PAT of {name} is not the one in the vault")
        _check_orphans(world, name, {pat.authorization_id for pat in records.values()})
    for name in world.adopted & set(records):
        _check_adopted(world, records[name])


def _check_adopted(world: World, record: ManagedPat) -> None:
    """I1 and I2 of what a person has adopted: its PAT lives, and what was written for its consumers is that PAT."""
    if record.blocked or world.meddled:
        return
    current = world.pats.pats[record.authorization_id]
    if current not in world.pats.live_pats():
        raise InvariantError(f"I1: the PAT of {record.name}, which a person adopted, is dead at rest")
    versions = world.secrets.versions_of(SecretLocation.of(record))
    if record.secret_version is not None and versions[0].value.reveal() != current.value:
        raise InvariantError(f"I2: the inventory's PAT of {record.name} is not the one in the vault")


def _check_orphans(world: World, name: str, in_use: set[str]) -> None:
    """I2: whatever of ours lives beside the current PAT is reported as left behind."""
    run = world.make_run(Life())
    listed = world.pats.fetch_pats(ACCOUNT, ORGANIZATION, PatFilter.ACTIVE)
    reported = {
        item.pat.authorization_id for item in find_left_behind(load_known(run).keepers, ACCOUNT, ORGANIZATION, listed)
    }
    for fake in world.pats.live_pats():
        mine = strip_mark(fake.pat.display_name) == name
        if mine and fake.pat.authorization_id not in world.human_ids | reported | in_use:
            raise InvariantError(f"I2: {fake.pat.authorization_id} of {name} lives, and nobody uses or reports it")


def _is_at_rest(world: World) -> bool:
    with world.database.begin() as work:
        if work.journal.load_open():
            return False
        now = world.clock.now()
        return all(
            pat.blocked
            or world.restored
            or pat.name in world.adopted
            or (pat.last_failure is None and pat.valid_to - now > timedelta(days=4))
            for pat in work.inventory.load_all()
        )


def _pick_point(randomness: random.Random) -> int | None:
    if randomness.random() < 0.2:
        return None
    return randomness.randint(1, randomness.choice((4_000, 9_000, 16_000)))


def _stir(world: World, history: History) -> None:
    """Faults of the services, and what people do meanwhile."""
    randomness = world.random
    for _ in range(randomness.choice((0, 0, 1, 1, 2, 3))):
        history.faults += 1
        _pick_fault(world)()
    if randomness.random() < 0.3:
        _pick_human(world, history)()
    if randomness.random() < 0.15:
        world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=randomness.choice((7, 9)))


def _live_through_outage(world: World, history: History) -> None:
    """Something fails in every run for most of the day that the PATs have left; then there are hours to rotate them.

    I1 is checked at the next mint: consumers must not have been left with an expired PAT until then.
    """
    randomness = world.random
    vault = _make_transient("key_vault", "prove_writable")
    refused = VerificationError("the probe was refused", code="verification_failed")
    choice = randomness.choice(("vault", "list", "probe", "die"))
    history.outages += 1
    for _ in range(randomness.randint(8, 20)):
        if choice == "vault":
            world.secrets.fail("prove_writable", vault, times=30)
        elif choice == "list":
            world.pats.fail("fetch_pats", _make_transient("azure_devops", "fetch_pats"), times=30)
        elif choice == "probe":
            world.pats.fail("verify", refused, times=300)
        run_process(world, history, randomness.randint(3_000, 9_000) if choice == "die" else None)
        world.pats._planned.clear()
        world.secrets._planned.clear()
        world.clock.advance(timedelta(hours=1))


def _pick_fault(world: World) -> Callable[[], None]:
    randomness = world.random
    after, skip = randomness.random() < 0.5, randomness.choice((0, 0, 0, 1, 2))

    def fail_pats() -> None:
        operation = randomness.choice(_FAULTY)
        if operation in ("mint", "revoke") and randomness.random() < 0.7:
            world.pats.fail(operation, after_effect=after, skip=skip)
        else:
            world.pats.fail(operation, _make_transient("azure_devops", operation), skip=skip)

    def fail_vault() -> None:
        operation = randomness.choice(_FAULTY_VAULT)
        if operation == "store" and randomness.random() < 0.7:
            world.secrets.fail(operation, after_effect=after, skip=skip, times=randomness.choice((1, 1, 30)))
        else:
            world.secrets.fail(operation, _make_transient("key_vault", operation), skip=skip)

    def postpone_store() -> None:
        world.is_calm = False
        world.secrets.postpone_store()

    def lose_store() -> None:
        postpone_store()
        world.secrets.fail("store", skip=1, times=30)

    def swap_answer() -> None:
        others = (None, randomness.choice(sorted(world.pats.pats)))
        world.pats.swap_mint_answer(randomness.choice(others), effect=after)

    return randomness.choice((fail_pats, fail_vault, world.pats.postpone_mint, postpone_store, lose_store, swap_answer))


def _pick_human(world: World, history: History) -> Callable[[], None]:
    randomness = world.random
    name = randomness.choice(world.names)

    def make_lookalike() -> None:
        end = world.clock.now() + timedelta(days=randomness.randint(1, 12), seconds=randomness.randint(0, 600))
        fake = world.pats.add_pat(ACCOUNT, ORGANIZATION, name, "vso.code", end.replace(microsecond=0))
        world.human_ids.add(fake.pat.authorization_id)

    def apply_late() -> None:
        world.pats.apply_late()
        world.secrets.apply_late()

    def revoke() -> None:
        for fake in world.pats.live_pats():
            if strip_mark(fake.pat.display_name) != name:
                continue
            if fake.pat.authorization_id not in world.human_ids and randomness.random() < 0.5:
                fake.revoked = True
                world.meddled.add(name)
                world.is_calm = False

    def write_secret() -> None:
        fake = world.pats.add_pat(ACCOUNT, ORGANIZATION, "by-hand", "vso.code", world.clock.now() + LIFETIME)
        world.human_ids.add(fake.pat.authorization_id)
        world.secrets.write_foreign(world.location(name), fake.value)
        world.meddled.add(name)

    def adopt_all() -> None:
        adopt_everything(world, history)

    lookalikes = (make_lookalike, make_lookalike, make_lookalike)
    return randomness.choice((*lookalikes, apply_late, revoke, write_secret, adopt_all, adopt_all))


def _make_transient(service: str, operation: str) -> TransientError:
    return TransientError("it is too busy", service=service, operation=operation, status=429, retry_after=1.0)


def _make_adopter(world: World, history: History) -> Callable[[], None]:
    """Return what a person does who takes all PATs under management beside a run; the run goes on, or dies then."""
    dies = world.random.random() < 0.3

    def adopt_beside() -> None:
        adopt_everything(world, history)
        if dies:
            history.crashes += 1
            raise Crash

    return adopt_beside


def adopt_everything(world: World, history: History) -> None:
    """One `inventory adopt --all`; what it takes is a person's no longer."""
    run = world.make_run(Life(), is_person=True)
    try:
        adopt(run, propose(run, [], everything=True))
    except RotatorError as error:
        history.notes.append(error.code)
    history.adoptions += world.note_adopted()


def _clear_faults(world: World) -> None:
    world.pats._planned.clear()
    world.pats.change_listed = None
    world.secrets._planned.clear()
    world.is_database_sound = True
    world.pats._postponed_mints = 0
    world.pats._swapped.clear()
    world.secrets._postponed_stores = 0


def _run_two(world: World, history: History) -> None:
    """Writer A freezes before some bytecode, B runs meanwhile, A thaws and goes on."""
    frozen, thaw = threading.Event(), threading.Event()
    world.is_calm = False

    def freeze() -> None:
        frozen.set()
        thaw.wait(60)

    life = Life(_pick_point(world.random), freeze)
    run = world.make_run(life)
    notes: list[str] = []

    def live() -> None:
        try:
            with life.lived():
                run_once(run)
        except RotatorError as error:
            notes.append(error.code)
        except BaseException as error:
            notes.append(repr(error))
        finally:
            frozen.set()

    writer = threading.Thread(target=live)
    writer.start()
    frozen.wait(60)
    history.thaws += 1
    world.clock.advance(timedelta(minutes=world.random.choice((0, 6, 20, 130))))
    run_process(world, history, None)
    world.clock.advance(timedelta(minutes=world.random.choice((0, 6, 20, 130))))
    thaw.set()
    writer.join(60)
    broken = [note for note in notes if "InvariantError" in note]
    if broken or writer.is_alive():
        raise InvariantError(f"writer A: {broken or 'did not end'}")
    history.notes.extend(notes)


def crash_everywhere(part: int, parts: int) -> int:
    """Every single crash point of a rotation, and of the retirement after its overlap, each once; how many.

    `part` of `parts` equal shares, so that several processes can do it.
    """
    points = 0
    for runs_before in (0, 1):
        last = _run_to(runs_before, None)
        for at in range(1 + part, last + 1, parts):
            _run_to(runs_before, at)
            points += 1
    return points


def _run_to(runs_before: int, at: int | None) -> int:
    world, history = World(random.Random(1), names=("ci-build",)), History(1)
    world.is_database_sound = True
    for _ in range(runs_before):
        run_process(world, history, None)
        world.clock.advance(timedelta(hours=3))
    executed = run_process(world, history, at)
    try:
        settle(world, history)
    except InvariantError as error:
        raise InvariantError(f"crash before bytecode {at} of run {runs_before + 1}: {error}") from error
    return executed
