"""`rotator init`: the first settings and policy, and the keys of the token cache and of the audit log."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli.console import ending_line, note, print_json, say, say_command
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.exporting import NamedPath
from rotator.cli.unit_steps import say_unit_steps
from rotator.documents.configuration import make_init_document
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.domain.secret_value import SecretValue

Answers = dict[str, str | list[str]]

KEY_NAME = "token-cache.key"
SIGNING_NAME = "audit-signing.key"
SCHEMAS = {"rotator.yaml": "rotator.schema.json", "policy.yaml": "policy.schema.json"}
"""The two files, and for each what an editor checks it by."""
QUESTIONS = {
    "tenant": "Entra tenant (its id, or a domain such as contoso.com)",
    "client_id": "Application (client) id of the app registration",
    "username": "User whose PATs are to be kept alive (build-bot@contoso.com)",
    "organizations": "Azure DevOps organization (or several, with commas)",
    "vault": "Key Vault (its name, or its https address)",
    "account": "Your name for this account",
}
FLAGS = {
    "tenant": "--tenant",
    "client_id": "--client-id",
    "username": "--username",
    "organizations": "--organization",
    "vault": "--vault",
    "account": "--account",
}


@click.command(
    epilog=examples(
        "rotator init",
        "rotator init --directory /etc/rotator",
        "rotator init --directory /etc/rotator --systemd    with units, alerting rules and a dashboard",
        "rotator init --no-input --tenant contoso.com --vault contoso-kv \\",
        "    --client-id 3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906 \\",
        "    --username build-bot@contoso.com --organization contoso",
    )
)
@click.option("--tenant", metavar="ID", help="The Entra tenant: its id or one of its domains.")
@click.option("--client-id", metavar="ID", help="The application (client) id of the app registration.")
@click.option("--username", metavar="NAME", help="The user whose PATs are to be kept alive.")
@click.option(
    "--organization",
    "organizations",
    metavar="NAME",
    multiple=True,
    help="An Azure DevOps organization. May be given several times.",
)
@click.option("--vault", metavar="NAME", help="The Key Vault: its name or its https address.")
@click.option("--account", metavar="NAME", help="Your name for the account. Default: the user name up to the @.")
@click.option(
    "--directory",
    metavar="DIR",
    type=NamedPath(),
    default=Path(),
    help="Folder to write to. Default: this one.",
)
@click.option("--force", is_flag=True, help="Replace rotator.yaml and policy.yaml. The keys are kept.")
@click.option(
    "--systemd",
    "has_units",
    is_flag=True,
    help="Also write units, alerting rules and a dashboard to DIR/systemd. Settings that are there stay.",
)
@common_options
@click.pass_obj
def init(
    cli: CliContext, /, directory: Path, force: bool, has_units: bool, **given: str | tuple[str, ...] | None
) -> None:
    """Write a commented rotator.yaml and policy.yaml, their schemas for editors, and two keys.

    One key encrypts the sign-ins, the other signs the checkpoints of the audit log.

    Asks for what the options leave out. Never asks for or writes a password or an Azure secret.
    """
    names = ("rotator.yaml", "policy.yaml", *SCHEMAS.values(), KEY_NAME, SIGNING_NAME)
    targets = {name: directory / name for name in names}
    if has_units and not force and is_there(targets["rotator.yaml"]):
        _note_unused(cli, given)
        _report(cli, write_units(directory / "systemd"), account="")
        if not cli.as_json:
            say_unit_steps(cli, directory, "ACCOUNT")
        return
    check_targets(targets, force=force)
    answers = complete(cli, {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()})
    made, public_key = write_files(targets, answers)
    written = [str(targets[name]) for name in made]
    if has_units:
        written += write_units(directory / "systemd")
    _report(cli, written, str(answers["account"]))
    if not cli.as_json:
        say(cli, f"public key of the audit log: {public_key}")
        say(cli, "    Give it to whoever reviews the log; rotator.yaml has it as `audit.public_key`.")
        say_next_steps(cli, directory, str(answers["account"]))
        if has_units:
            say_unit_steps(cli, directory, str(answers["account"]))


def _report(cli: CliContext, written: list[str], account: str) -> None:
    if cli.as_json:
        print_json(make_init_document(written, account))
        return
    for path in written:
        say(cli, f"wrote {path}")


def check_targets(targets: Mapping[str, Path], *, force: bool) -> None:
    """Refuse to overwrite what is there, and a key that is no file."""
    there = [str(targets[name]) for name in SCHEMAS if is_there(targets[name])]
    odd = [str(path) for path in targets.values() if is_there(path) and path.exists() and not path.is_file()]
    if odd and (force or not there):
        raise UsageError(
            f"{' and '.join(odd)} {'is' if len(odd) == 1 else 'are'} there, and no file; nothing was written",
            code="already_there",
            fix="Move it away, or choose another folder with --directory.",
        )
    if there and not force:
        raise UsageError(
            f"{' and '.join(there)} already exist{'s' if len(there) == 1 else ''}; nothing was written",
            code="already_there",
            fix="Choose another folder with --directory, or replace them with --force.",
        )


def is_there(path: Path) -> bool:
    """Whether there is anything of that name: a link that leads nowhere is somebody's, too."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _make_unwritable(error) from None
    return True


def _note_unused(cli: CliContext, given: Mapping[str, str | tuple[str, ...] | None]) -> None:
    """Say which options would go into settings that are there, and stay."""
    flags = [flag for key, flag in FLAGS.items() if given[key]]
    if flags:
        note(cli, f"warning: rotator.yaml is there and stays: {', '.join(flags)} changed nothing")


def complete(cli: CliContext, given: Mapping[str, str | list[str] | None]) -> Answers:
    """Check what was given, and ask for the rest on a terminal. UsageError with all that is wrong or missing."""
    answers, wrong = check_flags(given)
    for key, question in QUESTIONS.items():
        if given[key] or wrong:
            continue
        if key == "account" and (not cli.may_ask or "username" not in answers):
            continue
        if cli.may_ask:
            default = (make_account_name(str(answers["username"])) or None) if key == "account" else None
            with ending_line():
                answers[key] = click.prompt(
                    question, default=default, err=True, value_proc=lambda text, key=key: check_value(key, text)
                )
    missing = [FLAGS[key] for key in QUESTIONS if key not in answers and key not in wrong and key != "account"]
    if wrong:
        lacking = [f"missing: {', '.join(missing)}"] if missing and not cli.may_ask else []
        raise UsageError("; ".join([*wrong.values(), *lacking]), code="flag_invalid", fix="Correct it.")
    if missing:
        raise UsageError(
            f"missing: {', '.join(missing)}",
            code="flags_missing",
            fix="Give them, or run this on a terminal to be asked.",
        )
    if "account" not in answers:
        answers["account"] = find_account_name(str(answers["username"]))
    return answers


def find_account_name(username: str) -> str:
    """The account's name where nobody says one. UsageError when the user name gives none."""
    try:
        return str(check_value("account", make_account_name(username)))
    except click.UsageError as error:
        raise UsageError(
            f"the user name gives the account no name: {error.message}",
            code="flags_missing",
            fix="Name the account with --account.",
        ) from None


def make_account_name(username: str) -> str:
    """The first part of a user name, as far as an account's name may hold it."""
    return "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in username.split("@")[0]).strip("-")


def check_flags(given: Mapping[str, str | list[str] | None]) -> tuple[Answers, dict[str, str]]:
    """The values of the flags that were given, and what is wrong with the others."""
    answers: Answers = {}
    wrong: dict[str, str] = {}
    for key in QUESTIONS:
        value = given[key]
        if value:
            try:
                answers[key] = check_value(key, value)
            except click.UsageError as error:
                wrong[key] = f"{FLAGS[key]}: {error.message}"
    return answers, wrong


def check_value(key: str, value: str | list[str]) -> str | list[str]:
    """The value as it goes into the files; click.UsageError, which makes click ask again, when it cannot be used."""
    from pydantic import ValidationError

    from rotator.settings.addresses import parse_vault
    from rotator.settings.sections.accounts import AccountSettings

    sample = {
        "name": "sample",
        "tenant": "organizations",
        "client_id": "00000000-0000-0000-0000-000000000000",
        "username": "user@contoso.com",
        "organizations": ["contoso"],
    }
    if key == "vault":
        text = str(value).strip()
        try:
            address = text if "." in text else f"{text}.vault.azure.net"
            return parse_vault(address if "://" in address else f"https://{address}")
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if key == "organizations" and isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    value = value.strip() if isinstance(value, str) else value
    try:
        AccountSettings.model_validate({**sample, "name" if key == "account" else key: value})
    except ValidationError as error:
        message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise click.UsageError(message) from None
    return value


def write_files(targets: Mapping[str, Path], answers: Answers) -> tuple[list[str], str]:
    """Write the files; the names of those written, and the public key of the log.

    A key that is there already is kept: what it did depends on it.
    """
    from cryptography.fernet import Fernet

    from rotator.domain.secret_value import SecretValue
    from rotator.settings.reference import policy_schema, settings_schema
    from rotator.settings.templates import fill_template, load_template
    from rotator.wiring.first_files import make_folder, write_text
    from rotator.wiring.sealing import find_public_key, make_signing_key

    _check_keys(targets)
    try:
        make_folder(targets[KEY_NAME].parent)
        written = [
            name
            for name, make in (
                (KEY_NAME, lambda: SecretValue(Fernet.generate_key().decode() + "\n")),
                (SIGNING_NAME, make_signing_key),
            )
            if make_key(targets[name], make)
        ]
        public_key = find_public_key(SecretValue(targets[SIGNING_NAME].read_text(encoding="utf-8")))
        for name in ("policy.yaml", "rotator.yaml"):
            text = fill_template(load_template(name), answers | {"public_key": public_key})
            write_text(targets[name], f"# yaml-language-server: $schema={SCHEMAS[name]}\n{text}")
            written.insert(0, name)
        for name, schema in (("rotator.yaml", settings_schema()), ("policy.yaml", policy_schema())):
            write_text(targets[SCHEMAS[name]], json.dumps(schema, indent=2) + "\n")
            written.append(SCHEMAS[name])
    except OSError as error:
        raise _make_unwritable(error) from None
    return written, public_key


def _check_keys(targets: Mapping[str, Path]) -> None:
    """Refuse a key that is there and is none, before anything is written."""
    from cryptography.fernet import Fernet

    from rotator.domain.secret_value import SecretValue
    from rotator.wiring.sealing import find_public_key

    checks: tuple[tuple[str, str, Callable[[SecretValue], object]], ...] = (
        (KEY_NAME, "key of a token cache", lambda key: Fernet(key.reveal().strip())),
        (SIGNING_NAME, "signing key", find_public_key),
    )
    for name, what, check in checks:
        try:
            if targets[name].exists():
                check(SecretValue(targets[name].read_text(encoding="utf-8")))
        except OSError as error:
            raise _make_unwritable(error) from None
        except ValueError:
            raise UsageError(
                f"{targets[name]} is there, and is no {what}; nothing was written",
                code="key_unusable",
                fix="Move it away, or choose another folder with --directory.",
            ) from None


def write_units(folder: Path) -> list[str]:
    """Write the files for systemd and for monitoring; what was written. They are rotator's own, and replaced."""
    from rotator.settings.templates import load_units
    from rotator.wiring.first_files import make_folder, write_text

    written = []
    try:
        for name, text in load_units().items():
            make_folder((folder / name).parent)
            write_text(folder / name, text)
            written.append(str(folder / name))
    except OSError as error:
        raise _make_unwritable(error) from None
    return written


def _make_unwritable(error: OSError) -> UsageError:
    return UsageError(
        f"{error.filename} cannot be written: {error.strerror}",
        code="not_writable",
        fix="Choose a folder that you may write to, with --directory.",
    )


def make_key(target: Path, make: Callable[[], SecretValue]) -> bool:
    """Write a new key, readable by its owner alone. False if there is one."""
    from rotator.wiring.first_files import write_key

    if target.exists():
        return False
    write_key(target, make().reveal())
    return True


def say_next_steps(cli: CliContext, directory: Path, account: str) -> None:
    """What to do now."""
    say(cli)
    say(cli, "Next:")
    if directory.resolve() != Path.cwd():
        say_command(cli, f"export ROTATOR_CONFIG={shlex.quote(str(directory.resolve() / 'rotator.yaml'))}")
    for command, meaning in (
        ("rotator config check", "every problem in the two files, with its line"),
        ("rotator db upgrade", "create the inventory database"),
        (f"rotator login {account}", "sign in, once"),
        ("rotator doctor", "is everything there? changes nothing"),
        ("rotator scan", "see which PATs there are; read-only"),
        ("rotator inventory adopt --all", "manage the PATs that the policy covers"),
        ("rotator plan", "see what a run would do; changes nothing"),
        ("rotator daemon", "do it, all the time; or `rotator once`, hourly, from a timer or cron"),
    ):
        say(cli, f"  {command:<31} {meaning}")
