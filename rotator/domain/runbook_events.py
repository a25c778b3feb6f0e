"""What a person reads about each event that a person must act on, and that begins no condition; and all entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rotator.domain.advice import NAME, SUBJECT, Advice
from rotator.domain.condition import ConditionKind
from rotator.domain.events.catalogue import EVENTS as ALL_EVENTS
from rotator.domain.events.daemon import DaemonCrashed, ThreadDied
from rotator.domain.events.deliveries import NotificationRefused
from rotator.domain.events.event import Event, SubjectKind
from rotator.domain.events.hooks import HookCallDropped
from rotator.domain.events.places import SignInEndForeseen
from rotator.domain.events.rotations import RotationClosed, VanishedPatReplaced
from rotator.domain.events.service_log import (
    LeakReported,
    OutsideChangeFound,
    OwnChangesUnlisted,
    ServiceLogLost,
)
from rotator.domain.runbook import CONDITIONS

EVENTS: Mapping[type[Event], Advice] = {
    SignInEndForeseen: Advice(
        one="the sign-in of {subject} ends soon",
        many="{count} sign-ins end soon",
        meaning="An earlier sign-in of the account ended after a certain time, and this one is about to be as old; or "
        "nothing refreshes it.",
        otherwise="From then on the account must sign in again, and none of its PATs is rotated until it does.",
        command="rotator login {subject}",
        fix="Let the person sign in again now, at a time of their choice.",
        mends=True,
    ),
    VanishedPatReplaced: Advice(
        one="{subject} was revoked outside rotator, and was replaced",
        many="{count} PATs were revoked outside rotator, and were replaced",
        meaning="Azure DevOps no longer listed the PAT as active and refused the value in its secret, although rotator "
        "had not revoked it. Its rule says `on_leak: rotate`, so a new value is in the secret. If the old PAT turns up "
        "again, it is reported as left behind.",
        otherwise="Consumers work again when they have read the new value. If the old PAT leaked, the new one may leak "
        "in the same way.",
        command="rotator audit list --name {subject} --since 2d",
        fix="Find out who revoked it. If nobody in your team did, it may be public: call your security team, and "
        "look for it in repositories, "
        "logs and build output.",
    ),
    DaemonCrashed: Advice(
        one="a daemon of {subject} ended without a stop",
        many="{count} daemons ended without a stop",
        meaning="The process was killed, ran out of memory, was restarted by its watchdog, or died of a bug in "
        "rotator. Another one finishes what was interrupted: nothing is lost. If it only stood still, or was cut off "
        "from the database, it says so when it goes on (`daemon_returned`).",
        otherwise="Once is no harm. If it happens again and again, rotations come late.",
        command="rotator audit list --event daemon_crashed",
        fix="Look at the end of its log, as with `journalctl -u rotator`, and at what the system says of killed "
        "processes. Report a traceback.",
    ),
    ThreadDied: Advice(
        one="a thread of the daemon of {subject} died",
        many="{count} threads of daemons died",
        meaning="A part of the daemon ended because of a bug in rotator. If it did the jobs, another one does them.",
        otherwise="The daemon keeps working. If that thread served the metrics, systemd's watchdog restarts it.",
        command="rotator audit list --event thread_died",
        fix="Report the `stack` of the line `thread_died` in the daemon's log. If a job makes no progress, restart "
        "the daemon.",
    ),
    RotationClosed: Advice(
        one="a rotation of {subject} was closed unfinished",
        many="{count} rotations were closed unfinished",
        meaning="The managed PAT left the inventory while a rotation was open. Nothing was revoked.",
        otherwise="What the rotation left alive is reported as left behind, and stays valid until it expires.",
        command="rotator recover --dry-run",
        fix="Look at what was left behind, and revoke what nobody uses.",
    ),
    HookCallDropped: Advice(
        one="a call of the hook {subject} was dropped",
        many="{count} calls of hooks were dropped",
        meaning="The call failed ten times, or the webhook refused it as it is, or the event cannot be read, or the "
        "hook left the settings first.",
        otherwise="What the hook would have done for that event is not done.",
        command="rotator audit list --event hook_call_dropped",
        fix="Read in the audit log which event it was about, and do by hand what the hook does.",
    ),
    NotificationRefused: Advice(
        one="a notification to {subject} was set aside",
        many="{count} notifications were set aside",
        meaning="The receiver takes other notifications and refuses this one, or it cannot be made from the audit log.",
        otherwise="Nobody hears of it through this receiver. If the problem lasts, the next reminder reports it.",
        command="rotator audit list --event notification_refused",
        fix="Read in the audit log what it was about, and deal with that problem.",
    ),
    LeakReported: Advice(
        one="Azure DevOps reports that a PAT of {subject} may have leaked",
        many="Azure DevOps reports for {count} accounts and organizations that a PAT may have leaked",
        meaning="Azure DevOps' own audit log says that a PAT was found in a public place, or that the service itself "
        "revoked it. The event names the PAT, and says whether the value that consumers read still signs in.",
        otherwise="A value that still signs in can be used by whoever found it. One that is refused is replaced by a "
        "run if its rule says `on_leak: rotate`; otherwise its consumers fail.",
        command="rotator audit list --event leak_reported",
        fix="Run `rotator rotate {name}`, then `rotator revoke {name} --previous`, which ends the overlap at once. If "
        "rotator does not manage the PAT, revoke it in Azure DevOps. Find "
        "out where the value was published, and who may have used it.",
    ),
    OutsideChangeFound: Advice(
        one="somebody else than rotator changed a PAT of {subject}",
        many="somebody else than rotator changed PATs of {count} accounts and organizations",
        meaning="Azure DevOps' own audit log has a PAT that was minted, changed or revoked for the account, and "
        "rotator did not do that. The event says who did, when, and what the PAT is called.",
        otherwise="It stays as it is. If nobody in your team did it, somebody else can sign in as the account's user.",
        command="rotator audit list --event outside_change_found",
        fix="Ask who did it. If nobody did, end the user's sessions in Entra, and revoke the PAT in Azure DevOps.",
    ),
    OwnChangesUnlisted: Advice(
        one="Azure DevOps' own log lacks changes that rotator made for {subject}",
        many="Azure DevOps' own log lacks changes that rotator made for {count} accounts and organizations",
        meaning="The audit log of rotator has mints or revocations that the one of Azure DevOps should have too, and "
        "does not. Auditing may have been off for a time, or one of the two logs is not true.",
        otherwise="Nothing breaks. The two logs do not prove each other for that time.",
        command="rotator audit list --event own_changes_unlisted",
        fix="Look at the events that it names, and ask an administrator of the organization whether auditing was off.",
    ),
    ServiceLogLost: Advice(
        one="the audit log of Azure DevOps cannot be compared for {subject}",
        many="the audit logs of Azure DevOps cannot be compared for {count} accounts and organizations",
        meaning="It could be compared before. Now the account may not read the organization's audit log, or auditing "
        "is off there.",
        otherwise="All rotations go on. What others do to its PATs shows only where it looks itself.",
        command="rotator audit reconcile --dry-run",
        fix="Do what the command says; or set `daemon.audit_reconcile` to null if nobody needs the comparison.",
    ),
}
"""By event, for those that begin no condition although a person must act."""


def list_entries() -> Iterator[tuple[str, Advice]]:
    """Yield every entry of the runbook with its name: what lasts, then the events."""
    for kind in ConditionKind:
        yield kind.value, CONDITIONS[kind]
    for event, advice in EVENTS.items():
        yield event.type.name, advice


def find_entry_name(name: str) -> str:
    """Return the name of the entry that an event's name belongs to: of what it begins. Any other name stays."""
    begun = (event.type.begins for event in ALL_EVENTS if event.type.name == name)
    return next((kind.value for kind in begun if kind is not None), name)


def explain_other_event(name: str) -> str | None:
    """Return what an event says that no entry is about; None for any other name."""
    entries = {entry for entry, _ in list_entries()}
    found = next((event for event in ALL_EVENTS if event.type.name == name and name not in entries), None)
    return None if found is None else " ".join((found.__doc__ or "").split())


def describe(name: str) -> str:
    """Return how bad what an entry is about is and, of what lasts, whether a person must end it."""
    about = [event.type for event in ALL_EVENTS if event.type.begins == name or event.type.name == name]
    begun = [event for event in about if event.begins == name] or about
    severity = " or ".join(sorted({event.severity.value for event in begun})).capitalize()
    if begun[0].begins != name:
        return f"{severity}."
    person = "until a person acts" if any(event.needs_person for event in begun) else "and may pass by itself"
    return f"{severity}; it lasts {person}."


def group_reasons(advice: Advice) -> list[tuple[list[str], str]]:
    """Return what the causes mean, each with all its codes."""
    codes: dict[str, list[str]] = {}
    for code, reason in advice.reasons.items():
        codes.setdefault(reason, []).append(code)
    return [(names, reason) for reason, names in codes.items()]


def fill(name: str, text: str) -> str:
    """Return a text of an entry with what its subject is called: a PAT is called by its id, all else by a name."""
    about = next(event for event in ALL_EVENTS if name in (event.type.begins, event.type.name))
    said = text.replace(SUBJECT, "ID" if about.type.subject is SubjectKind.PAT else "NAME")
    return said.replace(NAME, "NAME")
