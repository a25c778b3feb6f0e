"""The hooks: made from the settings, called by the daemon's job or at the end of a run, tested."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rotator.documents.hook import HookTest, make_hook_document
from rotator.domain.hook import HookEvent, make_test_event
from rotator.domain.job_run import JobName
from rotator.domain.monitoring_errors import HookError
from rotator.engine.hooking import HookMemory, call_hooks, load_failing
from rotator.engine.isolating import naming_bugs
from rotator.engine.report import PatOutcome, RunReport
from rotator.engine.stalled import BY_ONCE, watching
from rotator.errors import ConfigError, NotManagedError, RotatorError, StoppedError, UsageError

if TYPE_CHECKING:
    from rotator.engine.context import RunContext
    from rotator.ports.hook import Hook
    from rotator.settings.policy_checks import Finding
    from rotator.settings.sections.hooks import HookSettings
    from rotator.wiring.installation import Installation


def make_hooks(installation: Installation) -> tuple[Hook, ...]:
    """Return the hooks of the settings. ConfigError for a secret that is missing."""
    return tuple(_make_hook(installation, hook) for hook in installation.settings.hooks)


def _make_hook(installation: Installation, hook: HookSettings) -> Hook:
    from rotator.adapters.child_group import ChildGroups
    from rotator.adapters.hooks import CommandHook, WebhookHook
    from rotator.adapters.notify.webhook import SignedPost

    terms = hook.make_terms()
    if hook.command:
        groups = ChildGroups(installation.boot_clock, installation.stop)
        folder = installation.settings_path.absolute().parent
        return CommandHook(terms, hook.command, hook.timeout, os.environ, folder, groups, render)
    if hook.url is None:
        raise AssertionError("the settings refuse a hook without a command or a url")
    secret = None if hook.secret is None else installation.resolve(hook.secret)
    http = replace(installation.make_http(), total_timeout=hook.timeout)
    return WebhookHook(
        terms, SignedPost(installation.resolve(hook.url), secret, http, installation.clock, "hooks"), render
    )


def render(event: HookEvent, delivery_id: str) -> bytes:
    """Return what a hook reads on its stdin, or gets in a POST."""
    return json.dumps(make_hook_document(event, delivery_id), ensure_ascii=False).encode()


def call_at_end(run: RunContext, hooks: Sequence[Hook], report: RunReport) -> None:
    """Make the calls that are due at the end of a run that no daemon does, and report those that failed.

    Without hooks too: what was wrong with one that is no longer in the settings ends.
    """
    try:
        with watching(run, JobName.HOOKS, BY_ONCE), naming_bugs("the run is over all the same"):
            call_hooks(run, hooks, HookMemory())
        with run.services.database.read() as reading:
            for call in load_failing(reading, hooks):
                report.add(PatOutcome.of_hook(call))
    except RotatorError as error:
        report.add(PatOutcome.of_hooks(error))
    except StoppedError:
        return  # what waits is called by the next run


def try_hooks(installation: Installation, name: str | None) -> Iterator[HookTest]:
    """Call each hook with a test, or the named one. UsageError when there is none."""
    from rotator.adapters.clock import SystemEntropy

    hooks = make_hooks(installation)
    chosen = [hook for hook in hooks if name in (None, hook.terms.name)]
    if not chosen:
        known = ", ".join(hook.terms.name for hook in hooks)
        raise UsageError(
            "no hook is configured" if name is None else f'"{name}" is not a configured hook',
            code="none_configured" if name is None else NotManagedError.code,
            fix=f"There are: {known}." if known else "Add one under `hooks` in the settings.",
        )
    for hook in chosen:
        made = make_test_event(hook.terms.name, installation.clock.now())
        try:
            with naming_bugs("the other hooks were called"):
                yield HookTest(hook.terms.name, output=hook.call(made, SystemEntropy().make_id()))
        except RotatorError as error:
            output = error.output if isinstance(error, HookError) else None
            yield HookTest(hook.terms.name, output=output or None, error=error)


def find_unusable_hooks(installation: Installation) -> Iterable[Finding]:
    """Find hooks that cannot be called at all, for `config check`: where each stands, and what is wrong."""
    for index, hook in enumerate(installation.settings.hooks):
        try:
            _make_hook(installation, hook).check()
        except ConfigError:
            continue
        except HookError as error:
            yield ("hooks", index, "command", 0), f"{error.message}. {error.fix}"
