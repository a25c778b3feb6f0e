"""Examine an installation: every check is made, several at a time, whatever becomes of the others. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from rotator.domain.checkup import CheckResult, Remark, fail, praise
from rotator.domain.words import say_count
from rotator.engine.checkup.patient import Check, Look, Patient
from rotator.engine.isolating import naming_bugs
from rotator.errors import ConfigError, RotatorError, SignInRequiredError

AT_ONCE = 16
"""How many looks are taken at a time: one at a service that is slow holds up nobody else's."""
_MOST_NAMES = 6
_GOES_ON = "the other checks were made"


@dataclass
class _Found:
    """A remark. If it is an error: `where` it was met first, and the looks that the same error `kept_from`."""

    name: str
    remark: Remark
    where: str = ""
    kept_from: list[str] = field(default_factory=list)


def examine(patient: Patient, stages: Sequence[Sequence[Check]]) -> tuple[CheckResult, ...]:
    """Make every check, stage by stage, and return what they say, in the order of the table.

    One cause is one line: an error that several looks met is said once, with what it kept from being looked at.
    """
    found: list[_Found] = []
    pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="check")
    try:
        for stage in stages:
            for each in _look_at_all(pool, patient, stage):
                _add(found, each)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return tuple(CheckResult(each.name, _finish(each)) for each in found)


def _look_at_all(pool: ThreadPoolExecutor, patient: Patient, stage: Sequence[Check]) -> Iterator[_Found]:
    plans = [(check, pool.submit(_plan, check, patient)) for check in stage]
    waiting: list[tuple[Check, list[Future[list[_Found]]], list[_Found]]] = []
    for check, plan in plans:
        planned = plan.result()
        if isinstance(planned, _Found):
            waiting.append((check, [], [planned]))
        else:
            waiting.append((check, [pool.submit(_take, check.name, look) for look in planned], []))
    for check, looks, found in waiting:
        found += [each for look in looks for each in look.result()]
        if check.all_well and looks and not found:
            said = f"{say_count(len(looks), check.name)} checked: {check.all_well}"
            found.append(_Found(check.name, praise("", said)))
        yield from found


def _plan(check: Check, patient: Patient) -> list[Look] | _Found:
    try:
        with naming_bugs(_GOES_ON):
            return list(check.plan(patient))
    except RotatorError as error:
        return _make_error(check.name, "", error)


def _take(name: str, look: Look) -> list[_Found]:
    found: list[_Found] = []
    try:
        with naming_bugs(_GOES_ON):
            found.extend(_Found(name, remark) for remark in look.act())
    except RotatorError as error:
        found.append(_make_error(name, look.subject, error))
    return found


def _make_error(name: str, subject: str, error: RotatorError) -> _Found:
    about = error.account if isinstance(error, SignInRequiredError) else subject
    message = error.message
    if isinstance(error, ConfigError):  # a problem that has a place goes on with its source line
        message = "; ".join(problem.splitlines()[0] for problem in error.problems)
    return _Found(name, fail(about, message, error.fix), where=f"{name} {subject}".strip())


def _add(found: list[_Found], new: _Found) -> None:
    """Add what was found, unless it is an error that is there already."""
    said = (new.remark.message, new.remark.fix)
    known = next((each for each in found if each.where and (each.remark.message, each.remark.fix) == said), None)
    if not new.where or known is None:
        found.append(new)
    else:
        known.kept_from.append(new.where)


def _finish(found: _Found) -> Remark:
    """Say what else the error was met at: others of the same check were asked too, other checks were not made."""
    names = list(dict.fromkeys(found.kept_from))
    same = [name for name in names if found.where.partition(" ")[2] and name.split()[0] == found.name]
    others = _shorten([name for name in names if name not in same])
    more = f"the same for: {', '.join(name.partition(' ')[2] for name in same)}" if same else ""
    said = "; ".join(filter(None, (more, f"so not checked: {', '.join(others)}" if others else "")))
    return replace(found.remark, message=f"{found.remark.message} ({said})") if said else found.remark


def _shorten(names: list[str]) -> list[str]:
    """Name the checks alone where there are many looks; every check is named."""
    return names if len(names) <= _MOST_NAMES else list(dict.fromkeys(name.split()[0] for name in names))
