"""Audit events as rows, and as facts below each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rotator.cli.console import clean
from rotator.cli.output.details import say_details
from rotator.cli.widths import Column
from rotator.documents.audit import AuditEventDocument, make_event_document
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import spell_public_key
from rotator.domain.words import say_duration, say_moment
from rotator.engine.anchoring import AnchorSight
from rotator.engine.archives import LogArchives
from rotator.engine.context import Trust
from rotator.engine.log_checking import LogSummary

COLUMNS = (
    Column("#", fixed=True),
    Column("time", fixed=True),
    Column("event", fixed=True),
    Column("subject", is_key=True),
    Column("detail", lower=True),
)
_FIELDS = tuple(AuditEventDocument.__annotations__)


def list_event_rows(events: Iterable[AuditEvent]) -> Iterator[tuple[str, ...]]:
    """One row of `COLUMNS` per event."""
    for event in events:
        at, entry = f"{event.occurred_at:%Y-%m-%d %H:%M:%S}Z", event.entry
        yield str(event.sequence), at, clean(entry.event), clean(entry.subject), say_details(event)


def render_event_line(event: AuditEvent) -> str:
    """One line for an event, where the next one is not known yet."""
    return "  ".join(next(list_event_rows([event]))).rstrip()


def render_event(event: AuditEvent) -> Iterator[str]:
    """Everything an event says, one line each."""
    document: Mapping[str, object] = make_event_document(event)
    for field in _FIELDS:
        if field != "details":
            yield f"{field + ':':16}{clean(str(document[field]))}"
        else:
            for key, value in event.entry.details.items():
                yield clean(f"  {key + ':':22}{'-' if value is None else value}")


def say_number(number: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _say_valid(summary: LogSummary) -> str:
    return f"{say_number(summary.checkpoints, 'checkpoint')} {'is' if summary.checkpoints == 1 else 'are'} valid"


def _say_first_events(last: int) -> str:
    return "event 1" if last == 1 else f"events 1 to {last}"


def render_intact(summary: LogSummary) -> str:
    """What of the log was found to be intact now."""
    if not summary.since:
        return f"The audit log is intact: {say_number(summary.events, 'event')}, head {summary.head}"
    first, last = summary.since + 1, summary.events
    checked = "no event is newer than the last check" if first > last else f"events {first} to {last} are intact"
    return f"In the audit log {f'event {last} is intact' if first == last else checked}; head {summary.head}"


def render_seals(summary: LogSummary) -> Iterator[str]:
    """What the checkpoints of an intact log cover, and what of it was not checked now."""
    if summary.since:
        first = _say_first_events(summary.since).capitalize()
        yield f"{first} had been verified before, and were not checked again; --all does."
    if not summary.checkpoints:
        yield "It has no checkpoint yet: anyone who can write the database could have rewritten it."
    elif not summary.signed:
        unsigned, made = ("it is not", "it") if summary.checkpoints == 1 else ("none is", "them")
        yield f"{_say_valid(summary)}, but {unsigned} signed: anyone who can write the database could have made {made}."
    else:
        later = summary.events - summary.signed
        yield f"{_say_valid(summary)}; signatures cover {_say_first_events(summary.signed)}."
        if later:
            yield f"{say_number(later, 'later event')} {'is' if later == 1 else 'are'} not signed yet."
    for number, change in sorted(summary.changes.items()):
        how = "signed by both" if change.signature else "signed by the new key alone, as after the loss of the old one"
        yield f"From event {number} on the key {change.new_id} signs, in place of {change.old_id}: {how}."
    for number in summary.forged:
        yield f"Event {number} is forged and counts for nothing, as a person accepted: no key of ours signed it."
    if (found := summary.ahead) is not None:
        said = f"The checkpoint of {say_number(found.size, 'event')} says that it was made at"
        yield f"{said} {say_moment(found.made_at)}, which has not come yet: a clock was wrong, or it was dated by hand."
    if (late := summary.late) is not None:
        said = f"The checkpoint of {say_number(late.checkpoint.size, 'event')} was made {say_duration(late.lag)} after"
        yield (
            f"{said} event {late.first.sequence}, the first that no earlier signed one covers: nobody ran rotator "
            "then, or somebody wrote the log anew."
        )


def render_keys(trust: Trust | None) -> Iterator[str]:
    """Which keys the signatures were checked with: a reviewer has been given the same, or does not know this log."""
    for key in trust.public_keys if trust is not None else ():
        yield f"Public key: {spell_public_key(key)}"


def render_archives(archives: LogArchives) -> Iterator[str]:
    """Which events of an intact log are in archives, and which of these were checked."""
    checked = len(archives.named) - len(archives.missing)
    if archives.named:
        said = say_number(len(archives.named), "archive")
        yield f"{_say_first_events(archives.last).capitalize()} are in {said}; {checked} of them checked."
    for found in archives.missing if checked else ():
        yield f"Not checked, because its file was not named: the archive of events {found.first} to {found.last}."
    if archives.left is not None:
        yield "An archive is not finished: run `rotator audit archive` again, with the same file."


def _render_stamps(sight: AnchorSight) -> Iterator[str]:
    every = [(anchor.sequence, anchor.stamped_at, anchor.is_ahead) for anchor in sight.anchors if anchor.stamped_at]
    past = sorted((size, at) for size, at, is_ahead in every if not is_ahead)
    for size, at in past[-1:]:
        whole = f"{_say_first_events(size)} existed at {say_moment(at)}"
        yield f"{say_number(len(past), 'time stamp')} checked; the newest says that {whole}."
    for size, at, _ in sorted(found for found in every if found[2])[-1:]:
        said = f"{say_number(len(every) - len(past), 'time stamp')} of a time that has not come yet"
        what = f"{said}, as of {say_moment(at)} for {_say_first_events(size)}"
        yield f"Not believed: {what}: this clock or theirs is wrong."


def render_anchors(sight: AnchorSight, accepted: int) -> Iterator[str]:
    """What the vaults say of an intact log."""
    own = sum(anchor.is_own for anchor in sight.anchors)
    if sight.anchors or not sight.unread:
        heads = len(sight.anchors) - own
        tags, secret = (
            f"{say_number(heads, 'head')} in tags",
            f"{say_number(own, 'checkpoint')} in secrets of rotator's own",
        )
        stored = f"{tags}, {secret}"
        yield f"The log contains everything that the vaults hold of it: {stored}."
    yield from _render_stamps(sight)
    if accepted:
        others = say_number(accepted, "other")
        yield f"A person accepted that the log lacks {others}: see `rotator audit list --event gap_accepted`."
    if sight.others:
        yield f"The vaults also hold anchors of other installations: {', '.join(map(clean, sight.others))}."
