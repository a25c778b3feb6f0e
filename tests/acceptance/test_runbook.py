"""What the runbook says to type shows what is wrong: each problem that lasts is planted, met and looked at.

The fault is planted in the world of the stage, a run or a daemon meets it, and the command of the runbook is run as it
stands, with the subject that rotator itself names.
"""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import sqlalchemy
import yaml

from rotator.adapters.database.schema import condition, pending_revocation
from rotator.domain.condition import ConditionKind
from rotator.domain.runbook import CONDITIONS
from rotator.sandbox.azure_devops_replies import make_connection_answer
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ACCOUNT, ORGANIZATION, OTHER_USER_ID, USERNAME, VAULT
from rotator.sandbox.world import Secret, SecretVersion
from tests.support.daemon import set_overlap, start_daemon, write_section
from tests.support.forgery import drop_triggers, execute
from tests.support.installed_command import sign_in
from tests.support.killing import NAME, SECRET, Run, Stage
from tests.support.source_tree import ROOT

pytestmark = pytest.mark.timeout(300)

BY_HAND = "deploy-manual"
OTHER = "npm-feed"


def run(stage: Stage, *words: str) -> Run:
    """A command to its end, however it ends."""
    made = stage.start(*words)
    made.wait()
    return made


def write_version(stage: Stage, name: str = SECRET) -> None:
    """Somebody else writes a secret."""
    now = stage.world.clock.now()
    version = SecretVersion(uuid.uuid4().hex, "x" * 84, {}, None, enabled=True, created=now, updated=now)
    with stage.world.lock:
        stage.world.vaults[VAULT].secrets.setdefault(name, Secret(name)).versions.append(version)


def meet(stage: Stage, kind: ConditionKind) -> None:
    """Let a daemon with every job soon work until it has noticed."""
    soon = "1s"
    daemon = start_daemon(stage, work=soon, heartbeat=soon, refresh=soon, reconcile=soon, verify_audit=soon, probe=soon)
    daemon.wait_until(lambda: find_subject(stage, kind) is not None)
    assert daemon.stop() == 0


def revoke_sign_in(stage: Stage) -> None:
    stage.sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})
    meet(stage, ConditionKind.SIGN_IN_NEEDED)


def silence_entra(stage: Stage) -> None:
    """While the account has no access token that still works."""
    stage.sandbox.entra.configure({"access_token_lifetime_seconds": 1})
    sign_in(stage.sandbox, stage.folder)
    stage.faults.add(Fault("entra", "status", status=503, times=None))
    run(stage, "once")


def shut_out(stage: Stage) -> None:
    with stage.world.lock:
        stage.world.organizations[ORGANIZATION].members = set()
    run(stage, "once")


def break_vault(stage: Stage) -> None:
    stage.faults.add(Fault("key_vault", "status", status=503, times=None))
    run(stage, "once")


def refuse_mints(stage: Stage) -> None:
    stage.faults.add(Fault("azure_devops", "status", "POST", "/tokens/pats", times=None, status=503))
    run(stage, "once")


def write_secret(stage: Stage) -> None:
    write_version(stage)
    run(stage, "once")


def revoke_pat(stage: Stage) -> None:
    run(stage, "once")
    with stage.world.lock:
        [current] = [pat for pat in stage.world.pats.values() if pat.value == stage.find_latest().value]
        current.revoked = True
    run(stage, "once")


def leave_to_a_person(stage: Stage) -> None:
    with stage.world.lock:
        [pat] = [found for found in stage.world.pats.values() if found.display_name == BY_HAND]
        pat.valid_to = stage.world.clock.now().replace(microsecond=0) + timedelta(minutes=5)
    run(stage, "inventory", "adopt", BY_HAND)
    run(stage, "once")


def mix_up_answers(stage: Stage) -> None:
    """Each new PAT signs in as somebody else: the first question is about the account, those after it about the PAT."""
    other, organization = stage.world.users[OTHER_USER_ID], stage.world.organizations[ORGANIZATION]
    answer = json.loads(make_connection_answer(other, organization).body)
    for _ in range(3):
        stage.faults.clear()
        stage.faults.add(
            Fault("azure_devops", "status", path="connectionData", skip=1, times=None, status=200, body=answer)
        )
        run(stage, "rotate", NAME)


def shorten_lifetimes(stage: Stage) -> None:
    """Near its expiry a PAT takes what it can get."""
    with stage.world.lock:
        stage.world.organizations[ORGANIZATION].max_lifetime = timedelta(hours=6)
        stage.world.pats[stage.original_id].valid_to = stage.world.clock.now().replace(microsecond=0) + timedelta(
            hours=5
        )
    run(stage, "once")


def set_clock(stage: Stage) -> None:
    for service in ("azure_devops", "entra", "key_vault"):
        stage.faults.add(Fault(service, "wrong_date", times=None, seconds=2 * 86400.0))
    run(stage, "once")


def overwrite_in_overlap(stage: Stage) -> None:
    set_overlap(stage, "1s")
    run(stage, "once")
    write_version(stage)
    meet(stage, ConditionKind.PAT_LEFT_BEHIND)


def damage_token_cache(stage: Stage) -> None:
    for name in ("token-cache.bin", "token-cache.bin.previous"):
        (stage.folder / name).write_bytes(b"\x00" * 100)
    run(stage, "once")


def list_nonsense(stage: Stage) -> None:
    stage.faults.add(Fault("azure_devops", "odd", path=r"/tokens/pats\?(?!.*authorizationId)", times=None))
    run(stage, "once")


def keep_revoked_pat(stage: Stage) -> None:
    """A DELETE that is answered, and changes nothing; the first was an hour ago."""
    stage.faults.add(Fault("azure_devops", "status", "DELETE", "/tokens/pats", times=None, status=204))
    run(stage, "once")
    engine = sqlalchemy.create_engine(stage.database.url())
    with engine.begin() as work:
        [since] = work.execute(sqlalchemy.select(pending_revocation.c.since)).scalars()
        work.execute(pending_revocation.update().values(since=since - timedelta(hours=1)))
    engine.dispose()
    run(stage, "once")


def alter_log(stage: Stage) -> None:
    drop_triggers(stage.database.url())
    execute(stage.database.url(), "UPDATE audit_event SET subject = 'somebody' WHERE sequence = 3")
    meet(stage, ConditionKind.AUDIT_BROKEN)


def occupy_secret(stage: Stage) -> None:
    path = stage.sandbox.addresses.policy_path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["rules"][-1]["adopt"] = True
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    write_version(stage, f"{ORGANIZATION}-{OTHER}")
    run(stage, "once")


def change_value(stage: Stage) -> None:
    run(stage, "once")
    [current] = stage.find_ours()
    with stage.world.lock:
        current.value = stage.world.new_pat_value()
    meet(stage, ConditionKind.PROBE_FAILING)


def miss_receiver(stage: Stage) -> None:
    write_section(stage, "notify", [{"name": "mail", "kind": "apprise", "url": "nosuch://mail.example/x"}])
    meet(stage, ConditionKind.RECEIVER_FAILING)


def break_hook(stage: Stage) -> None:
    program = stage.folder / "restart"
    program.write_text("#!/bin/sh\necho no such deployment\nexit 3\n", encoding="utf-8")
    program.chmod(0o755)
    write_section(stage, "hooks", [{"name": "restart", "on": ["secret_stored"], "command": ["./restart"]}])
    run(stage, "once")


def lose_database(stage: Stage) -> None:
    """Something else is where it was."""
    daemon, path = start_daemon(stage, work="1s", heartbeat="1s"), stage.folder / "rotator.db"
    path.rename(stage.folder / "away.db")
    path.write_bytes(b"nothing that SQLite knows" * 500)
    daemon.wait_for("database_lost")
    assert daemon.stop() == 0


def pause_all(stage: Stage) -> None:
    run(stage, "inventory", "pause", "--all", "--reason", "audit week")


def go_back_in_time(stage: Stage) -> None:
    """The database is as it was before a rotation."""
    run(stage, "once")
    stage.database.restore()
    run(stage, "once")


@dataclass(frozen=True)
class Case:
    """What has rotator meet the fault, and what the command must show of it. `begins` is what must have begun by that.

    None: it is not in the database, because that is away.
    """

    meet: Callable[[Stage], None]
    begins: ConditionKind | None
    shown: tuple[str, ...]


def list_cases() -> Iterator[tuple[ConditionKind, Case]]:
    """Each problem once."""
    kind = ConditionKind
    for begins, meets, shown in (
        (kind.ACCOUNT_DOWN, silence_entra, ("build-bot", "503")),
        (kind.ORGANIZATION_DOWN, shut_out, (ORGANIZATION, "TF400813")),
        (kind.VAULT_DOWN, break_vault, ("vault_failed", "503")),
        (kind.ROTATION_FAILING, refuse_mints, (NAME, "503", "fix: ")),
        (kind.ROTATION_BLOCKED, write_secret, (SECRET, "was changed since", "fix: ")),
        (kind.PAT_VANISHED, revoke_pat, ("it was revoked outside rotator", f"rotator rotate {NAME}")),
        (kind.PAT_EXPIRING, leave_to_a_person, (BY_HAND, "(5m)", "replace by hand")),
        (kind.CLONES_ABANDONED, mix_up_answers, ("clones_abandoned", 'the answer named the user "Someone Else"')),
        (kind.LIFETIME_SHORTENED, shorten_lifetimes, ("lifetime_shortened", "expires ")),
        (kind.TOKEN_CACHE_DAMAGED, damage_token_cache, ("token-cache.bin is damaged", "rotator login build-bot")),
        (kind.LISTING_DAMAGED, list_nonsense, (f"build-bot/{ORGANIZATION}", "0dd00005-1111-4222-8333-444444444444")),
        (kind.REVOCATION_PENDING, keep_revoked_pat, ("should have been revoked, but is still active", "by hand")),
        (kind.AUDIT_BROKEN, alter_log, ("audit event 3 was altered", "rotator runbook audit_broken")),
        (kind.ADOPTION_BLOCKED, occupy_secret, (OTHER, "holds a value that does not look like a PAT", "fix: ")),
        (kind.PROBE_FAILING, change_value, ("probe_failed", "refuses its value")),
        (kind.RECEIVER_FAILING, miss_receiver, ("no plugin of apprise takes the url of mail", "fix: ")),
        (kind.HOOK_FAILING, break_hook, ("restart", "no such deployment")),
        (kind.CLOCK_WRONG, set_clock, ()),
        (kind.SIGN_IN_NEEDED, revoke_sign_in, ()),
        (kind.PAT_LEFT_BEHIND, overwrite_in_overlap, ()),
        (kind.ALL_PAUSED, pause_all, ()),
    ):
        yield begins, Case(meets, begins, shown)
    yield (
        kind.DATABASE_DOWN,
        Case(lose_database, None, ("is damaged, or is not a database", "rotator runbook database_down")),
    )
    # A server that loses commits needs PostgreSQL: `test_postgres_as_run` has it. This is what its records are then.
    yield kind.TIMELINE_CHANGED, Case(go_back_in_time, kind.ROTATION_BLOCKED, (NAME, "1 would be rebuilt"))


CASES = dict(list_cases())
ELSEWHERE = {
    ConditionKind.JOB_STALLED: "acceptance/test_jobs_that_stall.py",
    ConditionKind.DAEMONS_MIXED: "unit/test_engine_heartbeats.py",
    ConditionKind.TOKEN_CACHE_UNSAVED: "contract/test_entra_sign_in.py",
}
"""Where others are planted. Their commands are not tried."""


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage; afterwards the world is well again."""
    prepared.reset(lease="1h")
    yield prepared
    calm(prepared)
    prepared.end()


def calm(stage: Stage) -> None:
    """Take back what was planted in the world, which a reset leaves as it is."""
    stage.faults.clear()
    stage.sandbox.entra.configure({"access_token_lifetime_seconds": 3599, "users": {USERNAME: {"revoked": False}}})
    organization = stage.world.organizations[ORGANIZATION]
    organization.members, organization.max_lifetime = None, None


def find_subject(stage: Stage, kind: ConditionKind) -> str | None:
    """What a problem that lasts is about; None when there is none of the kind."""
    engine = sqlalchemy.create_engine(stage.database.url())
    try:
        with engine.begin() as reading:
            return reading.execute(sqlalchemy.select(condition.c.subject).where(condition.c.kind == kind)).scalar()
    finally:
        engine.dispose()


def meet_and_name(stage: Stage, kind: ConditionKind) -> list[str]:
    """Have rotator meet the fault; the words of the command that the runbook has for it."""
    case = CASES[kind]
    case.meet(stage)
    subject = None if case.begins is None else find_subject(stage, case.begins)
    assert (subject is None) == (case.begins is None)
    return shlex.split(CONDITIONS[kind].command.format(subject=subject))


def test_each_problem_is_planted() -> None:
    assert {*CASES, *ELSEWHERE} == set(ConditionKind)
    for kind, file in ELSEWHERE.items():
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert kind.value in text or f"ConditionKind.{kind.name}" in text


@pytest.mark.parametrize("kind", [kind for kind, case in CASES.items() if case.shown])
def test_command_shows_what_is_wrong(stage: Stage, kind: ConditionKind) -> None:
    program, *words = meet_and_name(stage, kind)
    assert program == "rotator"
    said = run(stage, *words).read()
    assert [fact for fact in CASES[kind].shown if fact not in said] == [], said


def test_wrong_clock_is_for_the_system_to_show(stage: Stage) -> None:
    assert meet_and_name(stage, ConditionKind.CLOCK_WRONG) == ["timedatectl", "status"]
    run(stage, "once")
    stage.faults.clear()
    run(stage, "once")
    assert find_subject(stage, ConditionKind.CLOCK_WRONG) is None, "set right, it goes on by itself"


def test_sign_in_ends_that_problem(stage: Stage) -> None:
    assert meet_and_name(stage, ConditionKind.SIGN_IN_NEEDED) == ["rotator", "login", ACCOUNT]
    calm(stage)
    sign_in(stage.sandbox, stage.folder)
    assert find_subject(stage, ConditionKind.SIGN_IN_NEEDED) is None


def test_pat_that_was_left_behind_is_shown_and_revoked_by_its_id(stage: Stage) -> None:
    """The look comes first: consumers may use it."""
    kind = ConditionKind.PAT_LEFT_BEHIND
    program, *look = meet_and_name(stage, kind)
    left = find_subject(stage, kind)
    assert left is not None
    assert left in run(stage, *look).read()
    assert "`rotator recover --revoke {subject}`" in CONDITIONS[kind].fix
    words = ["recover", "--revoke", left]
    asked = run(stage, *words)
    assert (program, asked.wait(), "[confirmation_needed]" in asked.read()) == ("rotator", 2, True), asked.read()
    done = run(stage, *words, "--yes")
    assert (done.wait(), f"revoked  {words[-1]}" in done.read()) == (0, True), done.read()
    run(stage, "once")
    assert find_subject(stage, ConditionKind.PAT_LEFT_BEHIND) is None


def test_resume_ends_the_pause_of_everything(stage: Stage) -> None:
    program, *words = meet_and_name(stage, ConditionKind.ALL_PAUSED)
    assert (program, run(stage, *words).wait()) == ("rotator", 0)
    assert find_subject(stage, ConditionKind.ALL_PAUSED) is None
