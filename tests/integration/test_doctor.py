"""`rotator doctor` on the sandbox: each check fails for a real reason, and none of them changes anything."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from rotator.domain.checkup import Grade
from rotator.domain.job_run import Heartbeat, JobName, JobOutcome, JobRun
from rotator.domain.words import say_moment
from rotator.engine.jobs import verify_audit
from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, ORGANIZATION, USERNAME
from tests.support.forgery import drop_triggers, execute
from tests.support.ward import PAT, Ward, find_problems, say

FAIL, WARN = Grade.FAIL, Grade.WARN
DAYS = 86400.0


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Ward]:
    """An installation with an empty database; nobody is signed in."""
    with Sandbox(tmp_path / "sandbox") as sandbox:
        ward = Ward(sandbox)
        ward.run("db", "upgrade")
        yield ward


@pytest.fixture
def signed_in(bare: Ward) -> Ward:
    """The same, signed in."""
    bare.sign_in()
    return bare


@pytest.fixture
def ward(signed_in: Ward) -> Ward:
    """The same, with a PAT that was adopted and rotated."""
    signed_in.run("inventory", "adopt", PAT)
    signed_in.run("once")
    return signed_in


def _dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_everything_is_ok_and_nothing_is_changed_when_all_is_well(ward: Ward) -> None:
    database, record = ward.folder / "rotator.db", ward.sandbox.world.record
    before, versions = _dump(database), [(v.version, dict(v.tags), v.updated) for v in ward.secret.versions]
    mints, secrets = len(record.all("azure_devops", "POST")), set(ward.vault.secrets)
    results = ward.examine()
    assert find_problems(results) == [], say(results)
    assert "1 secret checked: each can be written, and holds what is expected or nothing yet" in say(results)
    assert {each.name for each in results} == {
        *("settings", "policy", "files", "database", "disk_space", "sign_in", "consent", "organization", "vault"),
        *("secret", "inventory", "mails", "audit", "work", "clock"),
    }
    more = [line for line in _dump(database) if line not in before]
    assert [line.partition("VALUES")[0] for line in more] == ['INSERT INTO "audit_event" ']  # it says what was read
    assert "'values_read'" in more[0]
    assert [line for line in _dump(database) if line not in more] == before
    assert [(v.version, v.tags, v.updated) for v in ward.secret.versions] == versions
    assert set(ward.vault.secrets) == secrets
    assert (len(record.all("azure_devops", "POST")), len(record.all("key_vault", "PUT"))) == (mints, 1)


def test_settings_fail_when_a_file_that_they_name_is_missing(bare: Ward) -> None:
    (bare.folder / "ca.pem").rename(bare.folder / "gone.pem")
    assert ("settings", "http.ca_bundle", FAIL) in find_problems(bare.examine("settings"))


def test_settings_fail_when_a_variable_that_they_name_is_not_set(bare: Ward) -> None:
    bare.change("rotator.yaml", pings=[{"url": {"env": "PING_URL"}, "jobs": ["work"]}])
    results = bare.examine("settings")
    assert find_problems(results) == [("settings", "pings.url", FAIL)], say(results)
    assert "PING_URL is not set" in say(results)
    address = {"PING_URL": "https://127.0.0.1/ping"}
    assert find_problems(bare.examine("settings", environment=address)) == []


def test_settings_are_doubted_when_they_work_and_are_weak(bare: Ward) -> None:
    """A key that the group can read, no signature, a proxy that is not used, a database on a network share."""
    (bare.folder / "token-cache.key").chmod(0o640)
    bare.change("rotator.yaml", audit={"anchors": []})
    mounts = bare.folder / "mountinfo"
    mounts.write_text(f"36 35 98:0 / {bare.folder.resolve()} rw - nfs4 server:/x rw\n", encoding="utf-8")
    results = bare.examine("settings", mounts=mounts)
    weak = ("audit.signing_key", "database", "token_cache.key")
    assert sorted(find_problems(results)) == [("settings", name, WARN) for name in weak], say(results)
    assert "nfs4" in say(results)
    proxied = bare.examine("settings", environment={"HTTPS_PROXY": "http://127.0.0.1:3128"})
    assert ("settings", "http.proxy", WARN) in find_problems(proxied)


def test_policy_fails_once_when_it_cannot_be_read_and_other_checks_are_made(ward: Ward) -> None:
    (ward.folder / "policy.yaml").write_text("version: 1\nrules: 7\n", encoding="utf-8")
    results = ward.examine("policy", "vault", "inventory", "organization")
    assert find_problems(results) == [("policy", "", FAIL)], say(results)
    assert "so not checked: vault, inventory" in say(results)
    assert "organization" in {each.name for each in results}


def test_policy_is_doubted_when_its_overlap_is_longer_than_its_threshold(bare: Ward) -> None:
    bare.change(
        "policy.yaml",
        rules=[{"name": "all"}],
        defaults={"rotate_before": "1d", "overlap": "3d", "vault": bare.sandbox.addresses.key_vault_url},
    )
    assert ("policy", "", WARN) in find_problems(bare.examine("policy"))


def test_files_fail_when_others_can_change_them_and_are_doubted_when_they_can_read_secrets(signed_in: Ward) -> None:
    for name, mode in (("rotator.db", 0o646), ("policy.yaml", 0o666), ("token-cache.bin", 0o604)):
        (signed_in.folder / name).chmod(mode)
    folder = signed_in.folder
    assert sorted(find_problems(signed_in.examine("files"))) == sorted(
        [
            ("files", str(folder / "rotator.db"), FAIL),
            ("files", str(folder / "policy.yaml"), FAIL),
            ("files", str(folder / "token-cache.bin"), WARN),
        ]
    )


def test_certificate_that_the_environment_names_is_doubted_when_others_can_read_its_key(
    bare: Ward, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = tmp_path / "vault.pem"
    certificate.touch(0o644)
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(certificate))
    assert find_problems(bare.examine("files")) == []  # the account's own sign-in opens the vault
    bare.change("rotator.yaml", key_vault={"credential": "environment"})
    assert find_problems(bare.examine("files")) == [("files", str(certificate), WARN)]
    certificate.chmod(0o600)
    assert find_problems(bare.examine("files")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_fail_when_root_owns_one_of_them(signed_in: Ward) -> None:
    os.chown(signed_in.folder / "token-cache.bin", 65534, 65534)
    results = signed_in.examine("files")
    assert find_problems(results) == [("files", str(signed_in.folder / "token-cache.bin"), FAIL)], say(results)
    assert "chown --reference=" in say(results)


def test_database_fails_once_when_its_schema_is_older_and_others_say_what_they_could_not_look_at(bare: Ward) -> None:
    execute(bare.url, "UPDATE alembic_version SET version_num = '0028'")
    results = bare.examine("database", "disk_space", "inventory", "mails", "audit", "work", "secret")
    assert find_problems(results) == [("database", "", FAIL)], say(results)
    assert "rotator db upgrade" in say(results)
    assert "so not checked: disk_space, inventory, mails, audit, work, secret" in say(results)


def test_disk_space_is_doubted_when_an_upgrade_would_not_fit(bare: Ward) -> None:
    """The file is made larger than what is left on the disk, without taking it."""
    path = bare.folder / "rotator.db"
    free = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
    os.truncate(path, min(free + 2**30, 2**43))
    assert find_problems(bare.examine("disk_space")) == [("disk_space", "", WARN)]


def test_sign_in_fails_when_entra_refuses_it_and_what_hangs_on_it_is_said_with_it(signed_in: Ward) -> None:
    signed_in.sandbox.entra.configure({"users": {USERNAME: {"refresh_error": 50173}}})
    results = signed_in.examine("sign_in")
    assert find_problems(results) == [("sign_in", ACCOUNT, FAIL)], say(results)
    assert f"rotator login {ACCOUNT}" in say(results)


def test_sign_in_fails_once_when_nobody_is_signed_in(bare: Ward) -> None:
    results = bare.examine("sign_in", "organization", "vault")
    assert find_problems(results) == [("sign_in", ACCOUNT, FAIL)], say(results)
    assert f"so not checked: organization {ACCOUNT}/{ORGANIZATION}, vault" in say(results)


def test_sign_in_is_doubted_when_entra_cannot_be_asked_and_the_last_token_still_works(signed_in: Ward) -> None:
    signed_in.sandbox.world.faults.add(Fault("entra", "status", times=None, status=503))
    assert find_problems(signed_in.examine("sign_in", later=timedelta(seconds=10))) == [("sign_in", ACCOUNT, WARN)]


def test_consent_fails_when_the_app_lacks_a_permission(signed_in: Ward) -> None:
    signed_in.sandbox.entra.configure({"access_token_lifetime_seconds": 4000})
    signed_in.sandbox.entra.configure({"apps": {CLIENT_ID: {"permissions": ["vso.pats"]}}})
    results = signed_in.examine("sign_in", "consent")
    assert find_problems(results) == [("consent", ACCOUNT, FAIL)], say(results)
    assert "not vso.pats_manage" in say(results)
    signed_in.sandbox.entra.configure({"access_token_lifetime_seconds": 5000})
    signed_in.sandbox.entra.configure({"apps": {CLIENT_ID: {"permissions": ["vso.pats", "vso.pats_manage"]}}})
    assert find_problems(signed_in.examine("sign_in", "consent")) == []


def test_organization_fails_when_the_user_may_not_enter_it(signed_in: Ward) -> None:
    signed_in.sandbox.world.organizations[ORGANIZATION].members = set()
    assert find_problems(signed_in.examine("organization")) == [("organization", f"{ACCOUNT}/{ORGANIZATION}", FAIL)]


def test_organization_is_doubted_when_its_list_has_what_cannot_be_read(signed_in: Ward) -> None:
    signed_in.sandbox.world.faults.add(Fault("azure_devops", "odd", path="tokens/pats", times=None))
    assert find_problems(signed_in.examine("organization")) == [("organization", f"{ACCOUNT}/{ORGANIZATION}", WARN)]


@pytest.mark.parametrize("permission", ["list", "get", "set"])
def test_vault_fails_when_it_does_not_allow_what_a_rotation_needs(signed_in: Ward, permission: str) -> None:
    signed_in.vault.denied_operations.add(permission)
    results = signed_in.examine("vault")
    assert [grade for _, _, grade in find_problems(results)] == [FAIL]
    assert permission in say(results)


def test_vault_fails_when_its_firewall_is_closed(signed_in: Ward) -> None:
    signed_in.vault.firewall = True
    assert [grade for _, _, grade in find_problems(signed_in.examine("vault"))] == [FAIL]


def test_vault_and_secret_fail_when_the_vault_is_gone(ward: Ward) -> None:
    """That of the policy, and that of a PAT which the policy does not name any more."""
    gone = "https://127.0.0.1:1"  # nobody answers there
    policy = yaml.safe_load((ward.folder / "policy.yaml").read_text(encoding="utf-8"))
    defaults = policy["defaults"]
    ward.change("policy.yaml", defaults={**defaults, "vault": gone})
    assert [(name, grade) for name, _, grade in find_problems(ward.examine("vault"))] == [("vault", FAIL)]
    ward.change("policy.yaml", defaults=defaults)
    execute(ward.url, "UPDATE managed_pat SET vault = 'https://127.0.0.1:1'")
    results = ward.examine("vault", "secret")
    assert find_problems(results) == [("secret", PAT, FAIL)], say(results)
    assert "refused the connection" in say(results)


def test_secret_fails_when_it_was_written_by_somebody_else(ward: Ward) -> None:
    theirs = replace(ward.secret.versions[-1], version="f" * 32, tags={}, value="somebody-elses")
    ward.secret.versions.append(theirs)
    results = ward.examine("secret")
    assert find_problems(results) == [("secret", PAT, FAIL)], say(results)
    assert "written by somebody else" in say(results)


def test_secret_fails_when_its_name_is_soft_deleted(ward: Ward) -> None:
    ward.secret.deleted_at = ward.sandbox.world.clock.now()
    results = ward.examine("secret")
    assert find_problems(results) == [("secret", PAT, FAIL)], say(results)
    assert "deleted" in say(results)


def test_secret_fails_when_it_is_gone_or_disabled(ward: Ward) -> None:
    ward.secret.versions[-1].enabled = False
    assert find_problems(ward.examine("secret")) == [("secret", PAT, FAIL)]
    del ward.vault.secrets[ward.secret.name]
    results = ward.examine("secret")
    assert find_problems(results) == [("secret", PAT, FAIL)], say(results)
    assert "is gone" in say(results)


def test_inventory_fails_when_an_account_is_gone_a_rule_is_gone_or_a_limit_is_too_short(ward: Ward) -> None:
    execute(ward.url, "UPDATE managed_pat SET account = 'old-bot'")
    results = ward.examine("inventory")
    assert find_problems(results) == [("inventory", PAT, FAIL)]
    assert 'no account "old-bot"' in say(results)
    execute(ward.url, "UPDATE managed_pat SET account = 'build-bot', wanted_account = 'new-bot'")
    results = ward.examine("inventory")
    assert find_problems(results) == [("inventory", PAT, FAIL)]
    assert 'no account "new-bot"' in say(results), "it is to move to that one"
    execute(ward.url, "UPDATE managed_pat SET wanted_account = NULL")
    assert find_problems(ward.examine("inventory")) == []
    rule = {"name": "others", "match": {"display_name": "other-*"}}
    vault = ward.sandbox.addresses.key_vault_url
    ward.change("policy.yaml", rules=[rule])
    assert find_problems(ward.examine("inventory")) == [("inventory", PAT, FAIL)]
    ward.change("policy.yaml", rules=[{"name": "all"}], defaults={"rotate_before": "10d", "vault": vault})
    assert find_problems(ward.examine("inventory")) == []


def test_inventory_fails_when_a_pat_is_valid_for_all_organizations(signed_in: Ward) -> None:
    signed_in.run("inventory", "adopt", "nightly-everywhere")
    results = signed_in.examine("inventory")
    assert find_problems(results) == [("inventory", "nightly-everywhere", FAIL)], say(results)
    assert "valid for all organizations" in say(results)


def test_inventory_fails_when_the_organization_grants_less_than_the_threshold(signed_in: Ward) -> None:
    """The limit is learned from a clamped mint; by another policy a clone would be due again at once."""
    signed_in.sandbox.world.organizations[ORGANIZATION].max_lifetime = timedelta(days=2)
    signed_in.run("inventory", "adopt", PAT)
    signed_in.run("once")
    assert find_problems(signed_in.examine("inventory")) == []
    vault = signed_in.sandbox.addresses.key_vault_url
    signed_in.change("policy.yaml", rules=[{"name": "all"}], defaults={"rotate_before": "7d", "vault": vault})
    results = signed_in.examine("inventory")
    assert find_problems(results) == [("inventory", PAT, FAIL)], say(results)
    assert "due again" in say(results)


def test_pats_of_an_organization_are_those_that_scan_shows(signed_in: Ward) -> None:
    """Azure DevOps lists those of the account's other organizations too."""
    assert "\n7 PATs: " in signed_in.run("scan")
    assert len(signed_in.sandbox.world.pats) > 7
    assert "signed in as Build Bot; 7 active PATs" in say(signed_in.examine("organization"))


def test_mails_are_not_counted_for_pats_that_are_never_rotated(signed_in: Ward) -> None:
    """Full access is denied by the policy; the rule of `deploy-manual` leaves it to a person."""
    for name in ("old-admin", "deploy-manual", "nightly-everywhere"):
        signed_in.run("inventory", "adopt", name)
    assert "about 0 mails a month" in say(signed_in.examine("mails"))
    signed_in.run("inventory", "adopt", PAT)
    assert "about 0 mails a month" not in say(signed_in.examine("mails"))


def test_work_says_who_must_sign_in_when_that_is_why_no_run_succeeded(bare: Ward) -> None:
    with pytest.raises(AssertionError, match="nobody is signed in"):
        bare.run("once")
    assert "build-bot is not signed in: run `rotator login build-bot`." in say(bare.examine("work"))
    bare.sign_in()
    execute(bare.url, "DELETE FROM condition")
    said = say(bare.examine("work"))
    assert "that is too long" not in said
    assert "`rotator once` says what is in the way" in said


def test_mails_are_doubted_when_they_flood_a_mailbox(ward: Ward) -> None:
    vault = ward.sandbox.addresses.key_vault_url
    ward.change(
        "policy.yaml",
        rules=[{"name": "all"}],
        defaults={"rotate_before": "1h", "lifetime": "2h", "overlap": "10m", "vault": vault},
    )
    results = ward.examine("mails")
    assert find_problems(results) == [("mails", ACCOUNT, WARN)]
    assert "about 720 mails a month" in say(results)


def test_audit_fails_when_an_event_was_changed(ward: Ward) -> None:
    drop_triggers(ward.url)
    execute(ward.url, "UPDATE audit_event SET actor = 'nobody' WHERE sequence = 2")
    results = ward.examine("audit")
    assert find_problems(results) == [("audit", "", FAIL)]
    assert "2" in say(results)


def test_audit_says_how_many_events_had_been_verified_before(signed_in: Ward) -> None:
    """It does not read as if the chain were broken before them."""
    signed_in.run("inventory", "adopt", PAT)
    signed_in.run("once")
    with signed_in.open() as installation:
        verify_audit(installation.make_run())
    said = say(signed_in.examine("audit"))
    assert re.search(r"the chain is intact \(\d+ of them had been verified before\)", said), said


def test_work_fails_when_nothing_ever_ran_unless_there_is_nothing_to_do(signed_in: Ward) -> None:
    assert find_problems(signed_in.examine("work")) == []
    signed_in.run("inventory", "adopt", PAT)
    assert find_problems(signed_in.examine("work")) == [("work", "", FAIL)]
    signed_in.run("once")
    assert find_problems(signed_in.examine("work")) == []
    execute(
        signed_in.url,
        "UPDATE job_run SET began_at = '2026-01-01T00:00:00.000000Z', ended_at = '2026-01-01T00:00:01.000000Z'",
    )
    results = signed_in.examine("work")
    assert find_problems(results) == [("work", "", FAIL)], say(results)
    assert "that is too long" in say(results)


def test_work_fails_when_the_daemon_gives_no_sign_of_life(ward: Ward) -> None:
    now = datetime.now(UTC)
    for silent, problems in ((timedelta(minutes=10), [("work", "", FAIL)]), (timedelta(seconds=5), [])):
        with ward.open() as installation, installation.database.begin() as work:
            beat = Heartbeat("daemon", now - timedelta(days=1), now - silent, now, now)
            work.job_runs.beat(beat)
        results = ward.examine("work")
        assert find_problems(results) == problems, say(results)
        assert ("no sign of life" in say(results)) == bool(problems)


def test_work_says_that_the_daemon_was_stopped_when_a_person_did(ward: Ward) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    beat = Heartbeat("daemon", now - day, now - timedelta(minutes=10), now, now)
    with ward.open() as installation, installation.database.begin() as work:
        work.job_runs.beat(beat)
        life = JobRun(JobName.HEARTBEAT, beat.began_at, "daemon", beat.began_at)
        work.job_runs.begin(life)
        work.job_runs.end(replace(life, ended_at=beat.beat_at, outcome=JobOutcome.STOPPED))
    results = ward.examine("work")
    assert find_problems(results) == [("work", "", FAIL)]
    assert f"the daemon was stopped at {say_moment(beat.beat_at)}, and nothing has run since" in say(results)


def test_work_gives_a_daemon_as_long_as_it_told_itself(ward: Ward) -> None:
    now = datetime.now(UTC)
    for binds_for, problems in ((timedelta(minutes=20), []), (timedelta(seconds=20), [("work", "", FAIL)])):
        with ward.open() as installation, installation.database.begin() as work:
            silent = now - timedelta(minutes=10)
            work.job_runs.beat(Heartbeat("daemon", now - timedelta(days=1), silent, now, now, binds_for))
        assert find_problems(ward.examine("work")) == problems


def test_work_is_doubted_when_daemons_of_different_versions_share_it(ward: Ward) -> None:
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    for other, problems in (("1.0", []), ("1.1", [("work", "daemons", WARN)])):
        with ward.open() as installation, installation.database.begin() as work:
            for name, version in (("a@h#1.1", "1.0"), ("b@h#2.2", other)):
                work.job_runs.beat(Heartbeat(name, now - 9 * minute, now, now, now, 9 * minute, version=version))
        results = ward.examine("work")
        assert find_problems(results) == problems, say(results)
    assert "different versions 1.0, 1.1" in say(results)


def test_clock_fails_when_all_services_say_so_and_one_alone_is_doubted(signed_in: Ward) -> None:
    faults, names = signed_in.sandbox.world.faults, ("sign_in", "organization", "vault", "clock")
    assert find_problems(signed_in.examine(*names)) == []
    faults.add(Fault("key_vault", "wrong_date", times=None, seconds=2 * DAYS))
    assert find_problems(signed_in.examine(*names)) == [("clock", "key_vault", WARN)]
    for service in ("entra", "azure_devops"):
        faults.add(Fault(service, "wrong_date", times=None, seconds=2 * DAYS))
    results = signed_in.examine(*names)
    assert find_problems(results) == [("clock", "host", FAIL)]
    assert "2d slow" in say(results)
    assert find_problems(signed_in.examine("clock")) == [("clock", "host", WARN)]


def test_other_checks_are_made_when_one_service_is_silent(ward: Ward) -> None:
    ward.change("rotator.yaml", http={"ca_bundle": "ca.pem", "read_timeout": "1s", "total_timeout": "2s"})
    ward.sandbox.world.faults.add(Fault("key_vault", "hang", times=None))
    results = ward.examine()
    assert {name for name, _, _ in find_problems(results)} == {"vault"}, say(results)
    assert "so not checked: " in say(results)
    assert f"secret {PAT}" in say(results)
