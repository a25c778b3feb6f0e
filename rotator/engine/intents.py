"""Intents that the vault names and the database does not know: it is behind, and their mints may have made PATs.

Each is entered into the journal as a closed rotation whose mint was sent. Then what it may have made is a late mint
like any other: it is revoked once it is proven ours, and nothing else accounts for it.

What wrote a value is left to a rebuild, which looks no deeper than what somebody else wrote, or than the newest
version whose PAT is listed. Below that it is entered as failed: consumers may still use its PAT, so that is reported,
and revoked only when a person says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import product

from rotator.domain.events.rotations import UnknownIntentFound
from rotator.domain.intent import Intent, name_where, read_intents, write_intents
from rotator.domain.managed_pat import Failure, ManagedPat, Pat
from rotator.domain.marker import carries_mark, make_marked_name, strip_mark
from rotator.domain.rotation import Rotation, RotationState, Trace
from rotator.domain.secret_value import SecretValue
from rotator.engine.accounting import get_ids, load_keepers
from rotator.engine.auditing import record
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.clocks import list_moments
from rotator.engine.context import RunContext
from rotator.engine.forgotten import standing_in
from rotator.engine.listing import ServerView
from rotator.engine.moments import find_earliest, find_latest
from rotator.engine.provenance import find_behind, is_written_over, split_at_listed
from rotator.engine.reading import fetch_history, look_twice
from rotator.engine.tags import AUTHORIZATION_TAG, INTENT_TAG, PREDECESSOR_TAG, ROTATION_TAG
from rotator.ports.database import Reading
from rotator.ports.secret_store import SecretLocation, SecretVersion

UNKNOWN_INTENT = "unknown_intent"
"""The code of the failure of such a rotation."""
_LOST = Failure(
    UNKNOWN_INTENT,
    "the vault names this rotation and the database did not know it: it was restored, or lost its last commits",
    "Nothing to do: if its mint made a PAT, a later run revokes that, or `rotator scan` shows it.",
)

Look = tuple[str, str]
"""A display name and scopes."""
Mint = tuple[str, str, str]
"""Those, and the account that a mint is for."""


def enter_unknown(
    held: ClaimedPat, versions: tuple[SecretVersion, ...], pats: Iterable[Pat], account: str | None = None
) -> None:
    """Enter each intent on these versions that the journal does not hold and whose PAT may still live.

    What its mint asked for is what the record says, or what one of the listed `pats` is like; those are the record's
    account's, or this one's. An intent that is like
    none of them is left for the next look. What wrote one of the versions is entered only when no rebuild finds it.
    """
    pats = tuple(pats)
    _enter_written_over(held, versions, pats, account or held.pat.account)
    if not _read_unwritten(versions):
        return
    run, key = held.run, held.services.marker_key
    looks = [*_list_looks(held.pat), *((pat.display_name, pat.scope) for pat in pats)]
    for intent in held.load(lambda reading: _find_unknown(reading, versions, find_earliest(run, reading))):
        look = _find_look(held.run, held.pat, intent, looks)
        if look is not None:
            found = UnknownIntentFound(lost_rotation_id=intent.rotation_id, planned_valid_to=intent.planned_valid_to)
            held.begin_attempt(_make_lost(held.pat, key, held.services.clock.now(), intent, look), found)


def enter_lost(run: RunContext, rebuilt: Iterable[ManagedPat]) -> None:
    """Enter what the vault names beside the values of records that a rebuild found: this database lost it.

    What that minted may have any name, as an update gives another one, so it is compared with all that is listed. A
    record beside whose value nothing unknown is named is not claimed.
    """
    view = ServerView(run)
    for pat in rebuilt:
        if not _is_unknown_named(run, fetch_history(run.services.secrets, SecretLocation.of(pat))):
            continue
        listing = view.fetch_listing(pat.account, pat.organization)
        with claimed(run, pat.name) as held:
            enter_unknown(held, fetch_history(run.services.secrets, held.location), listing.pats)


def enter_refused(run: RunContext, refused: Iterable[ManagedPat]) -> None:
    """Enter the intents beside values that no record can be made from, and whose PATs may still live.

    `refused` say what the records would be called and where their secrets are. Nothing will work on such a rotation:
    what its mint made is left behind, and reported.
    """
    view, key = ServerView(run), run.services.marker_key
    for pat in refused:
        versions = fetch_history(run.services.secrets, SecretLocation.of(pat))
        if not _is_unknown_named(run, versions):
            continue
        looks = [(it.display_name, it.scope) for it in view.fetch_listing(pat.account, pat.organization).pats]
        now = run.services.clock.now()
        with run.services.database.begin() as work:
            for intent in _find_unknown(work, versions, find_earliest(run, work)):
                look = _find_look(run, pat, intent, looks)
                if look is not None:
                    lost = _make_lost(pat, key, now, intent, look)
                    with standing_in(run, work, lost) as claim:
                        work.journal.insert(lost, claim)
                    found = UnknownIntentFound(lost_rotation_id=lost.id, planned_valid_to=intent.planned_valid_to)
                    record(work, run, pat.name, found, now, account=pat.account, organization=pat.organization)


def _find_unknown(reading: Reading, versions: tuple[SecretVersion, ...], now: datetime) -> list[Intent]:
    """Return the intents that the journal does not hold, and whose PATs may still live. None wrote a version."""
    intents = [intent for intent in _read_unwritten(versions) if intent.planned_valid_to > now]
    known = reading.journal.find_known([intent.rotation_id for intent in intents])
    return [intent for intent in intents if intent.rotation_id not in known]


def _is_unknown_named(run: RunContext, versions: tuple[SecretVersion, ...]) -> bool:
    """Whether the versions name a rotation, as what wrote one or as an intent, that the journal does not hold."""
    writers = {version.tags[ROTATION_TAG] for version in versions if ROTATION_TAG in version.tags}
    named = writers | {intent.rotation_id for intent in _read(versions)}
    with run.services.database.read() as reading:
        return bool(named - set(reading.journal.find_known(list(named))))


def _enter_written_over(
    held: ClaimedPat, versions: tuple[SecretVersion, ...], pats: tuple[Pat, ...], account: str
) -> None:
    """Enter what wrote a version that no rebuild looks at, if its PAT is one of `pats` and nothing accounts for it.

    A rebuild looks no deeper than the newest version whose PAT is listed, and knows that one's predecessor.
    """
    listed, now = {pat.authorization_id: pat for pat in pats}, held.services.clock.now()
    newer, found_first = split_at_listed(versions, listed)
    reached = newer if found_first is None else (*newer, found_first)
    seen = {None, *(version.tags.get(ROTATION_TAG) for version in reached)}
    predecessors = {version.tags.get(PREDECESSOR_TAG) for version in reached}
    covered = {
        version.tags[ROTATION_TAG]: listed[authorization_id]
        for version in versions
        if (authorization_id := version.tags.get(AUTHORIZATION_TAG, "")) in listed.keys() - predecessors
        and version.tags.get(ROTATION_TAG) not in seen
    }
    if not covered:
        return
    known = held.load(lambda reading: reading.journal.find_known(list(covered)))
    keepers = held.load(lambda reading: load_keepers(reading, list(listed), now))
    for rotation_id, pat in covered.items():
        if rotation_id not in known and keepers.find_by_id(pat.authorization_id) is None:
            found = UnknownIntentFound(lost_rotation_id=rotation_id, planned_valid_to=pat.valid_to)
            held.begin_attempt(_make_written(held, rotation_id, pat, account), found)


def leave_if_written(held: ClaimedPat, rotation: Rotation, pat: Pat) -> bool:
    """Enter the PAT of a late mint as left behind when the vault holds its value. Return whether it is left alone.

    Then its rotation did write: after its intent was found, or unseen by an old read. Consumers may use that PAT, but
    for where a rotation of ours replaced it: then it is left alone until the overlap of that is over, even if that
    rotation was completed sooner because the old PAT that it knew of had expired. DatabaseBehindError when a rebuild
    is to find it.
    """
    versions = look_twice(held.run, lambda: _fetch_holding(held, pat))
    if versions is None:
        return False
    behind = find_behind(held, versions[0])
    if behind is None and not is_written_over(versions, pat.authorization_id):
        return _is_in_overlap(held)
    found = UnknownIntentFound(lost_rotation_id=rotation.id, planned_valid_to=pat.valid_to)
    held.begin_attempt(_make_written(held, held.services.entropy.make_id(), pat, rotation.account), found)
    if behind is not None:
        raise behind
    return True


def _fetch_holding(held: ClaimedPat, pat: Pat) -> tuple[SecretVersion, ...] | None:
    """Return all versions, if one of them holds the PAT's value by its tags."""
    versions = fetch_history(held.services.secrets, held.location)
    is_held = any(version.tags.get(AUTHORIZATION_TAG) == pat.authorization_id for version in versions)
    return versions if is_held else None


def _is_in_overlap(held: ClaimedPat) -> bool:
    """Whether consumers may still hold what a rotation of this ManagedPat replaced, by any clock at hand."""
    now, latest = min(list_moments(held)), held.load(partial(find_latest, held.run))
    rotations = held.load(lambda reading: reading.journal.load_for(held.pat.name))
    return any(
        r.overlap_until is not None
        and (r.overlap_until > now or (r.is_open and bool(r.awaited_hooks)))
        and not r.is_misdated(latest)
        for r in rotations
    )


def make_intent_tags(held: ClaimedPat, versions: tuple[SecretVersion, ...]) -> dict[str, str]:
    """Make the tag with the intent of the rotation at hand, and with those beside it that may still matter.

    By the earliest clock at hand: a host that is years ahead must not drop what the others still need.
    """
    run, place, intents = held.run, held.pat.place, _read(versions)

    def load(reading: Reading) -> tuple[datetime, set[str]]:
        named = reading.journal.load_writers(place, [intent.rotation_id for intent in intents])
        pending = reading.revocations.load_by_ids([found for trace in named for found in get_ids(trace)])
        over = {trace.id for trace in named if _is_over(trace)} - {item.rotation_id for item in pending}
        return find_earliest(run, reading), over

    now, over = held.load(load)
    kept = [i for i in intents if i.rotation_id not in over and i.planned_valid_to > now]
    return {INTENT_TAG: write_intents((Intent.of(held.rotation, held.services.marker_key), *kept))}


def _read(versions: tuple[SecretVersion, ...]) -> tuple[Intent, ...]:
    """Return the intents on all versions, each once."""
    found = (intent for version in versions for intent in read_intents(version.tags.get(INTENT_TAG, "")))
    return tuple({intent.rotation_id: intent for intent in found}.values())


def _read_unwritten(versions: tuple[SecretVersion, ...]) -> list[Intent]:
    """Return the intents of those that wrote none of the versions."""
    writers = {version.tags.get(ROTATION_TAG) for version in versions}
    return [intent for intent in _read(versions) if intent.rotation_id not in writers]


def _is_over(rotation: Trace) -> bool:
    """Whether a rotation certainly minted nothing, or its PAT is known and was not left behind."""
    if rotation.new_authorization_id is None:
        return rotation.sent_at is None
    return rotation.state is not RotationState.FAILED


def _list_looks(pat: ManagedPat) -> Iterator[Look]:
    for wanted in (pat, pat.as_wanted()):
        yield strip_mark(wanted.display_name), wanted.scope


def _find_look(run: RunContext, pat: ManagedPat, intent: Intent, looks: Iterable[Look]) -> Mint | None:
    """Return what the digest of an intent was made of, with its own mark if it had one.

    None too for an intent that was written beside another secret, or that has not our signature where there is a key.
    """
    key, accounts = run.services.marker_key, (None, *(account.name for account in run.services.accounts))
    for name, scope in looks:
        names = (name,) if key is None else (name, make_marked_name(name, intent.rotation_id, key))
        for candidate, moves_to in product(names, accounts):
            if intent.is_of(pat.place, name_where(pat.organization, moves_to), candidate, scope, key):
                return candidate, scope, moves_to or pat.account
    return None


def _make_lost(pat: ManagedPat, key: SecretValue | None, now: datetime, intent: Intent, mint: Mint) -> Rotation:
    """Make the rotation that the journal lacks. Its request counts as sent `now`: its sender may still be at work."""
    display_name, scope, account = mint
    return Rotation(
        id=intent.rotation_id,
        name=pat.name,
        account=account,
        predecessor_account=None if account == pat.account else pat.account,
        organization=pat.organization,
        display_name=display_name,
        scope=scope,
        predecessor_id=pat.authorization_id,
        predecessor_valid_to=pat.valid_to,
        rule="",
        vault=pat.vault,
        secret_name=pat.secret_name,
        overlap=timedelta(0),
        disable_previous=False,
        created_at=intent.planned_at,
        updated_at=now,
        state=RotationState.ABANDONED,
        planned_valid_to=intent.planned_valid_to,
        sent_at=now,
        failure=_LOST,
        marked=key is not None and carries_mark(display_name, intent.rotation_id, key),
    )


def _make_written(held: ClaimedPat, rotation_id: str, pat: Pat, account: str) -> Rotation:
    """Make the rotation that the journal lacks and that made this PAT of the account.

    That it wrote a value is left out: if that comes back on top, the database is still behind, which a rebuild mends.
    The old PAT is left out too: the record names it, or a person has taken it back.
    """
    intent = Intent(rotation_id, pat.valid_from, pat.valid_to, look="")
    failure = Failure(
        UNKNOWN_INTENT,
        "its value is in the vault, and the database did not know that: it was restored, or lost its last commits",
        f"If nobody uses its PAT: `rotator recover --revoke {pat.authorization_id}`.",
    )
    now, key = held.services.clock.now(), held.services.marker_key
    return replace(
        _make_lost(held.pat, key, now, intent, (pat.display_name, pat.scope, account)),
        predecessor_id="",
        predecessor_account=None,
        state=RotationState.FAILED,
        sent_at=None,
        new_authorization_id=pat.authorization_id,
        new_valid_from=pat.valid_from,
        new_valid_to=pat.valid_to,
        failure=failure,
    )
