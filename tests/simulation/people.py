"""What people do in a history: beside rotator, and with every command of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.marker import strip_mark
from rotator.domain.rotation import RotationState
from rotator.engine.adopting import adopt, propose
from rotator.engine.choices import Choice
from rotator.engine.context import RunContext
from rotator.engine.creating import create, make_order
from rotator.engine.keeping import forget, pause, rename, resume, revoke_current, revoke_previous
from rotator.engine.left_behind import load_left_behind, revoke_left_behind
from rotator.engine.looking import look
from rotator.engine.pausing import pause_all, resume_all
from rotator.engine.rebuilding import rebuild
from rotator.engine.recovery import recover_all
from rotator.engine.run import rotate_by_hand
from rotator.engine.updating import Change, make_change, update
from rotator.errors import RotatorError
from rotator.ports.secret_store import SecretLocation
from tests.simulation.crashing import Crash, Life
from tests.simulation.history import History
from tests.simulation.world import ACCOUNT, LIKE_A_MARK, VAULT, Spot, World
from tests.support.fake_pat_service import FakePat

Act = Callable[[], object]
NEW_NAMES = ("deploy", "release")
"""What a person may have created."""


class People:
    """The people around one installation. What they do is drawn from the world's seed.

    In some histories they have tools that work on secrets together with their tags, which the world's own seed draws.
    """

    def __init__(self, world: World, history: History) -> None:
        self._world, self._history = world, history

    def pick(self) -> Act:
        """Draw something that a person does: beside rotator, or one of its commands, which may be killed anywhere."""
        whims, tools = self._world.whims, self._world.tools
        if whims is not None and whims.random() < 0.3:
            name = whims.choice(sorted(self._world.spots))
            return whims.choice((partial(self.edit, name), partial(self._command, self._adopt_named)))
        if tools is not None and tools.random() < 0.5:
            act = tools.choice((self.take_tags_off, self.roll_back, self.roll_back))
            return partial(act, tools.choice(sorted(self._world.spots)))
        randomness = self._world.random
        name = randomness.choice(sorted(self._world.spots))
        if randomness.random() < 0.5:
            beside = (
                self.make_lookalike,
                self.revoke,
                self.write_secret,
                self.write_something_else,
                self.change_policy,
                self.make_twins,
            )
            return partial(randomness.choice((self.make_lookalike, self.make_lookalike, *beside)), name)
        command = self.pick_command()
        latest = randomness.choice((4_000, 12_000))
        return partial(command, at=randomness.randint(1, latest) if randomness.random() < 0.3 else None)

    def pick_command(self) -> Callable[..., object]:
        """Draw one of rotator's commands; where runs keep to a calendar, every third pauses or resumes everything."""
        world = self._world
        if world.calendar is not None and world.calendar.chance.random() < 1 / 3:
            return partial(self._command, world.calendar.chance.choice((self._pause_all, self._pause_all, resume_all)))
        name = world.random.choice(sorted(world.spots))
        acts: tuple[Callable[[RunContext], object], ...] = (
            self._adopt_all,
            self._adopt_all,
            self._adopt_one,
            self._adopt_listed,
            self._create,
            self._create,
            partial(self._update, name),
            partial(self._move, name),
            partial(self._pause, name),
            partial(self._resume, name),
            partial(self._rotate, name),
            partial(self._revoke_current, name),
            partial(self._revoke_previous, name),
            partial(self._forget, name),
            self._rename,
            self._rebuild,
            recover_all,
            self._revoke_left_behind,
            self._log_out,
        )
        return partial(self._command, world.random.choice(acts))

    # Beside rotator.

    def make_lookalike(self, name: str) -> None:
        """Somebody makes a PAT that looks like ours."""
        self._make(name, self._world.random.randint(1, 12))

    def _make(self, name: str, days: int) -> FakePat:
        world, seconds = self._world, self._world.random.randint(0, 600)
        end = world.clock.now() + world.span(days) + timedelta(seconds=seconds)
        shown = world.random.choice((name, name, f"{name}{LIKE_A_MARK}"))
        return world.add_human(world.spots[name], shown, "vso.code", end.replace(microsecond=0))

    def revoke(self, name: str) -> None:
        """Somebody revokes some of our PATs of that name in the portal."""
        world = self._world
        for fake in world.pats.live_pats():
            is_ours = fake.pat.authorization_id not in world.human_ids
            if strip_mark(fake.pat.display_name) == name and is_ours and world.random.random() < 0.5:
                world.oracle.note_revoked(fake.pat.authorization_id)
                fake.revoked = True
        world.oracle.look()

    def edit(self, name: str) -> None:
        """Somebody gives a PAT of that name another name, other scopes or more time, in the portal."""
        world, whims = self._world, self._world.whims
        live = [fake for fake in world.pats.live_pats() if fake.pat.display_name.startswith(name)]
        if whims is None or not live:
            return
        fake = whims.choice(live)
        world.edited.add(fake.pat.authorization_id)
        edits = [replace(fake.pat, display_name=f"{name} renamed"), replace(fake.pat, scope="vso.build vso.code")]
        if world.calendar is None:  # the hours are reckoned by the end that a run knew
            edits.append(replace(fake.pat, valid_to=fake.pat.valid_to + timedelta(days=whims.choice((1, 3)))))
        fake.pat = whims.choice(edits)
        world.oracle.look()

    def write_secret(self, name: str) -> None:
        """Somebody writes a PAT of their own into the secret."""
        world = self._world
        fake = world.add_human(world.spots[name], "by-hand", "vso.code", world.clock.now() + world.lifetime)
        world.secrets.write_foreign(world.location(name), fake.value)
        world.written.add(world.location(name).name)
        world.oracle.look()

    def take_tags_off(self, name: str) -> None:
        """Somebody's tool sets its own tags on the newest version, and ours are gone."""
        world, location = self._world, self._world.location(name)
        if world.secrets.versions_of(location):
            world.secrets.replace_tags(location, {"env": "prod"})
            world.oracle.note_untagged((location.vault, location.name))
            self._note_tool(location)

    def roll_back(self, name: str) -> None:
        """Somebody's tool writes an older value, whose PAT still lives, with the tags of the newest version."""
        world, location = self._world, self._world.location(name)
        newest, *older = world.secrets.versions_of(location) or (None,)
        living = set(world.show_live())
        alive = [found for found in older if world.show_owner(found.value.reveal()) in living]
        if newest is not None and alive:
            owner = world.show_owner(alive[0].value.reveal()) or ""
            world.secrets.write_foreign(location, alive[0].value.reveal(), dict(newest.version.tags))
            self._note_tool(location)
            # Whoever reads it may still hold it when a late write of ours has put the newer value back.
            world.oracle.note_ended_early(owner)
            if self._is_being_revoked(owner):
                world.oracle.note_doomed((location.vault, location.name), owner)

    def _is_being_revoked(self, authorization_id: str) -> bool:
        """Whether its revocation was requested already, and may take effect late."""
        with self._world.database.read() as reading:
            is_pending = bool(reading.revocations.load_by_ids([authorization_id]))
        retiring = [r for r in self._world.load_rotations() if r.state is RotationState.RETIRING]
        is_retiring = authorization_id in {rotation.predecessor_id for rotation in retiring}
        return is_pending or is_retiring or authorization_id in self._world.named

    def _note_tool(self, location: SecretLocation) -> None:
        self._world.written.add(location.name)
        self._world.oracle.note_neglected((location.vault, location.name))
        self._world.oracle.look()

    def write_something_else(self, name: str) -> None:
        """Somebody keeps what is no PAT where the value of a PAT would go that is adopted later."""
        world = self._world
        secrets = ("contoso-prod-deploy", "contoso-by-hand", f"contoso-{name}-contoso", "listed-00000001")
        place = SecretLocation(VAULT, world.random.choice(secrets), ACCOUNT)
        value = f"Server=tcp:db{len(world.something_else)};Password=of-nobody-here"
        world.something_else.add(world.secrets.write_foreign(place, value, {"owner": "another team"}))
        world.written.add(place.name)
        world.oracle.look()

    def make_twins(self, name: str) -> None:
        """Somebody has two PATs of one display name, both due, and gave consumers the value of one."""
        world, now = self._world, self._world.clock.now()
        start, end, spot = now - world.span(8), now + world.span(2), world.spots[name]
        twins = [world.add_human(spot, f"{name}-hook", "vso.code", end, valid_from=start) for _ in range(2)]
        place = SecretLocation(VAULT, f"{spot.organization}-{name}-hook", spot.account)
        if not world.secrets.versions_of(place):
            world.secrets.write_foreign(place, world.random.choice(twins).value)
            world.oracle.look()
            world.oracle.note_consumers_of((place.vault, place.name))
        if world.random.random() < 0.5:
            self.adopt_all()

    def change_policy(self, name: str) -> None:
        """Somebody edits policy.yaml: another overlap, another lifetime, older versions disabled or not."""
        world, randomness = self._world, self._world.random
        world.change_rule(
            overlap=randomness.choice(world.overlaps),
            disable_previous=randomness.random() < 0.5,
            lifetime=randomness.choice((None, world.span(9), world.span(14))),
        )

    def sign_in(self) -> None:
        """Whoever had to sign in again has done so."""
        self._world.pats.signed_out.clear()

    # With rotator.

    def adopt_all(self) -> None:
        """`rotator inventory adopt --all`."""
        self._command(self._adopt_all)

    def adopt_as(self, authorization_id: str, choice: Choice) -> None:
        """`rotator inventory adopt ID --as NAME --secret NAME`."""
        self._command(lambda run: self._adopt(run, [authorization_id], choice))

    def confirm(self, reference: str) -> None:
        """`rotator inventory adopt ID --replace-foreign` for what is managed already."""
        self._command(partial(self._confirm, reference))

    def create(self, name: str, at: int | None) -> Life:
        """`rotator create NAME`, killed before its bytecode `at`."""
        self._world.spots[name] = spot = Spot()
        order = make_order(name, spot.account, spot.organization, ("vso.code",), self._world.lifetime)
        return self._command(lambda run: create(run, order), at)

    def update(self, name: str, at: int | None) -> Life:
        """`rotator update NAME` to all that can be wanted, killed before its bytecode `at`."""
        change = make_change(
            name, display_name=f"{name}-2", scopes=("vso.code", "vso.build"), lifetime=self._world.span(9)
        )
        return self._command(lambda run: update(run, change), at)

    def rotate(self, name: str) -> None:
        """`rotator rotate NAME`."""
        self._command(partial(self._rotate, name))

    def start_over(self, name: str) -> None:
        """What a rebuild asks for when nothing of it lives: forget it, make a PAT, write it to the secret, adopt it."""
        world = self._world
        self._command(partial(self._forget, name))
        world.secrets.write_foreign(world.location(name), self._make(name, 10).value)
        world.written.add(world.location(name).name)
        world.oracle.look()
        self._command(partial(self._adopt_back, name))

    def forget(self, name: str) -> None:
        """`rotator inventory forget NAME`."""
        self._command(partial(self._forget, name))

    def resume(self, name: str) -> None:
        """`rotator inventory resume NAME`."""
        self._command(partial(self._resume, name))

    def pause_all(self) -> None:
        """`rotator inventory pause --all`."""
        self._command(self._pause_all)

    def resume_all(self) -> None:
        """`rotator inventory resume --all`."""
        self._command(resume_all)

    def rebuild(self) -> None:
        """`rotator inventory rebuild`."""
        self._command(self._rebuild)

    def _command(self, act: Callable[[RunContext], object], at: int | None = None) -> Life:
        """One command in a process of its own, killed before its bytecode `at`."""
        life = Life(at)
        run = self._world.make_run(life, is_person=True)
        self._history.commands += 1
        try:
            with life.lived():
                act(run)
        except Crash:
            self._history.crashes += 1
        except RotatorError as error:
            self._history.notes.append(error.code)
        self._history.adoptions += self._world.note_adopted()
        return life

    def _adopt_all(self, run: RunContext) -> None:
        self._adopt(run, [], None)

    def _adopt_one(self, run: RunContext) -> None:
        """Name any PAT by its id, managed or not."""
        chosen = self._world.random.choice(sorted(self._world.show_live()))
        self._adopt(run, [chosen], Choice(replace_foreign=self._world.random.random() < 0.5))

    def _adopt_named(self, run: RunContext) -> None:
        """Name any PAT by its display name: that chooses its secret no more than `--all` does."""
        assert self._world.whims is not None
        names = sorted({fake.pat.display_name for fake in self._world.pats.live_pats()})
        self._adopt(run, [self._world.whims.choice(names)], None, is_chosen=False)

    def _adopt_listed(self, run: RunContext) -> None:
        """`inventory adopt --from FILE` with up to three PATs, whoever has them, each with a name of its own."""
        live = sorted(self._world.show_live())
        chosen = self._world.random.sample(live, min(len(live), 3))
        choices = {
            found: Choice(f"listed-{found[:8]}", f"listed-{found[:8]}", self._world.random.random() < 0.5)
            for found in chosen
        }
        self._adopt(run, chosen, None, choices)

    def _confirm(self, reference: str, run: RunContext) -> None:
        """By the PAT's id, or by the one that is recorded under a name: others may have the same display name."""
        record = self._load(reference)
        named = record.authorization_id if record is not None else reference
        self._adopt(run, [named], Choice(replace_foreign=True))

    def _adopt(
        self,
        run: RunContext,
        references: list[str],
        choice: Choice | None,
        choices: dict[str, Choice] | None = None,
        *,
        is_chosen: bool = True,
    ) -> None:
        """Adopt; what the person was shown, and did not object to, may be written over from now on."""
        plan = propose(run, references, everything=not references, choice=choice, choices=choices)
        shown = [*(item.record for item in plan.proposals), *(item.record for item in plan.confirmations)]
        newest = (self._world.find_newest(SecretLocation.of(record)) for record in shown)
        self._world.seen |= {version for version in newest if version is not None}
        for record in shown if references and is_chosen else ():
            self._world.oracle.note_chosen((record.vault, record.secret_name))
        try:
            adopt(run, plan)
        finally:
            self._note_moved(
                {item.record.authorization_id for item in plan.proposals} if references and is_chosen else set()
            )

    def _note_moved(self, named: set[str]) -> None:
        """Of these PATs, whose adoption may have died, those that are managed now have the secret that was chosen."""
        with self._world.database.read() as reading:
            records = reading.inventory.load_all()
        places = [(pat.vault, pat.secret_name) for pat in records]
        for found in named & {pat.authorization_id for pat in records}:
            self._world.oracle.note_moved(found, places)

    def _adopt_back(self, name: str, run: RunContext) -> None:
        """Adopt the PAT whose value the secret holds, under its old name."""
        location = self._world.location(name)
        found = self._world.show_owner(self._world.secrets.versions_of(location)[0].value.reveal())
        assert found is not None
        self._adopt(run, [found], Choice(name, location.name))

    def _create(self, run: RunContext) -> None:
        randomness = self._world.random
        name = randomness.choice(NEW_NAMES)
        account = randomness.choice(run.services.accounts)
        spot = self._world.spots.setdefault(name, Spot(account.name, randomness.choice(account.organizations)))
        create(run, make_order(name, spot.account, spot.organization, ("vso.code",), self._world.lifetime))
        self._history.creations += 1

    def _update(self, name: str, run: RunContext) -> None:
        randomness = self._world.random
        display_name = randomness.choice((None, name, f"{name}-2"))
        scopes = randomness.choice(((), ("vso.code",), ("vso.code", "vso.build")))
        lifetime = randomness.choice((self._world.lifetime, self._world.span(9), self._world.span(14)))
        update(run, make_change(name, display_name=display_name, scopes=scopes, lifetime=lifetime))
        self._history.updates += 1

    def _move(self, name: str, run: RunContext) -> None:
        account = self._world.random.choice(run.services.accounts)
        update(run, Change(name, account=account.name))
        self._history.updates += 1

    def _pause(self, name: str, run: RunContext) -> None:
        self._world.oracle.note_neglected(self._place(name))
        pause(run, name)

    def _pause_all(self, run: RunContext) -> None:
        """Whatever expires meanwhile expires because of it."""
        for place in self._world.show_places():
            self._world.oracle.note_neglected(place)
        pause_all(run)
        self._history.pauses += 1

    def _resume(self, name: str, run: RunContext) -> None:
        resume(run, name)

    def _rotate(self, name: str, run: RunContext) -> None:
        rotate_by_hand(run, [name])

    def _revoke_current(self, name: str, run: RunContext) -> None:
        """The PAT that is recorded now may die."""
        record = self._load(name)
        if record is not None:
            self._world.condemned.add(record.authorization_id)
        try:
            revoke_current(run, name)
        finally:
            self._world.condemned.clear()

    def _revoke_previous(self, name: str, run: RunContext) -> None:
        """The old PAT may die although consumers hold it; what they read now may not."""
        with self._world.database.read() as reading:
            for rotation in reading.journal.load_for(name)[:1]:
                self._world.oracle.note_ended_early(rotation.predecessor_id)
                if rotation.keeps_predecessor:
                    self._world.condemned.add(rotation.predecessor_id)
        try:
            revoke_previous(run, name)
        finally:
            self._world.condemned.clear()

    def _forget(self, name: str, run: RunContext) -> None:
        self._world.oracle.note_neglected(self._place(name))
        before = self._load(name)
        try:
            forget(run, name)
        finally:
            if before is not None and before.has_pat and self._load(name) is None:
                self._world.oracle.note_forgotten(before.authorization_id)

    def _rename(self, run: RunContext) -> None:
        """Give any record another name, or its old one back."""
        with self._world.database.read() as reading:
            names = [pat.name for pat in reading.inventory.load_all()]
        if names:
            name = self._world.random.choice(names)
            rename(run, name, name.removesuffix("-new") if name.endswith("-new") else f"{name}-new")

    def _rebuild(self, run: RunContext) -> None:
        rebuild(run, look(run))
        self._history.rebuilds += 1

    def _revoke_left_behind(self, run: RunContext) -> None:
        """Have one of those revoked that `rotator recover` shows, perhaps a person's own."""
        with self._world.database.read() as reading:
            left = load_left_behind(reading, self._world.clock.now())
        if left:
            doomed = left[0].pat.authorization_id
            self._world.condemned.add(doomed)
            try:
                revoke_left_behind(run, doomed)
            finally:
                self._world.condemned.clear()

    def _log_out(self, run: RunContext) -> None:
        self._world.pats.signed_out.add(self._world.random.choice(run.services.accounts).name)

    def _load(self, name: str) -> ManagedPat | None:
        with self._world.database.read() as reading:
            return reading.inventory.load(name)

    def _place(self, name: str) -> tuple[str, str]:
        location = self._world.location(name)
        return location.vault, location.name
