"""What is said of a PAT or a secret that was refused: why, and what a person can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rotator.domain.managed_pat import Failure
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.domain.sight import Holding
from rotator.engine.explaining import explain_sight

_RUN_FIRST = "Run `rotator once` first."


@dataclass(frozen=True)
class Asked:
    """How PATs were asked for, so that a fix asks for the same: by `options`, or by the lines of a file, by id."""

    options: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)


BY_NOTHING = Asked()


def explain_refusal(refusal: Refusal, asked: Asked = BY_NOTHING) -> Failure:
    """Return why a PAT cannot be adopted, or a record cannot be rebuilt, and who must do what."""
    if refusal.failure is not None:
        return refusal.failure
    said = _say_accounted(refusal) or _say_choice(refusal, asked) or _say_rebuild(refusal)
    return Failure(refusal.kind.value, *said)


def _say_accounted(refusal: Refusal) -> tuple[str, str] | None:
    """Say that something accounts for the PAT already."""
    name, identifier = refusal.name, refusal.reference
    match refusal.kind:
        case RefusalKind.MANAGED:
            return (
                f"it is managed already, as {name}",
                f"To give it another name: `rotator inventory rename {name} NEW`.",
            )
        case RefusalKind.ROTATING:
            return f"an unfinished rotation of {name} uses it", _RUN_FIRST
        case RefusalKind.MANAGED_BEFORE:
            return (
                "it was managed before, and a person forgot it",
                f"To manage it again: `rotator inventory adopt {identifier}`.",
            )
        case RefusalKind.KEPT:
            return (
                f"a rotation of {name} replaced it, and did not revoke it",
                f"When nobody uses it any more: `rotator recover --revoke {identifier}`.",
            )
        case RefusalKind.LEFT_BEHIND:
            return (
                f"a failed rotation of {name} left it behind",
                f"If nobody uses it: `rotator recover --revoke {identifier}`. To adopt it as another PAT, "
                f"`rotator inventory forget {name}` first.",
            )
        case RefusalKind.REVOCATION_PENDING:
            return (
                f"it should have been revoked for {name}; each run tries again",
                "If it is needed, adopt it by its id.",
            )
        case RefusalKind.SERVED:
            return (
                f"secret {refusal.secret_name} in {refusal.vault} of {name} holds it, but this database is older",
                "If the database was restored from a backup, run `rotator inventory rebuild`.",
            )
        case RefusalKind.BEING_REVOKED:
            what = "its PAT" if refusal.secret_name else "it"
            if not name:
                return f"{what} is being revoked by an administrator", "If it still works in an hour, try again."
            return f"{what} is being revoked for {name}", "If it is needed, try again in a few minutes."
        case RefusalKind.SENT_MINT:
            return f"a rotation of {name} may have made it", _RUN_FIRST
        case RefusalKind.POSSIBLE_MINT:
            return (
                f"a rotation of {name} may have made it, or a person",
                f"If a person uses it, adopt it by its id; if nobody does: `rotator recover --revoke {identifier}`.",
            )
        case _:
            return None


def _say_choice(refusal: Refusal, asked: Asked) -> tuple[str, str] | None:
    """Say that what was asked for is not clear, not covered or not free."""
    match refusal.kind:
        case RefusalKind.AMBIGUOUS:
            ids = ", ".join(f"{i} ({place})" for i, place in zip(refusal.ids, refusal.organizations, strict=True))
            return (
                f'{len(refusal.ids)} PATs are called "{refusal.reference}": {ids}',
                "Name the one you mean by its authorization id.",
            )
        case RefusalKind.UNKNOWN:
            return (
                "no untracked active PAT has this authorization id or display name",
                "`rotator scan -o wide` lists the PATs with their ids.",
            )
        case RefusalKind.UNSEEN:
            return (
                "it is in none of the lists that could be fetched",
                "Fix what could not be checked, as said below, then try again.",
            )
        case RefusalKind.NO_RULE | RefusalKind.IGNORED:
            is_ignored = refusal.kind is RefusalKind.IGNORED
            why = f"rule {refusal.rule} says ignore" if is_ignored else "no rule in the policy covers it"
            return why, "Change the policy so that a rule covers it."
        case RefusalKind.NAME_TAKEN:
            return f"the name {refusal.name} is taken", "Choose another one."
        case RefusalKind.PLACE_TAKEN:
            whose = (
                f"would be that of {', '.join(refusal.ids)} too"
                if refusal.ids
                else f"belongs to {refusal.name} already"
            )
            return (
                f"secret {refusal.secret_name} in {refusal.vault} {whose}",
                f"Make secret_name of rule {refusal.rule} distinct, with {{name}}, or choose one with --secret."
                if refusal.reference not in asked.lines
                else f"Choose another secret in line {asked.lines[refusal.reference]} of the file.",
            )
        case RefusalKind.ELSEWHERE:
            return (
                f"it is managed already, as {refusal.name}, with secret {refusal.secret_name} in {refusal.vault}",
                f"To give it another secret, `rotator inventory forget {refusal.name}` first. Its consumers must read "
                "the new secret before the overlap of its first rotation there is over.",
            )
        case RefusalKind.MISPLACED:
            return (
                f"it is a PAT of {', '.join(refusal.organizations)}, not of the account or organization that was given",
                "Correct it, or leave both out.",
            )
        case RefusalKind.SOMETHING_ELSE:
            holds = explain_sight(refusal.sight) if refusal.sight is not None else "something else"
            return (
                f"secret {refusal.secret_name} in {refusal.vault} holds {holds}",
                f"If it may be overwritten: {_say_again(refusal, asked, may_replace=True)}",
            )
        case RefusalKind.OCCUPIED | RefusalKind.LIST_INCOMPLETE:
            return _say_occupied(refusal, asked)
        case RefusalKind.SAME_NAME:
            return (
                f'"{refusal.display_name}" would have the same name as {", ".join(refusal.ids)}, and rotator '
                "cannot tell which one consumers use",
                f"Choose for each: `rotator inventory adopt {refusal.reference} --as NAME --secret NAME`.",
            )
        case _:
            return None


def _say_again(refusal: Refusal, asked: Asked, *, may_replace: bool) -> str:
    """Say what adopts it all the same, onto the secret that was asked for."""
    line = asked.lines.get(refusal.reference)
    if line is None:
        options = asked.options + (" --replace-foreign" if may_replace else "")
        return f"`rotator inventory adopt {refusal.reference}{options}`; else choose another secret with --secret NAME."
    way = f"set replace_foreign to true in line {line} of the file" if may_replace else "adopt the file again"
    return f"{way}; else choose another secret in {'that line' if may_replace else f'line {line}'}."


def _say_occupied(refusal: Refusal, asked: Asked) -> tuple[str, str]:
    sight, again = refusal.sight, _say_again(refusal, asked, may_replace=False)
    place = f"secret {refusal.secret_name} in {refusal.vault}"
    if refusal.kind is RefusalKind.LIST_INCOMPLETE:
        return (
            f"{place} holds a PAT of the account's user, which may be the one that could not be read in the server's "
            "list",
            f"If it holds this PAT: {again}",
        )
    holds = explain_sight(sight) if sight is not None else "something"
    if sight is not None and sight.holding is Holding.OURS:
        holds += f" for another PAT, {sight.authorization_id or 'which nothing names'}"
    return f"{place} holds {holds}", f"If it may be overwritten: {again}"


def _say_rebuild(refusal: Refusal) -> tuple[str, str]:
    """Say why no record can be made from a secret."""
    place = f"secret {refusal.secret_name} in {refusal.vault}"
    dead = f"{place} holds {', '.join(refusal.ids)}, which the server does not list as active"
    match refusal.kind:
        case RefusalKind.FOREIGN_TAGS:
            return f"{place} has tags that rotator does not write", (
                "Find out who writes this secret, then adopt its PAT."
            )
        case RefusalKind.PAT_GONE:
            return dead, "Create a PAT, write its value to the secret and adopt it, or find out who revoked this one."
        case RefusalKind.ROTATION_KNOWN:
            return dead, "The database knows the rotation that wrote it: `rotator once` says what to do."
        case RefusalKind.STILL_VALID:
            return dead, (
                "It still authenticates, so another user's installation shares the secret: remove it from one of them."
            )
        case RefusalKind.VALUE_COPIED:
            return (
                f"the newest version of {place} has rotator's tags, but not the value that rotator wrote with them",
                (
                    "Find out which tool copies or rolls back this secret, and stop it. Then run "
                    f"`rotator rotate {refusal.reference}` if the PAT is managed; if not, write the right value "
                    "without tags and adopt its PAT."
                ),
            )
        case RefusalKind.TWO_SECRETS:
            return f"{place} names it, and so does {refusal.other_secret}", (
                f"Remove the tags of the one that is no longer used, or `rotator inventory forget {refusal.reference}`."
            )
        case RefusalKind.TWIN_UNREAD:
            return f"{place} may be a copy: the secret of its PAT may be what could not be read", (
                "Run it again when everything can be read. A vault that is gone for good must leave policy.yaml first."
            )
        case RefusalKind.ACCOUNT_RENAMED:
            return f'{place} was written for account "{refusal.name}", which the settings do not name', (
                "If the account was renamed, give it its old name back in rotator.yaml, then rebuild again."
            )
        case RefusalKind.MANAGED_AS:
            return f"its PAT or its secret is managed already, as {refusal.name}", (
                f"`rotator inventory forget {refusal.name}`, then rebuild again."
            )
        case _:
            return "its PAT belongs to a rotation of another managed PAT", (
                "Run `rotator once` until it is finished, then rebuild again."
            )
