"""Adopting PATs: show, ask, write, and report the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from rotator.cli.console import confirm, echo, print_json, progress, say
from rotator.cli.context import CliContext
from rotator.cli.exit_codes import DECLINED
from rotator.cli.failures import report_others
from rotator.cli.held_log import HeldLog
from rotator.cli.output.inventory import render_adoption, render_refusals
from rotator.cli.output.words import say_counts, say_pats
from rotator.cli.refusals import note_refusals
from rotator.cli.session import open_installation
from rotator.documents.adoption import make_adoption_document
from rotator.domain.policy import RuleAction
from rotator.domain.refusal import RefusalKind
from rotator.engine.adopting import AdoptionPlan, adopt, fits, propose
from rotator.engine.choices import Choice
from rotator.engine.context import RunContext
from rotator.engine.exit_codes import find_code_of_errors
from rotator.engine.explaining_refusals import Asked
from rotator.errors import UsageError
from rotator.settings.adoption_list import load_adoption_list

_MISNAMED = {RefusalKind.UNKNOWN, RefusalKind.AMBIGUOUS}
"""What is refused because the command line names no PAT, or several."""


@dataclass(frozen=True)
class Wish:
    """What `inventory adopt` was asked for."""

    references: tuple[str, ...]
    everything: bool
    dry_run: bool
    yes: bool
    choice: Choice
    choices: Mapping[str, Choice] = field(default_factory=dict)
    """What a file says of each PAT, by authorization id."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Where the file says it."""
    matching: tuple[str, ...] = ()
    """Globs of display names; everything else is left alone, as if it were not there."""

    @property
    def is_named(self) -> bool:
        """Whether the command line names each PAT, so that none is refused without an error."""
        return bool(self.references) and not self.lines

    @property
    def asked(self) -> Asked:
        """What a fix repeats of it."""
        given = (("--as", self.choice.name), ("--secret", self.choice.secret_name))
        return Asked("".join(f" {option} {value}" for option, value in given if value is not None), self.lines)


def make_listed_wish(path: Path, *, dry_run: bool, yes: bool) -> Wish:
    """Return the wish that a file describes. ConfigError with every bad line."""
    listed = load_adoption_list(path)
    choices = {
        pat.authorization_id: Choice(
            pat.name, pat.secret_name, pat.replace_foreign, pat.vault, pat.account, pat.organization
        )
        for pat in listed
    }
    lines = {pat.authorization_id: pat.line for pat in listed}
    return Wish(tuple(choices), False, dry_run, yes, Choice(), choices, lines)


def adopt_wished(cli: CliContext, wish: Wish) -> int:
    """Propose, show, ask if somebody can answer, write. Return the exit code."""
    with open_installation(cli) as installation:
        run = installation.make_run(cli.reason)
        with progress(cli, "asking Azure DevOps"):
            plan = propose(
                run,
                list(wish.references),
                everything=wish.everything,
                choice=wish.choice,
                choices=wish.choices,
                matching=wish.matching,
            )
        shown = len(plan.refusals)
        _check_matching(plan, wish)
        ask = cli.may_ask and not cli.as_json and not wish.yes and not wish.dry_run
        _show(cli, plan, run.services.clock.now(), wish, is_silent=cli.quiet and not (ask or wish.dry_run))
        if (plan.proposals or plan.confirmations) and ask and not confirm(cli, _make_question(plan)):
            say(cli, "Nothing was adopted.")
            return DECLINED
        written = bool(plan.proposals or plan.confirmations) and not wish.dry_run
        if written:
            plan = _write(cli, run, plan)
            _show_refusals(cli, plan, wish, shown)
    if cli.as_json:
        print_json(make_adoption_document(plan, run.run_id, dry_run=wish.dry_run, asked=wish.asked))
    if not cli.quiet and (said := _sum_up(plan, wish)):
        say(cli, said)
    done = bool(plan.proposals or plan.managed)
    if not done and not plan.errors and {refusal.kind for refusal in plan.refusals} & _MISNAMED:
        return UsageError.exit_code
    return find_code_of_errors(plan.errors, done=done, refused=bool(plan.refusals))


def _write(cli: CliContext, run: RunContext, plan: AdoptionPlan) -> AdoptionPlan:
    """Write what was shown. Why a PAT is blocked is not logged as well, unless the log was asked for with `-v`."""
    log = HeldLog(run.progress)
    if cli.as_json or cli.verbosity:
        log.release()
    try:
        return adopt(replace(run, progress=log), plan)
    finally:
        log.release(told={item.record.name for item in plan.proposals if item.effective.last_failure is not None})


def _make_question(plan: AdoptionPlan) -> str:
    if plan.proposals:
        return f"Adopt {say_pats(len(plan.proposals))}?"
    return "May rotator overwrite what these secrets hold now?"


def _check_matching(plan: AdoptionPlan, wish: Wish) -> None:
    """Raise UsageError for a glob that fits no PAT at all, where all were seen."""
    names = [pat.display_name for _, pat in plan.listed.values()]
    for pattern in wish.matching:
        if not plan.errors and not any(fits(name, pattern) for name in names):
            raise UsageError(
                f'no PAT has a display name that fits "{pattern}"',
                code=RefusalKind.UNKNOWN,
                fix="`rotator scan -o wide` lists the PATs with their ids.",
            )


def _show(cli: CliContext, plan: AdoptionPlan, now: datetime, wish: Wish, *, is_silent: bool) -> None:
    note_refusals(cli, ((None, error) for error in plan.errors))
    for line in () if is_silent else render_adoption(plan, now, everything=cli.verbosity > 0):
        say(cli, line)
    _show_refusals(cli, plan, wish)
    if not cli.as_json:
        report_others(cli, [("", error) for error in plan.errors])


def _show_refusals(cli: CliContext, plan: AdoptionPlan, wish: Wish, shown: int = 0) -> None:
    """Say what is not adopted, and why; with --json the document does."""
    for line in render_refusals(plan, wish.asked, shown, is_named=wish.is_named):
        if not cli.as_json:
            echo(line, err=wish.is_named)


def _sum_up(plan: AdoptionPlan, wish: Wish) -> str:
    if not plan.proposals and plan.managed:
        confirmed = len(plan.confirmations)
        if not confirmed:
            return "Nothing to adopt: managed already."
        return f"{confirmed} secret{'s' if confirmed > 1 else ''} {'would be ' if wish.dry_run else ''}confirmed."
    if not plan.proposals:
        covered = " There is no untracked PAT that a rule of the policy covers." if wish.everything else ""
        return "" if plan.refusals or plan.errors else f"Nothing to adopt.{covered}"
    count = say_pats(len(plan.proposals))
    if wish.dry_run:
        return f"{_say_watched(plan)}{count} would be adopted. A dry run: nothing was written."
    return f"{_say_watched(plan)}{count} adopted. Next: `rotator plan`."


def _say_watched(plan: AdoptionPlan) -> str:
    """Say what no run rotates, what is done with it instead, and how that ends."""
    blocked = sum(item.effective.blocked for item in plan.proposals)
    by_hand = sum(item.rule.action is RuleAction.ALERT for item in plan.proposals if not item.effective.blocked)
    if not blocked + by_hand:
        return ""
    said = say_counts({"blocked": blocked, "to replace by hand": by_hand})
    return (
        f"No run rotates {blocked + by_hand} of these PATs ({said}): rotator warns before they expire, and "
        "`rotator status --check` counts them as trouble. `rotator inventory forget NAME` ends that for one.\n"
    )
