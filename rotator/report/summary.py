"""A review in one paragraph, and what a reader must know before anything else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby

from rotator.documents.audit import AuditEventDocument
from rotator.documents.review import ReviewDocument
from rotator.domain.words import say_duration, say_names
from rotator.report.breaches import say_breaches
from rotator.report.times import say_time

_MOST_RANGES = 20
_MOST_NAMES = 5
_DAY = 24 * 60 * 60


def summarize(review: ReviewDocument) -> Iterator[str]:
    """Yield the sentences of the summary."""
    period, log, revoked = review["period"], review["log"], review["revocations"]
    done = sum(bucket["completed"] for bucket in review["timeline"])
    failed = review["failed_pats"]
    accounts = len({pat["account"] for pat in review["pats"]})
    yield (
        f"From {say_time(period['since'])}Z to {say_time(period['until'])}Z the audit log has "
        f"{_count(log['in_period'], 'event')}."
    )
    expired = sum(pat["age_verdict"] == "expired" for pat in review["pats"])
    old = sum(pat["age_verdict"] in ("due", "by_hand") for pat in review["pats"])
    yield (
        f"rotator manages {_count(len(review['pats']), 'PAT')} of {_count(accounts, 'account')}; "
        f"{expired} of them {'has' if expired == 1 else 'have'} expired, and "
        f"{_count(old, 'is', 'are')} older than the policy allows."
    )
    if review["unmanaged"]:
        more = _count(len(review["unmanaged"]), "more PAT")
        yield f"Nobody manages {more} of these accounts: section 1 lists what was seen."
    yield (
        f"{_count(done, 'rotation was', 'rotations were')} completed; "
        f"{_count(failed, 'PAT', 'PATs')} had a rotation that failed or was blocked, "
        "if only for a while."
    )
    living = sum(pat["kind"] != "overlap" for pat in revoked["living"])
    yield (
        f"{_count(revoked['proven'], 'PAT was', 'PATs were')} confirmed revoked, "
        f"{_count(len(revoked['pending']), 'awaits', 'await')} confirmation, and "
        f"{_count(living, 'is', 'are')} still valid and {'awaits' if living == 1 else 'await'} a person's decision."
    )
    yield f"People ran {_count(review['done_by_hand'], 'command')} by hand."
    said = say_breaches(review)
    if (outlived := review["values"]["outlived_found"]) > 0:
        said += f"; {outlived} of these {'is an old PAT' if outlived == 1 else 'are old PATs'} that "
        said += f"{'was' if outlived == 1 else 'were'} there more than 15 minutes after the overlap"
    if (late := review["values"]["late_found"]) > 0:
        said += f"; {late} of these {'is a rotation' if late == 1 else 'are rotations'} that began more than a day "
        said += "after the rule asked for it" if late == 1 else "after their rules asked for them"
    yield f"{said} (section 5)."
    yield _say_log(review)
    yield _say_service_logs(review)


def list_figures(review: ReviewDocument) -> Iterator[str]:
    """Yield the summary as the lines of a list, for a terminal: what there is none of is left out."""
    revoked, pats = review["revocations"], review["pats"]
    begin, *_, log, services = summarize(review)
    is_open = review["period"]["until"] > review["generated_at"]
    yield f"{begin} The period is not over." if is_open else begin
    accounts = len({pat["account"] for pat in pats})
    yield f"PATs of {_count(accounts, 'account')}: {len(pats)}" + _list_counts(
        (sum(pat["age_verdict"] == "expired" for pat in pats), "expired"),
        (sum(pat["age_verdict"] in ("due", "by_hand") for pat in pats), "older than the policy allows"),
        (len(review["unmanaged"]), "more that nobody manages"),
    )
    failed = review["failed_pats"]
    yield f"Rotations: {sum(bucket['completed'] for bucket in review['timeline'])} completed" + _list_counts(
        (failed, f"{'PAT' if failed == 1 else 'PATs'} had one that failed or was blocked, if only for a while"),
        (review["values"]["late_found"], "began more than a day late"),
    )
    yield f"Revocations: {revoked['proven']} proven" + _list_counts(
        (len(revoked["pending"]), "not confirmed yet"),
        (sum(pat["kind"] != "overlap" for pat in revoked["living"]), "PATs still valid until a person decides"),
        (review["values"]["outlived_found"], "old PATs there more than 15 minutes after the overlap"),
    )
    yield f"By hand: {_count(review['done_by_hand'], 'command')}"
    if review["excepted_pats"]:
        yield f"The policy was broken by {_count(review['excepted_pats'], 'PAT')}, if only for a while."
    yield from (log, services)


def _list_counts(*counts: tuple[int, str]) -> str:
    said = [f"{number} {what}" for number, what in counts if number]
    return "".join(f", {text}" for text in said)


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _say_log(review: ReviewDocument) -> str:
    log = review["log"]
    if not log["valid"]:
        return "The audit log is NOT whole."
    signed = f"{log['signed']} of them covered by a signature" if log["has_key"] else "none of them signed"
    return f"The audit log is intact: {_count(log['events'], 'event')}, {signed}."


def _say_service_logs(review: ReviewDocument) -> str:
    outside = review["outside"]
    if not any(log["compared"] is not None for log in outside["logs"]):
        return "Azure DevOps' own log was never compared with it."
    compared = sum(log["covered_seconds"] > 0 for log in outside["logs"])
    if not compared:
        return "Nothing of the period was compared with Azure DevOps' own log."
    found = _count(outside["foreign_found"], "change") + " by somebody else"
    if outside["lacking_found"]:
        found += " and changes by rotator that it lacks"
    every = len(outside["logs"])
    of_all = "every organization" if compared == every else f"{compared} of {every} organizations"
    return f"Azure DevOps' own log was compared with it for {of_all}; in the period, that showed {found}."


def say_policies(review: ReviewDocument) -> str:
    """Say how many policies were in force in the period, since when the log names one, and how many texts it lacks."""
    unknown = sum(found["text"] is None for found in review["policy"]["texts"])
    said = _say_in_force(review)
    if silent := list(_list_silent(review)):
        which = say_names([f"policy {number} (event {event})" for number, event in silent], _MOST_NAMES)
        said += f" Who wrote the file of {which}, and why, is not in the log: a run that nobody ordered used it first."
    return f"{said} Policies whose text is not known: {unknown}." if unknown else said


def list_policy_uses(review: ReviewDocument) -> Iterator[tuple[int, list[AuditEventDocument]]]:
    """Yield the number of each policy that was in force, with the events that tell of a first use, in their order.

    A policy is there again where another one was in force in between.
    """
    policy = review["policy"]
    events = [*([] if policy["before"] is None else [policy["before"]]), *policy["changes"]]
    numbers = list(dict.fromkeys(event["details"].get("sha256") for event in events))
    for digest, uses in groupby(events, key=lambda event: event["details"].get("sha256")):
        yield numbers.index(digest) + 1, list(uses)


def _list_silent(review: ReviewDocument) -> Iterator[tuple[int, int]]:
    """Yield each change of policy in the period that has no author and no reason: its number, and the event."""
    first, before = True, review["policy"]["before"]
    for number, (event, *_) in list_policy_uses(review):
        is_change = not (first and event is before)
        first = False
        if is_change and not event["details"].get("reason") and not event["details"].get("command"):
            yield number, event["sequence"]


def _say_in_force(review: ReviewDocument) -> str:
    policy, period = review["policy"], review["period"]
    count, first = policy["changed"], policy["before"] or next(iter(policy["changes"]), None)
    if first is None:
        return "No policy was in force in the period, as far as the log says."
    if policy["before"] is not None:
        more = {event["details"].get("sha256") for event in policy["changes"]} - {
            policy["before"]["details"].get("sha256")
        }
        others = f", and {_count(len(more), 'other')} later" if more else ""
        return f"A policy was in force all the time: that of the beginning{others}."
    if count > len(policy["changes"]):
        return f"The log names {_count(count, 'policy', 'policies')} in the period."
    early = "" if first["occurred_at"] <= period["since"] else " The log names none before that in the period."
    number = len({event["details"].get("sha256") for event in policy["changes"]})
    said = "One policy was in force" if number == 1 else f"{number} policies were in force, one after the other,"
    return f"{said} from {say_time(first['occurred_at'])} (event {first['sequence']}) on.{early}"


def say_nothing(review: ReviewDocument) -> str:
    """Say what it means that a comparison with Azure DevOps' own log found nothing."""
    covered = [log["covered_seconds"] for log in review["outside"]["logs"]]
    if not any(covered):
        return "not known. That log was not compared for any part of the period."
    least, most = (say_duration(timedelta(seconds=seconds)) for seconds in (min(covered), max(covered)))
    spans = least if least == most else f"{least} to {most}"
    return f"nothing was found in what was compared, {spans} of the period for each organization."


def list_warnings(review: ReviewDocument) -> Iterator[str]:
    """Yield what makes the page worth less, the worst first."""
    log = review["log"]
    if log["error"] is not None:
        yield (
            f"The audit log was changed or is damaged. {_say_sentence(log['error']['message'])} What this page says "
            "is what the log says now: do not rely on it where it depends on that event or on later ones. "
            f"{log['error']['fix']}"
        )
    if log["unreadable"]:
        yield f"Events that cannot be read are missing on this page: {', '.join(map(str, log['unreadable']))}."
    if log["key_problem"] is not None:
        yield f"No signature could be checked: {_say_sentence(log['key_problem'])}"
    elif not log["has_key"]:
        yield (
            "The audit log is not signed, because no key is set: whoever can write the database can rewrite the log "
            "as a whole, and nothing here would show it."
        )
    if not log["checkpoints"]:
        yield "The audit log has no checkpoint: nothing but the events themselves says what it was."
    if strange := [pat["name"] for pat in review["pats"] if not pat["told"]["fits"]]:
        yield (
            f"The inventory says of {say_names(strange)} another reach than the newest event about it: somebody may "
            "have changed the database. Section 2 has both."
        )
    for unread in log["unread"]:
        yield f"The anchors of {unread['name']} could not be read: {_say_sentence(unread['message'])}"


def list_limits(review: ReviewDocument) -> Iterator[str]:
    """Yield which part of the period the page cannot speak of."""
    log, period = review["log"], review["period"]
    if log["archived"]:
        yield (
            f"Events 1 to {log['archived']} are in archives of old events, except for a few kinds. What only they say "
            "is not on this page, and only those archives hold evidence of it."
        )
    if not log["in_period"]:
        yield "The audit log has no event of this period. PATs are shown as they are now."
    elif log["began"] is not None and log["began"]["at"] > period["since"]:
        yield f"The audit log begins at {say_time(log['began']['at'])}: nothing is known of the time before."
    if log["misdated"]:
        number = sum(row["events"] for row in log["misdated"])
        ranges = ", ".join(_say_range(row["first"], row["last"]) for row in log["misdated"][-_MOST_RANGES:])
        yield (
            f"A wrong clock dated {_count(number, 'event')} of the log: {ranges}. They count where they stand in the "
            "log, and section 10 has their times."
        )
    if period["until"] > review["generated_at"]:
        yield f"The period is not over: this page ends at {say_time(review['generated_at'])}."


def list_unseen(review: ReviewDocument) -> Iterator[str]:
    """Yield what the page cannot show because nobody looked, and what it shows and a reader must not miss."""
    outside = review["outside"]
    yield from list_uncovered(review)
    compared = dict[str, list[str]]()
    for row in outside["logs"]:
        missing, whole = row["uncovered_seconds"] // _DAY, (row["covered_seconds"] + row["uncovered_seconds"]) // _DAY
        if missing:
            compared.setdefault(f"{missing} of {_count(whole, 'day')}", []).append(row["organization"])
    if compared:
        said = "; ".join(f"for {days} of {say_names(names, _MOST_NAMES)}" for days, names in compared.items())
        yield (
            f"Azure DevOps' own log was not compared with this one {said}. What somebody else did to these PATs then, "
            "or what this log says and never was, would not show here."
        )
    if odd := [row for row in outside["logs"] if row["unreadable"]]:
        named = ", ".join(f"{row['unreadable']} of {row['organization']}" for row in odd[:_MOST_NAMES])
        yield (
            f"The newest comparison could not read some entries of Azure DevOps' own log ({named}): what they tell is "
            "not known, and nothing of rotator's doing counts as lacking there."
        )
    looked = {scan["organization"] for scan in outside["scans"]}
    if alone := [row["organization"] for row in outside["logs"] if row["organization"] not in looked]:
        yield (
            f"Nobody looked at the PATs of all users of {say_names(alone, _MOST_NAMES)}: this page knows those of "
            "rotator's accounts only."
        )
    if lasting := [found for found in review["unmanaged"] if found["too_long"]]:
        named = say_names([f'"{found["display_name"]}" of {found["account"]}' for found in lasting], _MOST_NAMES)
        live = _count(len(lasting), "PAT that nobody manages lives", "PATs that nobody manages live")
        yield f"{live} longer than the guardrails allow: {named}. Section 1 has when they expire."


def list_uncovered(review: ReviewDocument) -> Iterator[str]:
    """Yield how many events no checkpoint covers, if there are checkpoints."""
    log = review["log"]
    if log["checkpoints"] and (open_ := log["events"] - log["sealed"]) > 0:
        which = _say_range(log["sealed"] + 1, log["events"])
        yield (
            f"No checkpoint covers the last {_count(open_, 'event')} of the log ({which}): no signature of the log "
            "says what they were."
        )


def _say_range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _say_sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
