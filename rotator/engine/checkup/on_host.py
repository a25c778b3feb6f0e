"""Checks of what is on this host: the settings, the files, and the database."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.domain.checkup import Remark, fail, praise, warn
from rotator.domain.words import say_count
from rotator.engine.checkup.patient import Patient
from rotator.ports.host import Archiving, Durability, FileFacts

_OTHERS_READ, _OTHERS_WRITE = 0o004, 0o002
_LEAST_FREE = 100 * 2**20
"""Bytes. The log of an SQLite database grows while others read it."""
_WEAK_COMMITS = ("local", "remote_write")


def check_settings(patient: Patient) -> Iterator[Remark]:
    """The settings and the policy, and the files, keys, receivers and hooks that they name."""
    is_fine = True
    for trouble in patient.host.find_troubles():
        is_fine = False
        yield (warn if trouble.is_usable else fail)(trouble.setting, trouble.message, trouble.fix)
    if is_fine:
        yield praise("", "the settings, and the files that they name, can be used")


def check_policy(patient: Patient) -> Iterator[Remark]:
    """The policy can be used, and most likely says what is meant."""
    rules, doubts = patient.open_policy().rules, list(patient.host.list_policy_doubts())
    for doubt in doubts:
        yield warn("", doubt, "Change it, unless it is what you want.")
    if not doubts:
        yield praise("", say_count(len(rules), "rule"))


def check_files(patient: Patient) -> Iterator[Remark]:
    """Nobody else can change the files of the installation, and rotator's own belong to one user."""
    files = list(patient.host.list_files())
    found = [remark for file in files if (remark := _check_mode(file)) is not None]
    owners = {file.owner: file for file in files if file.is_state}
    state = [file for file in files if file.is_state]
    for file in state:
        if file.owner != state[0].owner:
            found.append(
                fail(
                    file.path,
                    f"belongs to {file.owner}, and {state[0].path} to {state[0].owner}: no user can write both",
                    f"Run, as root: chown --reference={state[0].path} {file.path} (or the other way round)",
                )
            )
    yield from found
    if not found and files:
        written = (
            f"what rotator writes belongs to {', '.join(owners)}" if owners else "rotator has written no files yet"
        )
        yield praise("", f"nobody else can change them; {written}")


def _check_mode(file: FileFacts) -> Remark | None:
    if file.mode & _OTHERS_WRITE:
        return fail(file.path, "every user of this host can change it", f"Run: chmod o-w {file.path}")
    if file.is_secret and file.mode & _OTHERS_READ:
        return warn(file.path, "every user of this host can read it", f"Run: chmod o-r {file.path}")
    return None


def check_database(patient: Patient) -> Iterator[Remark]:
    """The database can be read, and has the schema that this version of rotator needs."""
    with patient.open_database().read() as reading:
        records = reading.inventory.load_all()
    facts = patient.host.read_database()
    yield praise("", f"{facts.engine}, {_say_size(facts.size)}, {say_count(len(records), 'managed PAT')}")


def check_space(patient: Patient) -> Iterator[Remark]:
    """The disk of an SQLite database has room for what an upgrade writes: as much again. PostgreSQL stays small."""
    facts = patient.host.read_database()
    if not facts.vacuums:
        yield warn(
            "autovacuum",
            f"off: the database, {_say_size(facts.size)} now, grows without end, as each heartbeat and step of a "
            "rotation leaves an old row behind",
            "Have the administrator of PostgreSQL set autovacuum = on.",
        )
    if facts.free is None:
        return
    needed = max(_LEAST_FREE, facts.size)
    if facts.free < needed:
        yield warn(
            "",
            f"{_say_size(facts.free)} are left on the database's disk; an upgrade may need {_say_size(needed)}, and "
            "nothing is rotated while the disk is full",
            "Free space on that disk, or move the database.",
        )
    else:
        yield praise("", f"{_say_size(facts.free)} are left on the database's disk")


def check_durability(patient: Patient) -> Iterator[Remark]:
    """What PostgreSQL has committed outlasts a crash of its server and, where there are standbys, a failover."""
    durability = patient.host.read_database().durability
    if durability is None:
        return
    found = list(_find_weaknesses(durability))
    yield from found
    if not found:
        yield praise("", f"synchronous_commit is {durability.synchronous_commit}; {_say_standbys(durability)}")


def _find_weaknesses(found: Durability) -> Iterator[Remark]:
    if not found.fsync:
        yield fail(
            "fsync",
            "off: a crash of the database's host can lose or damage what was committed",
            "Have the administrator of PostgreSQL set fsync = on.",
        )
    if found.synchronous_names and found.synchronous_commit in _WEAK_COMMITS:
        yield warn(
            "synchronous_commit",
            f"{found.synchronous_commit}: a failover to the synchronous standby can lose the last commits",
            "Set it to on for rotator's database: ALTER DATABASE ... SET synchronous_commit = on.",
        )
    counts = found.standbys
    if counts is None:
        return
    if counts and not found.synchronous_names:
        yield warn(
            "synchronous_standby_names",
            "there is a standby and none is synchronous: a failover can lose the last commits. rotator notices it, "
            "and compares its records with the vaults before it changes anything",
            "Name the standby in synchronous_standby_names, if you can afford to wait for it.",
        )
    if found.synchronous_names and not counts.get("sync", 0) + counts.get("quorum", 0):
        yield fail(
            "synchronous_standby_names",
            "a synchronous standby is named, and none is connected: every commit waits for it, without end",
            "Start the standby, or take its name out of synchronous_standby_names.",
        )


def _say_standbys(found: Durability) -> str:
    if found.standbys is None:
        return "this user may not see the standbys"
    count = sum(found.standbys.values())
    return say_count(count, "standby") if count else "no standby"


def check_backup(patient: Patient) -> Iterator[Remark]:
    """PostgreSQL archives its log, where it is to. Other backups cannot be seen from here."""
    archiving = patient.host.read_database().archiving
    if archiving is None:
        return
    if _is_failing(archiving):
        yield fail(
            "",
            "PostgreSQL cannot archive its log: backups end where that began, and its disk fills up",
            "Have the administrator of PostgreSQL look at archive_command and at the server's log.",
        )
    else:
        yield praise("", "PostgreSQL archives its log")


def _is_failing(archiving: Archiving) -> bool:
    failed, done = archiving.failed_at, archiving.archived_at
    return failed is not None and (done is None or failed > done)


def _say_size(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"
