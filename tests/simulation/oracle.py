"""Judges a history by what the world shows. It imports nothing of the product, and knows no journal and no database.

The world shows which PATs live and what each secret holds; it tells who asked for what, and what a person did. At rest
it hands over the JSON of `rotator status`, as a script would read it.

Consumers read the newest version of a secret and may keep its value for as long as the overlap that was in force when
it was replaced. They are asked whenever the world's clock moves or a request takes effect, in every history. A value
that died while it was held is a break of the promise, with these causes as the only excuses:

- a person revoked that PAT (or ended its overlap by hand, which excuses what is held and not what is read);
- a write took effect later than any answer is waited for: then consumers may read a dead PAT until the next
  undisturbed run, and not beyond it (where the secret never held a PAT that lived, there is nothing to put back: it
  stays until the first PAT is made);
- a PAT expired whose rotation a person kept from happening, or (for those that hold it) which a person had managed by a
  rule that replaces it with less than an overlap to go;
- a PAT of three days expired, and no run of its last day, in which it is due, could work on it: each was killed, found
  the database failing, or had a wrong clock;
- a person named a PAT, gave it another secret, and left its consumers with one that no record names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

SETTLE = timedelta(minutes=10)
"""How long after it was sent a request may take effect, as the product promises to wait."""

LAST_DAY = timedelta(days=1)
"""In which a PAT that may live no longer than three days is due."""

Place = tuple[str, str]
"""A vault and the name of a secret in it."""


class ShownWorld(Protocol):
    """What anybody can see from outside."""

    def now(self) -> datetime:
        """The true time."""

    def show_places(self) -> Iterable[Place]:
        """Every secret that there is."""

    def show_newest(self, place: Place) -> tuple[str, str | None] | None:
        """Its newest version and value, None in place of the value when it is disabled; None for no secret."""

    def show_owner(self, value: str) -> str | None:
        """The id of the PAT that has this value."""

    def show_end(self, authorization_id: str) -> datetime:
        """When that PAT expires; long ago when it is revoked."""

    def show_live(self) -> Iterable[str]:
        """The ids of all PATs that live."""


@dataclass(frozen=True)
class _Send:
    """A write that a process asked for: when it decided so, when that process began, how long consumers may cache."""

    decided_at: datetime
    process_began_at: datetime
    span: timedelta


@dataclass
class _Stretch:
    """The time in which one version was what consumers read, and how long some of them hold its value."""

    place: Place
    version: str
    owner: str | None
    begun_at: datetime
    send: _Send | None
    ended_at: datetime | None = None
    held_until: datetime | None = None
    is_excused: bool = False
    is_displaced: bool = False
    is_untagged: bool = False

    @property
    def is_late(self) -> bool:
        """Whether the write took effect when nobody could wait for it any more."""
        return self.send is not None and self.begun_at - self.send.decided_at > SETTLE


class Oracle:
    """`breaks` are broken promises; `passing` are the moments at which a late write let consumers read a dead PAT."""

    def __init__(self, world: ShownWorld) -> None:
        self.breaks: list[str] = []
        self.passing: list[str] = []
        self.overlap = timedelta(0)
        self._world = world
        self._sends: dict[tuple[Place, str], _Send] = {}
        self._stretches: dict[Place, _Stretch] = {}
        self._held: list[_Stretch] = []
        self._persons: set[str] = set()
        self._managed: dict[str, Place] = {}
        self._returned: set[str] = set()
        self._revoked: dict[str, datetime] = {}
        self._requested: dict[str, datetime] = {}
        self._ended_early: set[str] = set()
        self._neglected: set[Place] = set()
        self._short: set[str] = set()
        self._fleeting: set[Place] = set()
        self._untold: set[str] = set()
        self._unowned: set[Place] = set()
        self._kept_apart: set[Place] = set()
        self._served: set[Place] = set()
        self._left: set[tuple[str, Place]] = set()
        self._runs: list[tuple[Place, datetime, bool]] = []

    # What the world tells.

    def note_person_made(self, authorization_id: str) -> None:
        """A person made that PAT; all others come from our mints."""
        self._persons.add(authorization_id)

    def note_managed(self, places: Mapping[str, Place]) -> None:
        """A person took these PATs under management, each with the secret that its record names."""
        self._managed |= places
        self._unowned -= set(places.values())
        self._returned -= places.keys()
        self._left -= set(places.items())

    def note_forgotten(self, authorization_id: str) -> None:
        """A person took that PAT out of the inventory: from now on it is that person's own."""
        if self._world.show_end(authorization_id) > self._world.now():
            self._returned.add(authorization_id)

    def note_edited(self, authorization_ids: Iterable[str]) -> None:
        """People gave these PATs other names, scopes or more time before any run had recognised them."""
        self._untold.update(authorization_ids)

    def note_revoked(self, authorization_id: str) -> None:
        """A person has that PAT revoked now, whoever reads it."""
        self._revoked.setdefault(authorization_id, self._world.now())

    def note_ended_early(self, authorization_id: str) -> None:
        """A person ends the overlap of that old PAT now, whoever still holds it."""
        self._ended_early.add(authorization_id)

    def note_neglected(self, place: Place) -> None:
        """A person keeps the PAT of that secret from being rotated in time."""
        self._neglected.add(place)

    def note_run(self, place: Place, *, is_able: bool) -> None:
        """A run ended that could work on the PAT of that secret, or could not; told only where lives are three days."""
        self._runs.append((place, self._world.now(), is_able))

    def note_short(self, authorization_id: str) -> None:
        """That PAT has not much more than an overlap left, or lives less than two, as no new one may live longer.

        Who still holds its value when it expires is no surprise.
        """
        self._short.add(authorization_id)

    def note_untagged(self, place: Place) -> None:
        """A tool took the tags off what is in that secret: nobody can tell whose write brought it."""
        self.look()
        self._stretches[place].is_untagged = True

    def note_doomed(self, place: Place, authorization_id: str) -> None:
        """A tool wrote that PAT's value there, and who revokes it did so before, or could not see it: it may end."""
        self.look()
        stretch = self._stretches[place]
        stretch.is_excused |= stretch.owner == authorization_id

    def note_fleeting(self, place: Place) -> None:
        """A person put a PAT of so short a life there that the rule replaces it with less than an overlap to go."""
        self._fleeting.add(place)

    def note_consumers_of(self, place: Place) -> None:
        """Whoever reads that secret means the PAT that is in it now, and no other of the same display name."""
        self._kept_apart.add(place)

    def note_lost(self, authorization_ids: Iterable[str], places: Iterable[Place]) -> None:
        """The database that alone knew of these PATs, and knew who has these secrets, was replaced by an older one.

        With it went what the policy said before: consumers are taken to hold values for no longer than it says now.
        """
        self._untold.update(authorization_ids)
        self._unowned.update(places)
        for stretch in self._held:
            if stretch.held_until is not None and stretch.ended_at is not None:
                stretch.held_until = min(stretch.held_until, stretch.ended_at + self.overlap)

    def note_send(self, place: Place, value: str, decided_at: datetime, began_at: datetime, span: timedelta) -> None:
        """A process writes a value; `span` is the overlap of the policy that it was started with."""
        self._sends[place, value] = _Send(decided_at, began_at, span)

    def note_chosen(self, place: Place) -> None:
        """A person chose which PAT belongs into that secret."""
        self._kept_apart.discard(place)

    def note_moved(self, authorization_id: str, managed: Iterable[Place]) -> None:
        """A person named that PAT and gave it another secret: whoever reads it in one of no record must be moved."""
        kept = set(managed)
        for place, stretch in self._stretches.items():
            if stretch.owner == authorization_id and place not in kept:
                self._left.add((authorization_id, place))

    def note_replacement(self, place: Place, predecessor: str, *, is_overruled: bool) -> None:
        """A process writes the clone of that PAT to a secret; `is_overruled`: a person gave up what it holds."""
        read = self._stretches.get(place)
        is_kept = place in self._kept_apart or not is_overruled
        if is_kept and read is not None and read.send is None and read.owner != predecessor:
            self.breaks.append(
                f"I10: consumers of {place[1]} read {read.owner} and are given the clone of {predecessor}"
            )

    def note_revocation(self, authorization_id: str) -> None:
        """The product asks for a revocation: never of a PAT that a person made and did not hand over."""
        if self.is_foreign(authorization_id) and authorization_id not in self._revoked:
            self.breaks.append(f"I3: {authorization_id} is a person's and was to be revoked")

    def note_unanswered(self, authorization_id: str) -> None:
        """The product asked for a revocation that got no answer, and takes effect later."""
        self._requested.setdefault(authorization_id, self._world.now())

    # What is judged.

    def is_foreign(self, authorization_id: str) -> bool:
        """Whether a PAT is a person's: never put under management, or forgotten since."""
        is_own = authorization_id in self._persons and authorization_id not in self._managed
        return is_own or authorization_id in self._returned

    def look(self) -> None:
        """I1: ask every consumer now."""
        now = self._world.now()
        for place in self._world.show_places():
            newest = self._world.show_newest(place)
            if newest is not None:
                self._follow(place, *newest, now)
        kept = []
        for stretch in self._held:
            if stretch.held_until is None or now < stretch.held_until:
                kept.append(stretch)
                self._ask(stretch, now)
        self._held = kept

    def judge_served(self, status: Mapping[str, object], hidden: Collection[str] = ()) -> None:
        """I1: after an undisturbed run what a late write broke is whole again, or a person is told to act.

        `hidden` are PATs that the newest lists lacked: of these nobody can know that they live. Nor can anybody know a
        late write whose tags a tool took off.
        """
        self.look()
        for row in _rows_of(status):
            error, found = row["last_error"], str(row["authorization_id"])
            is_called_revoked = isinstance(error, dict) and error["code"] == "revoked_elsewhere"
            if is_called_revoked and found not in hidden and self._world.show_end(found) > self._world.now():
                self.breaks.append(f"{row['name']} is said to be revoked outside, and its PAT {found} lives")
        waiting = [
            row
            for row in _rows_of(status)
            if row["state"] in ("blocked", "paused")
            or (row["last_error"] and (row["state"] == "expired" or row["authorization_id"] in self._revoked))
        ]
        told = {(row["vault"], row["secret_name"]) for row in waiting}
        for place, stretch in self._stretches.items():
            if place not in self._served - told - self._unowned or stretch.is_untagged or not self._is_late(stretch):
                continue
            if self._is_dead(stretch, self._world.now()):
                self.breaks.append(f"I1: a late effect on {place[1]} was not undone by an undisturbed run")

    def judge_rest(self, status: Mapping[str, object], besides: Iterable[str] = ()) -> None:
        """I1, I2, I3 at rest, by the JSON of `rotator status`; `besides`: handles that a person holds back."""
        self.look()
        rows = _rows_of(status)
        managed = [row for row in rows if row["state"] != "untracked"]
        for row in managed:
            if row["name"] not in set(besides):
                self._judge_record(row)
        told = {row["authorization_id"] for row in rows if row["state"] == "untracked" and row["last_error"]}
        used = {stretch.owner for stretch in self._stretches.values()} | {row["authorization_id"] for row in managed}
        overlapping = {(row["vault"], row["secret_name"]) for row in managed if row["state"] == "overlapping"}
        used |= {stretch.owner for stretch in self._held if stretch.place in overlapping & self._fleeting}
        used |= {found for found, place in self._managed.items() if place in overlapping & self._fleeting}
        for found in self._world.show_live():
            if not self.is_foreign(found) and found not in used | told | self._untold:
                self.breaks.append(f"I2: {found} is ours and lives, and nobody uses or reports it")
        for found in sorted((self._persons | self._returned) - self._revoked.keys()):
            if self.is_foreign(found) and self._world.show_end(found) < self._world.now() - timedelta(days=10_000):
                self.breaks.append(f"I3: {found} is a person's and was revoked")

    def _judge_record(self, row: Mapping[str, object]) -> None:
        """One managed PAT at rest: it lives, it is what its consumers read, and nothing is wrong with it."""
        name, found = row["name"], str(row["authorization_id"])
        place = (str(row["vault"]), str(row["secret_name"]))
        stretch = self._stretches.get(place)
        if self._world.show_end(found) <= self._world.now():
            self.breaks.append(f"I1: {name} is managed, and its PAT {found} is dead at rest")
        if stretch is not None and stretch.owner != found and stretch.send is not None:
            self.breaks.append(f"I2: consumers of {name} read {stretch.owner}, the inventory says {found}")
        if row["state"] not in ("ok", "due", "overlapping"):
            self.breaks.append(f"{name} is {row['state']} at rest: {row['last_error']}")

    def _follow(self, place: Place, version: str, value: str | None, now: datetime) -> None:
        """Note a new version: from now on its value is read, and the one before is held for a while."""
        before = self._stretches.get(place)
        if before is not None and before.version == version:
            if value is None and before.owner is not None:
                before.owner = None
                self.breaks.append(f"I1: what consumers of {place[1]} read was disabled")
            return
        send = None if value is None else self._sends.get((place, value))
        owner = None if value is None else self._world.show_owner(value)
        stretch = self._stretches[place] = _Stretch(place, version, owner, now, send)
        if owner is not None and not self._is_dead(stretch, now):
            self._served.add(place)
        self._held.append(stretch)
        if send is not None and not stretch.is_late:
            for held in self._held:
                # A person or a late write displaced this one, perhaps under another policy: what comes covers it too.
                if held.place == place and held.is_displaced and held.held_until is not None:
                    held.held_until = min(held.held_until, now + send.span)
        if before is not None:
            before.is_displaced = send is None or stretch.is_late
            before.ended_at = now
            before.held_until = now + (send.span if send is not None else self.overlap)

    def _ask(self, stretch: _Stretch, now: datetime) -> None:
        if stretch.is_excused or not self._is_dead(stretch, now):
            return
        is_held = stretch.held_until is not None
        what = (
            f"{stretch.place[1]} {'hold' if is_held else 'read'} {stretch.owner}, which is dead, at {now:%d %H:%M:%S}"
        )
        if self._is_late(stretch):
            self.passing.append(f"I1: consumers of {what}, after a late effect")
        elif not self._is_excused(stretch, is_held=is_held):
            self.breaks.append(f"I1: consumers of {what}")
        stretch.is_excused = True

    def _is_dead(self, stretch: _Stretch, now: datetime) -> bool:
        """Whether the value is of no use, and that is ours to care for."""
        if stretch.owner is None:
            return stretch.send is not None
        return self._world.show_end(stretch.owner) <= now

    def _is_late(self, stretch: _Stretch) -> bool:
        """Whether its write took effect late, or its value was put back when nobody expected its revocation any more.

        That is so when a person revoked the clone after the revocation of the old PAT had got no answer.
        """
        requested_at = self._requested.get(stretch.owner or "")
        return stretch.is_late or (requested_at is not None and stretch.begun_at - requested_at > SETTLE)

    def _is_excused(self, stretch: _Stretch, *, is_held: bool) -> bool:
        owner = stretch.owner or ""
        revoked_at = self._revoked.get(owner)
        known_from = stretch.send.process_began_at if stretch.send is not None else stretch.begun_at
        if revoked_at is not None and known_from <= revoked_at:
            return True
        if (is_held and owner in self._ended_early) or (owner, stretch.place) in self._left:
            return True
        is_expired = self._world.show_end(owner) > self._world.now() - timedelta(days=10_000)
        return is_expired and (
            self._was_out_of_reach(stretch.place, owner)
            or stretch.place in self._neglected
            or self.is_foreign(owner)
            or (is_held and (owner in self._short or stretch.place in self._fleeting))
        )

    def _was_out_of_reach(self, place: Place, owner: str) -> bool:
        """Whether there were runs in the last day of that PAT, and none of them could work on it."""
        end = self._world.show_end(owner)
        runs = [is_able for found, at, is_able in self._runs if found == place and end - LAST_DAY < at < end]
        return bool(runs) and not any(runs)


def _rows_of(status: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    rows = status["pats"]
    assert isinstance(rows, list)
    return rows
