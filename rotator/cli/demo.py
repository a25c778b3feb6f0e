"""`rotator sandbox demo`: the story of a rotation, told around the real commands as they run."""

from __future__ import annotations

import tempfile
import textwrap
import time
from datetime import datetime
from pathlib import Path

from rotator.cli.context import CliContext
from rotator.cli.demo_stage import Stage, make_failure
from rotator.cli.render import SCHEMA_VERSION, paint, print_json, progress, say, wrap
from rotator.domain.secret_value import SecretValue

PARTLY_FAILED = 3
OBSERVED = "team-feed"
"""The PAT whose consumers the demo plays."""
ROTATED = ("ci-build", "npm-feed", "release-notes", OBSERVED)
REAL_LIFE = """\
Now for a real organization:

  1. In Entra, register an application: allow public client flows, add the
     delegated permission Azure DevOps > user_impersonation, and let an
     administrator consent to it.
  2. rotator init                     asks six questions, writes two files
     rotator config check             both files, every problem with its line
     rotator db upgrade               the inventory database
  3. rotator login build-bot          you sign in, once; no password is kept
  4. rotator scan                     read-only
     rotator inventory adopt --all    writes to our own database only
     rotator plan                     changes nothing
  5. An hourly line for cron, and the tokens look after themselves:
     17 * * * *  rotator --config /etc/rotator/rotator.yaml once --quiet
"""


def run_demo(cli: CliContext) -> None:
    """Tell the whole story; RotatorError `demo_failed` as soon as something does not go as told."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rotator-demo-") as folder:
        say(cli, paint("rotator, shown on a sandbox", "cyan"))
        tell(
            cli,
            "Builds that use Azure DevOps personal access tokens (PATs) break when these expire. rotator replaces "
            "each in time, puts the new one into Azure Key Vault, and revokes the old one only when its consumers "
            "have moved on. Everything here is real but the services: stand-ins of Microsoft Entra, Azure DevOps "
            "and Key Vault run on this computer, and nothing leaves it.",
        )
        note_start(cli, "rotator sandbox up --dir .  &")
        with Stage(Path(folder)) as stage:
            Story(cli, stage).tell_all()
    say(cli)
    say(cli, REAL_LIFE)
    say(cli, f"The demo took {time.monotonic() - started:.0f} seconds, and left nothing behind.")
    if cli.as_json:
        print_json({"schema_version": SCHEMA_VERSION, "rotated": list(ROTATED), "verified": True})


def tell(cli: CliContext, text: str) -> None:
    """A paragraph of the story."""
    say(cli)
    say(cli, wrap(text))


def note_start(cli: CliContext, command: str) -> None:
    """The command line, as one would type it."""
    say(cli)
    say(cli, paint(f"$ {command}", "green"))


class Story:
    """The steps in order. Each shows its command, tells what it means, and checks that it is so."""

    def __init__(self, cli: CliContext, stage: Stage) -> None:
        self._cli = cli
        self._stage = stage
        self._cached = stage.create_pat(OBSERVED, "vso.packaging")
        self._secret_name = f"{stage.organization}-{OBSERVED}"
        self._before: dict[str, list[str]] = {}

    def tell_all(self) -> None:
        """From the sign-in to the verified audit."""
        for step in (self.sign_in, self.adopt, self.rotate, self.overlap, self.revoke, self.prove):
            step()

    def sign_in(self) -> None:
        """A person signs in once, by device code."""
        self._head("1. Sign in, once")
        self._run("db", "upgrade")
        self._tell(
            "A database on this host remembers which PATs are managed and what was begun. Now a person signs in "
            "for the account build-bot: rotator shows a code, the person enters it in a browser anywhere."
        )
        seen: dict[str, str] = {}

        def hear(line: str) -> None:
            self._show(line)
            word, _, value = line.partition(" ")
            seen[word.lower()] = value.strip()
            if line.startswith("Waiting"):
                self._stage.approve(seen["open"], seen["enter"])
                self._show("(the demo plays the person: it opens that page, enters the code, chooses")
                self._show("build-bot@contoso.com there and approves)")

        note_start(self._cli, "rotator login build-bot --device-code")
        self._expect(self._stage.run("login", "build-bot", "--device-code", hear=hear), (0,), "the sign-in")
        self._tell("From here on the sign-in is kept fresh unattended. No password was typed here, and none is kept.")

    def adopt(self) -> None:
        """See what there is, and take it under management."""
        self._head("2. See what there is, and take it over")
        self._run("scan")
        self._tell(
            "That only looked. Five PATs expire within days; one has full access and one is valid for all "
            "organizations: those two need a human. Adopting writes to rotator's own database and nowhere else."
        )
        self._run("inventory", "adopt", "--all")
        self._before = self._stage.list_active()
        self._check(all(len(self._before.get(name, [])) == 1 for name in ROTATED), "every PAT is there once")

    def rotate(self) -> None:
        """Plan, then do it."""
        self._head("3. Plan, then rotate")
        self._run("plan")
        self._tell("A plan changes nothing and says why for each PAT. Now the same for real, as cron would run it:")
        code = self._run("once", allowed=(0, PARTLY_FAILED))
        states = self._states()
        self._check(all(states.get(name) == "overlapping" for name in ROTATED), "all four are rotated")
        self._tell(
            "For each of the four: a clone with the same name, scope and organization was made, proved by signing "
            "in with it, written to the vault, and read back."
            + (
                f" The exit code is {code}, partly failed: what needs a human is never reported as success."
                if code
                else ""
            )
        )

    def overlap(self) -> None:
        """Old and new are valid side by side."""
        self._head("4. Nobody is cut off")
        active = self._stage.list_active()
        self._check(all(len(active[name]) == 2 for name in ROTATED), "old and new live side by side")
        self._tell(f"Two consumers use {OBSERVED}. One read its value long ago and holds on to it, one asks the vault:")
        self._show_consumers(cached=True)
        self._wait()

    def revoke(self) -> None:
        """The old ones go."""
        self._head("5. Revoke the old ones")
        self._run("once", allowed=(0, PARTLY_FAILED))
        active = self._stage.list_active()
        for name in ROTATED:
            is_new = len(active.get(name, [])) == 1 and active[name] != self._before[name]
            self._check(is_new, f"of {name} only the new PAT is left")
        self._tell("Before each revocation rotator read the vault once more and signed in with what it found there.")
        self._show_consumers(cached=False)

    def prove(self) -> None:
        """What is left, and that the record of it is intact."""
        self._head("6. What there is to show for it")
        self._run("status")
        states = self._states()
        self._check(all(states.get(name) == "ok" for name in ROTATED), "all four are ok")
        self._run("audit", "verify")
        self._tell(
            "Every sign-in, adoption, intent and result is one line of a log in which each line seals the one "
            "before it. Had one been altered or removed, this would name it."
        )

    def _head(self, text: str) -> None:
        say(self._cli)
        say(self._cli, paint(text, "cyan"))
        say(self._cli, paint("-" * len(text), "cyan"))

    def _tell(self, text: str) -> None:
        tell(self._cli, text)

    def _show(self, line: str) -> None:
        # What is wider than a page is folded as a terminal would, but between words and indented.
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        say(
            self._cli,
            textwrap.fill(line, 80, subsequent_indent=indent, break_on_hyphens=False) if len(line) > 80 else line,
        )

    def _run(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> int:
        note_start(self._cli, f"rotator {' '.join(arguments)}")
        code = self._stage.run(*arguments, hear=self._show)
        self._expect(code, allowed, f"`rotator {' '.join(arguments)}`")
        return code

    def _expect(self, code: int, allowed: tuple[int, ...], what: str) -> None:
        if code not in allowed:
            raise make_failure(f"{what} ended with exit code {code}")

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            raise make_failure(f"it is not so that {what}")

    def _states(self) -> dict[str, str]:
        return {str(token["name"]): str(token["state"]) for token in self._tokens()}

    def _tokens(self) -> list[dict[str, object]]:
        tokens = self._stage.ask("status")["tokens"]
        return tokens if isinstance(tokens, list) else []

    def _show_consumers(self, *, cached: bool) -> None:
        """Both consumers try their luck; `cached` is whether the old value must still be accepted."""
        current = self._stage.read_vault(self._secret_name)
        self._check(not current.same_as(self._cached), "the vault holds a new value")
        say(self._cli)
        for who, value, expected in (
            ("holds on to the old value", self._cached, cached),
            ("reads the vault", current, True),
        ):
            self._check(self._try(who, value) is expected, f"the consumer that {who} is treated right")
        if not cached:
            self._tell(
                "The forgotten copy of the old value is worthless now. Real overlaps are hours or days, longer than "
                "any consumer caches; here it was seconds."
            )

    def _try(self, who: str, value: SecretValue) -> bool:
        accepted = self._stage.is_accepted(value)
        say(self._cli, f"  {who:<27} -> {'let in' if accepted else 'refused'}")
        return accepted

    def _wait(self) -> None:
        """Wait until the longest overlap is over, by the sandbox's clock."""
        ends = [str(token["revoke_after"]) for token in self._tokens() if token["revoke_after"]]
        if not ends:
            raise make_failure("no PAT is in its overlap")
        left = (max(map(datetime.fromisoformat, ends)) - self._stage.now()).total_seconds() + 1.5
        self._tell(f"Both work. The overlap of this sandbox ends in {max(left, 0):.0f} seconds; the demo waits.")
        with progress(self._cli, "waiting for the overlap to end") as update:
            while left > 0:
                update(f"waiting for the overlap to end: {left:.0f} s")
                time.sleep(min(left, 1.0))
                left -= 1.0
