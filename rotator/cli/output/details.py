"""What an audit event says beside its subject, in words: its fields, in an order of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from rotator.cli.console import clean
from rotator.domain.audit_event import AuditEvent, Detail, Outcome
from rotator.domain.clocks import HOST
from rotator.domain.condition import ConditionKind
from rotator.domain.pending_revocation import RevocationKind
from rotator.domain.runbook import CONDITIONS
from rotator.domain.words import say_count, say_duration, say_moment, say_names, say_span


def _say_time(value: Detail) -> str:
    """The moment as every line shows one; what is none, as it is."""
    try:
        return say_moment(datetime.fromisoformat(str(value)))
    except ValueError:
        return str(value)


def _say_wait(value: Detail) -> str:
    return say_span(timedelta(seconds=value)) if isinstance(value, int) else str(value)


def _say_seconds(value: Detail) -> str:
    return say_duration(timedelta(seconds=value)) if isinstance(value, int) else str(value)


def _say_reads(value: Detail) -> str:
    return say_count(str(value).count(":"), "secret")


def _say_host(value: Detail) -> str:
    return str(value).removeprefix("https://").rstrip("/")


def _say_organizations(value: Detail) -> str:
    if isinstance(value, bool):
        return "for all organizations" if value else ""
    return f"{value} for all organizations"


def _say_failures(value: Detail) -> str:
    return {1: "the first failure", 2: "failed twice in a row"}.get(int(value or 0), f"failed {value} times in a row")


def _say_finishing(value: Detail) -> str:
    return f"finishing {say_count(int(value), 'rotation')}" if value else "nothing to finish"


def _say_hash(value: Detail) -> str:
    """The beginning of a SHA-256, which is enough to tell two apart."""
    return str(value)[:8] if len(str(value)) == _HASH else str(value)


def _counted(one: str, more: str = "") -> Callable[[Detail], str]:
    return lambda value: f"{value} {one if value == 1 else more or f'{one}s'}"


def _say_pats(value: Detail) -> str:
    """The names, of very many how many they are and the first ones: a line has room for no more."""
    names = str(value).split(", ")
    return f"{len(names)} PATs: {say_names(names)}" if len(names) > _MOST_NAMES else f"PATs {value}"


def _word(text: str, say: Callable[[Detail], str] = str) -> Callable[[Detail], str]:
    return lambda value: text.format(say(value))


_HASH = 64
_MOST_NAMES = 10
_WHYS = {
    RevocationKind.ROTATED.value: "its successor is stored and works",
    RevocationKind.ABANDONED.value: "it is a clone that cannot be used",
    RevocationKind.LATE.value: "its mint took effect late",
    RevocationKind.BY_HAND.value: "a person said so",
}
_ENDINGS = {Outcome.INTENDED: "intended", Outcome.FAILED: "failed", Outcome.UNKNOWN: "outcome unknown"}
"""What is said before the fields, by the words of `--outcome` and of the JSON. What succeeded needs none."""
_PLAIN = frozenset({"rotation_planned", "expiry_foreseen", "sign_in_end_foreseen"})
"""Events that say nothing before the fields: a plan is one, and a forecast has not failed."""
_OF_HOSTS = frozenset({"policy_changed", "settings_changed"})
"""Events about what each user and host has of its own: whose it is, is said first."""
WORDS: dict[str, Callable[[Detail], str]] = {
    "message": _word("{}"),
    "problem": _word("{}"),
    "damage": _word("{}"),
    "doubt": _word("{}"),
    "code": lambda value: str(value).replace("_", " "),
    "despite": lambda value: f"despite {str(value).replace('_', ' ')}",
    "authorization_id": _word("PAT {}"),
    "why": lambda value: f"because {_WHYS.get(str(value), str(value))}",
    "authorization_ids": _word("PATs {}"),
    "name": _word("of {}"),
    "kind": lambda value: str(value).replace("_", " "),
    "count": _counted("PAT"),
    "pats": _say_pats,
    "down": _word("down: {}"),
    "predecessor_id": _word("replaces {}"),
    "display_name": _word('display name "{}"'),
    "scope": _word("scopes {}"),
    "lifetime": _word("lifetime {}"),
    "due_at": _word("due {}", _say_time),
    "rule": _word("rule {}"),
    "secret_name": _word("secret {}"),
    "vault": _word("in {}", _say_host),
    "secret_version": _word("version {}"),
    "late_version": _word("the late version {}"),
    "committed_version": _word("the version before it {}"),
    "confirmed_version": _word("version {} may be replaced"),
    "secret_holds": lambda value: "the secret does not exist yet" if value == "absent" else f"it holds {value}",
    "tags": _word("tags {}"),
    "planned_valid_to": _word("to expire {}", _say_time),
    "valid_to": _word("expires {}", _say_time),
    "overlap_until": _word("the old PAT valid until {}", _say_time),
    "requested_at": _word("requested {}", _say_time),
    "requests": _counted("time"),
    "since": _word("since {}", _say_time),
    "succeeded_at": _word("last succeeded {}", _say_time),
    "ends_at": _word("ends {}", _say_time),
    "expires_at": _word("expires {}", _say_time),
    "began_at": _word("began {}", _say_time),
    "silent_seconds": _word("silent for {}", _say_seconds),
    "holder": _word("from {}"),
    "days": _counted("day ahead", "days ahead"),
    "learned_at": _word("learned {}", _say_time),
    "longest_seconds": _word("at most {}", _say_seconds),
    "at": _word("at {}", _say_time),
    "first_at": _word("the first at {}", _say_time),
    "last_at": _word("the last at {}", _say_time),
    "changes": _counted("change"),
    "numbers": _word("events {}"),
    "until": _word("until {}", _say_time),
    "lost_since": _word("nobody compared what came after {}", _say_time),
    "explained": _word("{} explained"),
    "foreign": _word("{} by others"),
    "lacking": _word("{} of ours missing"),
    "unreadable": _word("{} not readable"),
    "entry_id": _word("entry {}"),
    "purpose": _word("for {}"),
    "reads": _say_reads,
    "value": lambda value: f"its value: {str(value).replace('_', ' ')}",
    "on_leak": _word("on_leak: {}"),
    "seconds": _word("by {}", _say_seconds),
    "retry_seconds": _word("tried again in {}", _say_wait),
    "failures": _say_failures,
    "hooks": _word("hooks {}"),
    "by": _word("by {}"),
    "state": _word("while {}"),
    "old_name": _word("was {}"),
    "new_name": _word("is {}"),
    "before": _word("was {}"),
    "sha256": _word("now {}", _say_hash),
    "previous": _word("was {}", _say_hash),
    "timeline": _word("timeline {}"),
    "behind": _word("{} behind"),
    "unread": _word("{} not read"),
    "sequence": _word("event {}"),
    "size": _counted("event"),
    "entries": _counted("entry", "entries"),
    "first": _word("from event {}"),
    "last": _word("to {}"),
    "file": _word("in {}"),
    "missing": _word("lacks {}"),
    "installation": _word("installation {}"),
    "managed_pat": _word("{}"),
    "address": _word("at {}"),
    "lost_rotation_id": _word("rotation {}"),
    "method": lambda value: str(value).replace("_", " "),
    "username": _word("as {}"),
    "was_signed_in": lambda value: "was signed in" if value else "was not signed in",
    "version": _word("version {}"),
    "needs_restart": _word("needs a restart: {}"),
    "to": _word("to {}"),
    "cannot_work": _word("{} cannot be used"),
    "read_in": _word("secret {} holds it too"),
    "users": _counted("user"),
    "denied": _word("{} denied"),
    "skipped": _word("{} skipped"),
    "full_access": _word("{} with full access"),
    "long_lived": _word("{} long-lived"),
    "all_organizations": _say_organizations,
    "ownerless": _word("{} without a living owner"),
    "managed": _word("{} managed"),
    "finishing": _say_finishing,
    "thread": _word("thread {}"),
    "about": _word('"{}"'),
    "output": _word("it printed: {}"),
    "fix": _word("{}"),
    "reason": _word('because "{}"'),
}
"""How each field is said, in this order. `audit show` has those that are not here, and all of them as they are."""
UNSAID = frozenset(
    {"account", "organization", "severity", "delivery_id", "text", "key", "signature", "stack", "refused"}
    | {"asked_to"}
    | {"previous_hash", "head", "keeps", "kept", "kept_hash", "body_hash", "old_key", "new_key", "new_signature"}
)
"""The fields that say where it happened, or that nobody reads in a line. Ids of rotations and of answers too."""


def _say_nothing(_details: Mapping[str, Detail], _subject: str) -> str:
    return ""


def _say_skew(details: Mapping[str, Detail], subject: str) -> str:
    """A host's clock is so many `seconds` slow; that of a service is fast, as events.md says."""
    seconds = details["seconds"]
    is_ahead = (int(seconds or 0) < 0) is (subject == HOST)
    return f"its clock is {_say_seconds(abs(int(seconds or 0)))} {'fast' if is_ahead else 'slow'}"


def _say_unsaid_output(details: Mapping[str, Detail], _subject: str) -> str:
    """What a hook printed, unless the message has it."""
    output = str(details["output"])
    return "" if output in str(details.get("message") or "") else f"it printed: {output}"


def _say_over(details: Mapping[str, Detail], subject: str) -> str:
    """As the notification says it."""
    return f"over: {CONDITIONS[ConditionKind(str(details['kind']))].say_one(subject)}"


def _say_lasting(details: Mapping[str, Detail], _subject: str) -> str:
    """Why it lasts, which its message leaves out, and since when."""
    code = str(details.get("code") or "").replace("_", " ")
    return ", ".join(filter(None, [code, f"since {_say_time(details['since'])}"]))


def _say_doomed(details: Mapping[str, Detail], _subject: str) -> str:
    why, code = _WHYS.get(str(details["why"]), str(details["why"])), str(details.get("code") or "").replace("_", " ")
    if details["why"] == RevocationKind.ABANDONED.value and code == "value lost":
        return "because it is a clone whose value was lost"
    return f"because {why} ({code})" if code else f"because {why}"


_OWN: dict[str, dict[str, Callable[[Mapping[str, Detail], str], str]]] = {
    "clock_doubted": {"seconds": _say_skew},
    "condition_continued": {"since": _say_lasting},
    "condition_ended": {"kind": _say_over},
    "hook_failed": {"output": _say_unsaid_output},
    "revoke_started": {"code": _say_nothing, "why": _say_doomed},
    "revocation_requested": {"why": _say_nothing},
    "pat_revoked": {"why": _say_nothing},
}
"""How some events say a field, with their other fields and the subject. Why a PAT is revoked is said once, at first."""


def say_details(event: AuditEvent) -> str:
    """What the event says, in one line: how it ended, unless it succeeded, then its fields."""
    outcome = event.entry.outcome
    ending = _ENDINGS[outcome] if outcome in _ENDINGS and event.entry.event not in _PLAIN else ""
    whose = f"of {event.entry.actor}" if event.entry.event in _OF_HOSTS else ""
    said = say_fields(event.entry.event, event.entry.subject, event.entry.details)
    return clean(": ".join(filter(None, [ending, ", ".join(filter(None, [whose, said]))])))


def say_fields(event: str, subject: str, details: Mapping[str, Detail]) -> str:
    """The fields of an event in words, in an order of their own."""
    own = _OWN.get(event, {})
    said = [
        own[field](details, subject) if field in own else say(details[field])
        for field, say in WORDS.items()
        if details.get(field) not in (None, "") and not (field in ("code", "kind") and details.get("message"))
    ]
    return ", ".join(filter(None, said))
