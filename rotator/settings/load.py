"""Find, read and check `rotator.yaml` and `policy.yaml`. All problems of a file are reported together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from rotator.domain.hook import HookTerms
from rotator.domain.policy import Policy
from rotator.errors import ConfigError
from rotator.settings.addresses import is_loopback, parse_listening
from rotator.settings.explain import make_problems
from rotator.settings.fields import Section, make_settings_context
from rotator.settings.model import Settings
from rotator.settings.paths import expand_home
from rotator.settings.policy_checks import (
    Finding,
    PolicyParts,
    find_conflicts,
    find_unknown_hooks,
    find_warnings,
    make_policy,
)
from rotator.settings.policy_model import DefaultsSection, GuardrailsSection, PolicyFile, RuleSection
from rotator.settings.problem import Location, Problem, show_path
from rotator.settings.reference import policy_schema, settings_schema
from rotator.settings.schema import find_schema, is_secret
from rotator.settings.secrets import SecretSource
from rotator.settings.sound import find_sound
from rotator.settings.source import Source, read_source

SETTINGS_NAME = "rotator.yaml"
SYSTEM_SETTINGS = Path("/etc/rotator") / SETTINGS_NAME
_INIT = "Run `rotator init` to write one, or name yours with --config or ROTATOR_CONFIG."
_UNREACHED = "cannot be reached"
_POLICY_FIX = "Run `rotator init` to write one, or correct `policy` in rotator.yaml."
_SectionType = TypeVar("_SectionType", bound=Section)


def find_settings(explicit: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """The settings file: `explicit`, then `ROTATOR_CONFIG`, then `cwd`, then /etc/rotator.

    ConfigError when the named one, or none of the usual ones, is there; it says where it looked.
    """
    named = environ.get("ROTATOR_CONFIG", "")
    for path, origin in ((explicit, "--config"), (Path(named) if named else None, "ROTATOR_CONFIG")):
        if path is None:
            continue
        try:
            path = cwd / expand_home(path)
        except ValueError as error:
            raise ConfigError([f"{origin}: {error}"], fix=_INIT) from None
        if fault := _find_fault(path):
            raise ConfigError([f"the settings file {show_path(path)}, named by {origin}, {fault}"], fix=_INIT)
        return path
    usual = (cwd / SETTINGS_NAME, SYSTEM_SETTINGS)
    for path in usual:
        fault = _find_fault(path)
        if not fault:
            return path
        if fault.startswith(_UNREACHED):
            raise ConfigError([f"the settings file {show_path(path)} {fault}"], fix=_INIT)
    raise ConfigError([f"no settings file found: looked for {' and '.join(map(str, usual))}"], fix=_INIT)


def _find_fault(path: Path) -> str:
    """What is wrong with it as a file, in words; nothing if that is none of it. Its content is not looked at."""
    try:
        return "" if path.is_file() else "is not a file" if path.exists() else "does not exist"
    except OSError as error:  # a folder on the way that this user may not enter, or a name too long
        return f"{_UNREACHED}: {error.strerror}"


def load_settings(path: Path) -> Settings:
    """The settings, with absolute paths. ConfigError with all problems. No secret is fetched yet."""
    checked = _check_settings(path)
    if checked.settings is None:
        raise ConfigError(checked.source.render(checked.problems), fix=f"Correct {show_path(path)}.")
    return checked.settings


def load_policy(path: Path, hooks: tuple[HookTerms, ...] = ()) -> Policy:
    """The policy, with the SHA-256 of the file's bytes, and the settings' hooks. ConfigError with all problems."""
    policy, problems, _ = _check_policy(path, hooks)
    if policy is None:
        raise ConfigError(problems, fix=f"Correct {show_path(path)}.")
    return policy


def find_written_at(path: Path) -> datetime | None:
    """Return when a file was last written; None when it is gone."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def load_warnings(path: Path) -> list[str]:
    """What in a policy is valid but may be unintended; rendered, and empty while it has problems."""
    return _check_policy(path, None)[2]


def check_files(settings_path: Path, find_more: Callable[[Settings], Iterable[Finding]] = lambda _: ()) -> list[str]:
    """All problems of the settings and of the policy that they name, rendered; empty when both are right.

    `find_more` looks at what the settings name. Where they have problems it is given what is right of them.
    """
    try:
        checked = _check_settings(settings_path)
        problems = checked.source.render([*checked.problems, *checked.find_more(find_more)])
    except ConfigError as error:
        return list(error.problems)
    try:
        return problems + _check_policy(checked.policy_path, checked.list_hooks())[1]
    except ConfigError as error:
        return problems + error.problems


@dataclass(frozen=True)
class _CheckedSettings:
    """The settings if they are right by themselves, their problems, and the policy file that they name."""

    source: Source
    settings: Settings | None
    problems: list[Problem]
    policy_path: Path

    def find_more(self, find: Callable[[Settings], Iterable[Finding]]) -> list[Problem]:
        """Return the problems with what the settings name, except with what is in their place where they are wrong."""
        if not isinstance(self.source.data, dict):
            return []
        sound = find_sound(self.source.data, make_settings_context(self.source.path))
        found = [(sound.find_place(location), message) for location, message in find(sound.settings)]
        return [self.source.problem_at(*each) for each in found if each[0] not in sound.left_out]

    def list_hooks(self) -> tuple[HookTerms, ...] | None:
        """Return every hook that has a name, right or not: the policy may name it. None if the file cannot be read."""
        data = self.source.data
        return (
            tuple(HookTerms(name, ()) for _, name in _list_names(data.get("hooks"))) if isinstance(data, dict) else None
        )


def _check_settings(path: Path) -> _CheckedSettings:
    folder = path.absolute().parent
    source = read_source(path, what="settings", fix=_INIT, is_secret=_is_secret_setting)
    problems = list(source.problems)
    settings: Settings | None = None
    policy_path = folder / _find_policy(None)
    if isinstance(source.data, dict):
        try:
            settings = Settings.model_validate(source.data, context=make_settings_context(path))
        except ValidationError as error:
            problems += make_problems(error, source, settings_schema())
        problems += [source.problem_at(*finding) for finding in _find_settings_conflicts(source.data)]
        policy_path = folder / _find_policy(source.data.get("policy"))
    return _CheckedSettings(source, None if problems else settings, problems, policy_path)


def _find_policy(named: object) -> Path:
    """The policy file by the settings; the usual one where they do not say, or say what is told already."""
    try:
        return expand_home(named) if isinstance(named, str) and named else Path("policy.yaml")
    except ValueError:
        return Path("policy.yaml")


def _is_secret_setting(location: Location, value: object) -> bool:
    """Whether a value must not be shown: a secret that is not a reference, or an unknown key."""
    part = find_schema(settings_schema(), location)
    references = {source.value for source in SecretSource} - {SecretSource.LITERAL.value}
    is_reference = isinstance(value, dict) and bool(value) and set(value) <= references
    is_plain_address = location == ("database",) and isinstance(value, str) and not re.search("@|password", value)
    return is_secret(part) and not is_plain_address and not (is_reference and part is not None)


def _find_settings_conflicts(data: Mapping[str, object]) -> Iterator[Finding]:
    """Conflicts between values that are each valid."""
    listen = data.get("listen")
    if isinstance(listen, str) and data.get("listen_public") is not True and not _is_private(listen):
        yield (
            ("listen",),
            f'"{listen}" can be reached from other hosts, and whoever reaches it reads the names of all PATs: '
            "listen on 127.0.0.1, or say listen_public: true",
        )
    yield from _find_namesakes("notify", data.get("notify"))
    yield from _find_namesakes("hooks", data.get("hooks"), "notify", data.get("notify"))
    accounts = data.get("accounts")
    yield from _find_namesakes("accounts", accounts)
    key_vault = data.get("key_vault")
    credential = key_vault.get("credential") if isinstance(key_vault, dict) else None
    audit = data.get("audit")
    signing = audit.get("signing_key") if isinstance(audit, dict) else None
    if credential == "account" and isinstance(signing, dict) and "key_vault" in signing:
        yield (
            ("audit", "signing_key"),
            "cannot come from Key Vault while key_vault.credential is account: it is needed while nobody is signed in",
        )
    for index, account in enumerate(accounts if isinstance(accounts, list) else []):
        if not isinstance(account, dict):
            continue
        location: Location = ("accounts", index)
        secrets = [key for key in ("client_secret", "client_certificate") if account.get(key) is not None]
        if len(secrets) == 2:
            yield (*location, "client_certificate"), "cannot be used together with client_secret: keep one of them"
        for key in secrets:
            if credential == "account" and isinstance(account[key], dict) and "key_vault" in account[key]:
                yield (
                    (*location, key),
                    "cannot come from Key Vault while key_vault.credential is account: "
                    "the account signs in with it before it can read a vault",
                )


def _find_namesakes(section: str, entries: object, other: str = "", others: object = None) -> Iterator[Finding]:
    """Entries with the name of one before them, or of one of another section."""
    first_uses: dict[str, str] = {name: f"{other}[{index}]" for index, name in _list_names(others)}
    for index, name in _list_names(entries):
        place = f"{section}[{index}]"
        if first_uses.setdefault(name, place) != place:
            yield (section, index, "name"), f'"{name}" is already the name of {first_uses[name]}'


def _list_names(entries: object) -> list[tuple[int, str]]:
    found = enumerate(entries if isinstance(entries, list) else [])
    named = [(index, entry.get("name")) for index, entry in found if isinstance(entry, dict)]
    return [(index, name) for index, name in named if isinstance(name, str)]


def _is_private(listen: str) -> bool:
    """Whether only this host can reach an address, or it is none, which is told already."""
    try:
        return is_loopback(parse_listening(listen))
    except ValueError:
        return True


def _check_policy(path: Path, hooks: tuple[HookTerms, ...] | None) -> tuple[Policy | None, list[str], list[str]]:
    """The policy if it is right, its problems, and what deserves a look; both rendered. None: no hook is looked up."""
    source = read_source(path, what="policy", fix=_POLICY_FIX)
    problems: list[Problem] = list(source.problems)
    file: PolicyFile | None = None
    if isinstance(source.data, dict):
        try:
            file = PolicyFile.model_validate(source.data)
        except ValidationError as error:
            problems += make_problems(error, source, policy_schema())
        parts = _make_parts(source.data)
        unknown = () if hooks is None else find_unknown_hooks(parts, hooks)
        namesakes = _find_namesakes("rules", source.data.get("rules"))
        findings = dict(reversed([*namesakes, *find_conflicts(parts), *unknown]))
        taken = {problem.location for problem in problems}
        problems += [source.problem_at(*each) for each in findings.items() if each[0] not in taken]
    if problems or file is None:
        return None, source.render(problems), []
    warnings = dict(reversed(list(find_warnings(file))))
    shown = source.render([source.problem_at(*each) for each in warnings.items()])
    return make_policy(file, source.content, hooks or ()), [], shown


def _make_parts(data: Mapping[str, object]) -> PolicyParts:
    """Check each part on its own, so that a wrong one does not hide conflicts among the others."""
    rules = data.get("rules")
    return PolicyParts(
        _validate(DefaultsSection, data.get("defaults")),
        [_validate(RuleSection, rule) for rule in rules] if isinstance(rules, list) else [],
        _validate(GuardrailsSection, data.get("guardrails")),
    )


def _validate(section: type[_SectionType], data: object) -> _SectionType | None:
    try:
        return section.model_validate({} if data is None else data)
    except ValidationError:
        # Told already: the file was validated as a whole before.
        return None
