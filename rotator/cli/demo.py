"""`rotator sandbox demo`: tells the story of a rotation while the real commands run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from rotator.cli.console import fold, paint, print_json, progress, say
from rotator.cli.context import CliContext
from rotator.cli.demo_stage import Stage, find_demo_width, make_failure
from rotator.documents.sandbox import make_demo_document
from rotator.domain.secret_value import SecretValue

PARTLY_FAILED = 3
SIGN_IN_NEEDED = 10
OBSERVED = "team-feed"
"""The PAT whose consumers the demo simulates."""
KEPT = "deploy-feed"
"""The PAT that the daemon takes care of, from its adoption to the end of its overlap."""
ROTATED = ("ci-build", "npm-feed", "release-notes", OBSERVED)
REAL_LIFE = """\
Now for a real organization:

  1. In Entra, register an application: allow public client flows, add the
     delegated permission Azure DevOps > user_impersonation, and have an
     administrator consent to it.
  2. rotator init --directory /etc/rotator
                                      asks a few questions, writes the settings
     rotator config check             shows every problem with its line
     rotator db upgrade               creates the inventory database
  3. rotator login build-bot          sign in once; no password is stored
  4. rotator scan                     only reads
     rotator inventory adopt --all    writes to rotator's database only
     rotator plan                     changes nothing
  5. rotator daemon                   keeps the PATs alive, as a service:
                                      see systemd/README.md. Or with cron:
   ROTATOR_CONFIG=/etc/rotator/rotator.yaml
   17 * * * * flock -n $HOME/rotator.lock /opt/rotator/bin/rotator once --quiet
"""


def run_demo(cli: CliContext) -> None:
    """Tell the whole story; raise RotatorError `demo_failed` as soon as something does not happen as described."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rotator-demo-") as folder:
        say(cli, paint("rotator, demonstrated on a sandbox", "cyan"))
        tell(
            cli,
            "Builds that use Azure DevOps personal access tokens (PATs) break when the PATs expire. rotator replaces "
            "each PAT in time, stores the new value in Azure Key Vault, and revokes the old PAT only when its "
            "consumers have had time to switch. The commands below are real; the services are not: stand-ins for "
            "Microsoft Entra, Azure DevOps and Key Vault run on this computer, and nothing leaves it.",
        )
        note_start(cli, "rotator sandbox up --dir .  &")
        with Stage(Path(folder)) as stage:
            story = Story(cli, stage)
            story.tell_all()
            page = Path(tempfile.mkdtemp(prefix="rotator-demo-report-"), "report.html")
            told = story.review(page)
    say(cli)
    say(cli, REAL_LIFE)
    say(cli, f"The demo took {time.monotonic() - started:.0f} seconds. It left one file, made for a reviewer:")
    note_start(cli, f"rotator audit report --output {page}")
    for line in told:
        say(cli, line)
    if cli.as_json:
        print_json(make_demo_document(ROTATED))


def tell(cli: CliContext, text: str) -> None:
    """Print a paragraph of the story."""
    say(cli)
    say(cli, fold(text, find_demo_width(), hang=""))


def note_start(cli: CliContext, command: str) -> None:
    """Print a command line as a user would type it."""
    say(cli)
    say(cli, paint(f"$ {command}", "green"))


class Story:
    """The steps in order. Each shows its command, says what it means, and checks that it is true."""

    def __init__(self, cli: CliContext, stage: Stage) -> None:
        self._cli = cli
        self._stage = stage
        self._cached = stage.create_pat(OBSERVED, "vso.packaging")
        self._secret_name = f"{stage.organization}-{OBSERVED}"
        self._before: dict[str, list[str]] = {}

    def tell_all(self) -> None:
        """Tell every step, from the sign-in to the day when a person is needed."""
        for step in (
            self.sign_in,
            self.adopt,
            self.rotate,
            self.overlap,
            self.revoke,
            self.prove,
            self.keep,
            self.hear,
        ):
            step()

    def sign_in(self) -> None:
        """Sign a person in once, by device code."""
        self._head("1. Sign in, once")
        self._run("db", "upgrade")
        self._tell(
            "A database on this host records which PATs are managed and what was started. Now a person signs in as "
            "the account build-bot: rotator shows a code, and the person enters it in a browser on any computer."
        )
        seen: dict[str, str] = {}

        def hear(line: str) -> None:
            self._show(line)
            word, _, value = line.partition(" ")
            seen[word.lower()] = value.strip()
            if line.startswith("Waiting"):
                self._stage.approve(seen["open"], seen["enter"])
                self._show("(the demo acts as the person: it opens that page, enters the code, chooses")
                self._show("build-bot@contoso.com and approves)")

        note_start(self._cli, "rotator login build-bot --device-code")
        self._expect(self._stage.run("login", "build-bot", "--device-code", hear=hear), (0,), "the sign-in")
        self._tell("From now on rotator keeps the sign-in fresh, unattended. It never sees or stores a password.")

    def adopt(self) -> None:
        """Show which PATs exist, and adopt them."""
        self._head("2. See what there is, and manage it")
        self._run("scan")
        self._tell(
            "scan only reads. Most of these PATs expire within a week. Three need a person: old-admin has full "
            "access, nightly-everywhere is valid for all organizations, and the policy leaves deploy-manual to one. "
            "Adopting writes to rotator's own database and nowhere else."
        )
        self._run("inventory", "adopt", "--all")
        self._before = self._stage.list_active()
        self._check(
            all(len(self._before.get(name, [])) == 1 for name in ROTATED), "there is one active PAT of each name"
        )

    def rotate(self) -> None:
        """Plan, then rotate."""
        self._head("3. Plan, then rotate")
        self._run("plan")
        self._tell("A plan changes nothing. It says for each PAT what would happen, and why. Now do it, as cron would:")
        code = self._run("once", allowed=(0, PARTLY_FAILED))
        states = self._states()
        self._check(all(states.get(name) == "overlapping" for name in ROTATED), "all four are rotated")
        self._tell(
            "For each of the four, rotator minted a clone with the same name, scope and organization, proved that it "
            "works, wrote it to the vault, and read it back. The lines with a time are "
            "the log, shortened: they name PATs that need a person."
            + (
                f" Exit code {code} means partly failed: rotator never reports success while a PAT needs a person."
                if code
                else ""
            )
        )

    def overlap(self) -> None:
        """Show that the old and the new PAT are both valid."""
        self._head("4. The overlap: no consumer breaks")
        active = self._stage.list_active()
        self._check(all(len(active[name]) == 2 for name in ROTATED), "the old and the new PAT are both valid")
        self._tell(f"Two consumers use {OBSERVED}. One cached the value long ago; the other reads the vault:")
        self._show_consumers(cached=True)
        self._wait()

    def revoke(self) -> None:
        """Revoke the old PATs."""
        self._head("5. Revoke the old PATs")
        self._run("once", allowed=(0, PARTLY_FAILED))
        active = self._stage.list_active()
        for name in ROTATED:
            is_new = len(active.get(name, [])) == 1 and active[name] != self._before[name]
            self._check(is_new, f"only the new PAT of {name} is left")
        self._tell("Before each revocation, rotator read the vault again and proved that the value there works.")
        self._show_consumers(cached=False)

    def prove(self) -> None:
        """Show what is left, and that the audit log is intact."""
        self._head("6. Check the result")
        self._run("status")
        states = self._states()
        self._check(all(states.get(name) == "ok" for name in ROTATED), "all four are ok")
        self._run("audit", "verify", "--all")
        self._tell(
            "Every sign-in, adoption, intent and result is one event of this log, and each event holds a hash of the "
            "one before it. If an event had been changed or removed, this command would name it."
        )

    def keep(self) -> None:
        """Let the daemon take care of one more PAT, and stop it."""
        self._head("7. Let it run")
        old = self._stage.create_pat(KEPT, "vso.packaging")
        self._tell(
            "A hook is a command of your own that is called when something happens, here to restart a build agent. "
            "It is required, so the old PAT stays valid until it has succeeded, and for a whole overlap after that. "
            "Added to rotator.yaml:"
        )
        self._show_text(self._stage.add_hook())
        note_start(self._cli, "rotator daemon  &")
        with self._stage.run_daemon() as daemon:
            log = daemon.follow()
            self._follow(log, {"daemon_started"})
            self._tell(f"Meanwhile a person adopts {KEPT}, a PAT that expires in three days.")
            self._run("inventory", "adopt", KEPT)
            note_start(self._cli, "kill -USR1 %2")
            daemon.work_now()
            self._follow(log, {"hook_succeeded", "rotation_completed", "pat_revoked"})
            self._tell(
                "Without the signal, the daemon would have looked within a minute. It woke again by itself "
                "soon after the overlap was over, and revoked the old PAT. A hook is told where the value is, and "
                "never the value. Now stop the daemon; it first finishes what is under way:"
            )
            note_start(self._cli, "kill %2")
            self._expect(daemon.stop(), (0,), "`rotator daemon`")
        new = self._stage.read_vault(f"{self._stage.organization}-{KEPT}")
        self._check(self._stage.is_accepted(new), f"the new value of {KEPT} works")
        self._check(not self._stage.is_accepted(old), f"the old value of {KEPT} is refused")

    def hear(self) -> None:
        """Let Entra refuse the sign-in, and show what the people on call are sent."""
        self._head("8. Be told when a person is needed")
        with self._stage.receiving() as receiver:
            self._tell(
                "Whoever is on call is told, by chat, mail or webhook; here by a webhook to the demo itself. Added to "
                "rotator.yaml:"
            )
            self._show_text(self._stage.add_receiver(receiver.url))
            self._tell("Then somebody changes build-bot's password, which ends its sign-in.")
            self._stage.end_sign_in()
            self._run("once", "--quiet", allowed=(SIGN_IN_NEEDED,))
            told = receiver.find("sign_in_needed")
        self._tell("This was sent, once for all PATs of the account. A second message says when it is over.")
        self._show_text(f"{told['title']}\n\n{told['text']}")

    def review(self, page: Path) -> list[str]:
        """Write the page for a reviewer of all that happened, and return what the command says: path and summary."""
        told: list[str] = []
        self._expect(self._stage.run("audit", "report", "--output", str(page), hear=told.append), (0,), "the report")
        self._check(page.is_file(), "the report is written")
        return told

    def _follow(self, log: Iterator[dict[str, str]], wanted: set[str]) -> None:
        """Show what the daemon says of the PAT, the hook and itself, until it has told all of these events."""
        left = set(wanted)
        say(self._cli)
        for line in log:
            said = {
                "hook_succeeded": f": {line.get('output')}",
                "overlap_started": ": it waits for the hook",
                "overlap_released": ": it waits no longer, and ends in a few seconds",
            }
            if line["event"] in said:
                say(self._cli, _say_logged(line) + said[line["event"]])
            elif line.get("name") == KEPT or "daemon" in line:
                say(self._cli, _say_logged(line))
            left.discard(line["event"])
            if not left:
                return
        raise make_failure(f"the daemon ended before {' and '.join(sorted(left))}")

    def _head(self, text: str) -> None:
        say(self._cli)
        say(self._cli, paint(text, "cyan"))
        say(self._cli, paint("-" * len(text), "cyan"))

    def _tell(self, text: str) -> None:
        tell(self._cli, text)

    def _show(self, line: str) -> None:
        """Show a line of a command; of one of the log, which is JSON, when it happened, what and to whom."""
        if line.startswith("{"):
            logged = json.loads(line)
            line = f"{_say_logged(logged)} {logged.get('name', '')}".rstrip()
        say(self._cli, fold(line, find_demo_width()))

    def _show_text(self, text: str) -> None:
        """Show a file or a message, moved in from the margin."""
        say(self._cli)
        for line in text.splitlines():
            say(self._cli, fold(f"  | {line}".rstrip(), find_demo_width()))

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
            raise make_failure(f"this is not true: {what}")

    def _states(self) -> dict[str, str]:
        return {str(pat["name"]): str(pat["state"]) for pat in self._pats()}

    def _pats(self) -> list[dict[str, object]]:
        pats = self._stage.ask("status")["pats"]
        return pats if isinstance(pats, list) else []

    def _show_consumers(self, *, cached: bool) -> None:
        """Let both consumers try their value; `cached` says whether the old PAT must still be accepted."""
        current = self._stage.read_vault(self._secret_name)
        self._check(not current.same_as(self._cached), "the vault holds a new value")
        say(self._cli)
        for who, value, expected in (
            ("uses the old value", self._cached, cached),
            ("reads the vault", current, True),
        ):
            self._check(self._try(who, value) is expected, f"the consumer that {who} gets the right answer")
        if not cached:
            self._tell(
                "The copy of the old value no longer works. A real overlap lasts hours or days, longer than any "
                "consumer caches the value; here it lasted seconds."
            )

    def _try(self, who: str, value: SecretValue) -> bool:
        accepted = self._stage.is_accepted(value)
        say(self._cli, f"  {who:<27} -> {'accepted' if accepted else 'refused'}")
        return accepted

    def _wait(self) -> None:
        """Wait until the longest overlap is over, by the sandbox's clock."""
        ends = [str(pat["revoke_after"]) for pat in self._pats() if pat["revoke_after"]]
        if not ends:
            raise make_failure("no PAT is in its overlap")
        left = (max(map(datetime.fromisoformat, ends)) - self._stage.now()).total_seconds() + 1.5
        self._tell("Both work. In this sandbox an overlap lasts only seconds; the demo waits until it is over.")
        with progress(self._cli, "waiting for the overlap to end") as update:
            while left > 0:
                update(f"waiting for the overlap to end: {left:.0f} s")
                time.sleep(min(left, 1.0))
                left -= 1.0


def _say_logged(line: Mapping[str, str]) -> str:
    """When it happened, and what: `  09:00:00  rotation completed`."""
    return f"  {line['timestamp'][11:19]}  {line['event'].replace('_', ' ')}"
