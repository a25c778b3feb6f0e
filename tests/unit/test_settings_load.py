"""`rotator.yaml`: found, read, and every problem told at once."""

import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from rotator.domain.job_run import JobName
from rotator.errors import ConfigError
from rotator.settings.effective import show_settings
from rotator.settings.load import check_files, find_settings, load_settings
from rotator.settings.secrets import describe, resolve
from rotator.settings.sections.pings import PingSettings

CANARY = "canary-4711"
ACCOUNT = """\
accounts:
  - name: build-bot
    tenant: 6f89cf12-978b-4d23-ac18-9ef0c127cf87
    client_id: 3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906
    username: build-bot@contoso.com
    organizations: [contoso]
"""


def write(folder: Path, settings: str, policy: str | None = None) -> Path:
    """Both files; the policy is a right one unless given."""
    path = folder / "rotator.yaml"
    path.write_text(settings)
    (folder / "policy.yaml").write_text(policy or "version: 1\ndefaults: {vault: https://kv.example}\n")
    return path


def problems_of(folder: Path, settings: str) -> list[str]:
    """The first line of each problem, without the folder."""
    found = check_files(write(folder, settings))
    return [problem.splitlines()[0].replace(f"{folder}/", "") for problem in found]


def test_settings_have_every_default_when_only_an_account_is_given(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ACCOUNT))
    assert settings.accounts[0].organizations == ("contoso",)
    assert settings.policy == tmp_path / "policy.yaml"
    assert settings.token_cache.path == tmp_path / "token-cache.bin"
    assert resolve(settings.database, {}, None).reveal() == f"sqlite:///{tmp_path}/rotator.db"
    assert settings.http.connect_timeout == timedelta(seconds=3)
    assert settings.rotation.settle == timedelta(minutes=10)
    assert settings.key_vault.credential == "default"
    assert describe(settings.token_cache.key) == "{env: ROTATOR_TOKEN_CACHE_KEY}"
    assert check_files(tmp_path / "rotator.yaml") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen: 10.0.0.1:9464", '"10.0.0.1:9464" can be reached from other hosts'),
        ("listen: '[::]:9464'\nlisten_public: false", "say listen_public: true"),
        ("listen: 9464", "must be text"),
        ("listen: '9464'", "must begin with an IP address"),
        ("listen: ''", "listen"),
        ("listen: unix:http.sock", "an absolute path"),
        ("metrics_textfile: metrics.txt", "must end in .prom"),
        ("metrics_textfile: 3", "must be the path of a file"),
        ("pings: [{url: https://hc.example/KEY, jobs: [wrok]}]", 'did you mean "work"'),
        ("pings: [{url: https://hc.example/KEY, jobs: []}]", "at least one entry"),
        ("pings: [{jobs: [work]}]", "pings[0].url: is missing"),
        *(
            (f"notify: [{{name: ops, kind: webhook, url: https://x.example/{CANARY}, {more}}}]", said)
            for more, said in (
                ("events: [rotation_complted]", 'did you mean "rotation_completed"'),
                ("events: [notification_delivered]", "is about a delivery"),
                ("min_severity: loud", "min_severity"),
                (f"secret: {CANARY}", "whsec_"),
                ("repeat: 0h", "repeat"),
                ("down_after: soon", "down_after"),
            )
        ),
        (f"notify: [{{name: ops, kind: webhook, url: http://x.example/{CANARY}}}]", "write https://HOST/PATH"),
        (f"notify: [{{name: ops, kind: apprise, url: '{CANARY}'}}]", "it is not one address of apprise"),
        (f"notify: [{{name: ops, kind: apprise, url: json://x, secret: {CANARY}}}]", "is for kind: webhook only"),
        ("notify: [{name: ops, kind: pigeon, url: json://x}]", "kind"),
        ("notify: [{name: 'o p', kind: apprise, url: json://x}]", "name"),
        (
            "notify: [{name: ops, kind: apprise, url: json://x}, {name: ops, kind: apprise, url: json://x}]",
            'notify[1].name: "ops" is already the name of notify[0]',
        ),
        *(
            (f"pings: [{{url: {url}}}]", said)
            for url, said in (
                (f"http://hc.example/{CANARY}", "write https://HOST/KEY"),
                ("https://hc.example", "must name the check after the host"),
                (f"https://hc.example/{CANARY}#x", "must name the check after the host"),
                (f"https://u:{CANARY}@hc.example/x", "write https://HOST/KEY"),
                (f"'https://hc.example/{CANARY} x'", "write https://HOST/KEY"),
                (f"'{CANARY}'", "write https://HOST/KEY"),
                (f"'https://hc.example:x/{CANARY}'", "cannot be parsed"),
                ("{key_vault: {vault: https://kv.example, name: x}}", "must be exactly one of"),
            )
        ),
    ],
)
def test_settings_say_what_is_wrong_with_what_monitoring_gets(tmp_path: Path, text: str, said: str) -> None:
    [problem] = check_files(write(tmp_path, f"{ACCOUNT}{text}\n"))
    assert said in problem
    assert CANARY not in problem


def test_settings_of_monitoring_are_off_and_are_taken_as_they_are_when_right(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ACCOUNT))
    assert (settings.listen, settings.metrics_textfile) == (None, None)
    text = "listen: 10.0.0.1:9464\nlisten_public: true\nmetrics_textfile: out/rotator.prom\n"
    settings = load_settings(write(tmp_path, ACCOUNT + text))
    assert (settings.listen, settings.metrics_textfile) == ("10.0.0.1:9464", tmp_path / "out" / "rotator.prom")
    settings = load_settings(write(tmp_path, f"{ACCOUNT}pings: [{{url: https://hc.example/{CANARY}}}]\n"))
    assert settings.pings[0].jobs == ("work",)
    assert CANARY not in f"{show_settings(settings)} {settings!r}"
    for listen in ("localhost:9464", "'[::1]:9464'", "unix:/run/rotator/http.sock"):
        assert problems_of(tmp_path, f"{ACCOUNT}listen: {listen}\n") == []


def test_settings_take_paths_as_they_are_when_absolute(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ACCOUNT + "policy: /etc/p.yaml\nhttp: {ca_bundle: /etc/ca.pem}\n"))
    assert settings.policy == Path("/etc/p.yaml")
    assert settings.http.ca_bundle == Path("/etc/ca.pem")


def test_settings_are_right_when_a_section_is_empty(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ACCOUNT + "entra:\nhttp:\n  # read_timeout: 20s\n"))
    assert settings.entra.instance_discovery is True


def test_settings_show_path_column_value_and_caret_when_a_value_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, ACCOUNT + "key_vault:\n  credential: acount\n")
    assert check_files(path) == [
        f'{path}:8:15 key_vault.credential: unknown credential "acount", expected default, environment, '
        'managed_identity, workload_identity, azure_cli or account, did you mean "account"?\n'
        "  credential: acount\n"
        "              ^"
    ]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("databse: x\n", '7:1 databse: unknown key, did you mean "database"?'),
        ("zzz: x\n", "7:1 zzz: unknown key, expected database, policy, accounts, entra, azure_devops, key_vault, "
         "token_cache, http, rotation, daemon, listen, listen_public, metrics_names, metrics_textfile, pings, notify, "
         "hooks or audit"),
        ("http: {connect_timout: 3s}\n", '7:8 http.connect_timout: unknown key, did you mean "connect_timeout"?'),
        ("http: {read_timeout: 15}\n", "7:22 http.read_timeout: 15 has no unit: write 15d for days, 15h for hours or "
         "15m for minutes"),
        ("daemon: {heartbeat: 61s}\n", "7:21 daemon.heartbeat: must be 1m at most: two minutes after its last "
         "heartbeat other commands and daemons take this one for dead"),
        *((f"http: {{{key}: {given}}}\n", f"7:{len(key) + 10} http.{key}: {given} is longer than {most}: a service "
           "that does not answer would hold up each job and each stop for that long, and nobody could tell a daemon "
           "that waits from one that is stuck")
          for key, given, most in (("connect_timeout", "1m1s", "1m"), ("read_timeout", "11m", "10m"),
                                   ("total_timeout", "7d", "10m"))),
        ("http: 3\n", "7:7 http: must be a section with keys and values"),
        ("azure_devops: {api_version: 7.1}\n", '7:29 azure_devops.api_version: must be text: put it in quotes, "7.1"'),
        ("azure_devops: {max_parallel: 0}\n", "7:30 azure_devops.max_parallel: 0 must be at least 1"),
        ("azure_devops: {max_parallel: 65}\n", "7:30 azure_devops.max_parallel: 65 must be at most 64"),
        ("azure_devops: {max_parallel: true}\n", "7:30 azure_devops.max_parallel: must be a whole number"),
        ("azure_devops: {core_url: http://a}\n", '7:26 azure_devops.core_url: "http://a" must begin with https://'),
        ("azure_devops: {core_url: https://a/b}\n", '7:26 azure_devops.core_url: "https://a/b" must have nothing '
         "after the host: write https://a"),
        ("entra: {instance_discovery: yes}\n", "7:29 entra.instance_discovery: must be true or false"),
        ("database: mysql://x\n", "7:11 database: this is not a database address: write "
         "sqlite:///rotator.db or postgresql+psycopg://user@host/database"),
        ("database: postgres://h/d\n", "7:11 database: the address must name the driver: begin it with "
         "postgresql+psycopg://"),
        ('database: "sqlite://"\n', "7:11 database: a SQLite address has three slashes in front of a relative path: "
         "sqlite:///rotator.db"),
        ("database: 'sqlite:///:memory:'\n", "7:11 database: a database in memory forgets every rotation: name a file, "
         "sqlite:///rotator.db"),
        *((f"database: '{url}'\n", "7:11 database: a SQLite address is the path of a file, without options: "
           "sqlite:///rotator.db (a ? in the path is %3F)")
          for url in ("sqlite:///x.db?mode=ro", "sqlite:////x.db?vfs=unix-none", "sqlite:///x.db?", "sqlite:///file:x.db",
                      "sqlite:///file:x.db?mode=ro&uri=true")),
        *((f"database: '{url}'\n", "7:11 database: the path has a % that begins no character: write the sign % itself "
           "as %25") for url in ("sqlite:///a%00.db", "sqlite:///%ff.db")),
        ("policy: 7\n", "7:9 policy: must be the path of a file, as text"),
        ("policy:\n", "7:1 policy: is empty"),
    ],
)  # fmt: skip
def test_settings_problem_says_what_was_expected_when_a_key_is_wrong(tmp_path: Path, extra: str, expected: str) -> None:
    assert [line.removeprefix("rotator.yaml:") for line in problems_of(tmp_path, ACCOUNT + extra)] == [expected]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("6f89cf12-978b-4d23-ac18-9ef0c127cf87", "common", "includes personal accounts"),
        ("6f89cf12-978b-4d23-ac18-9ef0c127cf87", "contoso", "must be a tenant id, a domain such as contoso.com"),
        ("3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906", "rotator", "must be an application id"),
        ("build-bot@contoso.com", "build-bot", "must be a user name such as"),
        ("[contoso]", "[https://dev.azure.com/contoso]", "must be the name alone"),
        ("[contoso]", "[contoso, Contoso]", "duplicate organization"),
        ("[contoso]", "[]", "must have at least one entry"),
        ("[contoso]", "contoso", "must be a list"),
        ("    tenant: 6f89cf12-978b-4d23-ac18-9ef0c127cf87\n", "", "accounts[0].tenant: is missing, for example"),
        ("name: build-bot", "name: 7", 'must be text: put it in quotes, "7"'),
        ("name: build-bot\n", "name: a b\n", "use letters, digits"),
    ],
)
def test_settings_problem_is_told_when_an_account_is_wrong(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = problems_of(tmp_path, ACCOUNT.replace(old, new))
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("policy: ~nosuchuser/policy.yaml", "9:9 policy: "),
        ("token_cache: {path: ~nosuchuser/cache.bin}", "9:21 token_cache.path: "),
        ("token_cache: {key: {file: ~nosuchuser/key}}", "9:20 token_cache.key: "),
        ("http: {ca_bundle: ~nosuchuser/ca.pem}", "9:19 http.ca_bundle: "),
        ('policy: "policy\\0.yaml"', "9:9 policy: the character U+0000 is not allowed here"),
        ('database: "sqlite:///\\0.db"', "9:11 database: the character U+0000 is not allowed here"),
        ('http: {ca_bundle: "\\udc80.pem"}', "9:19 http.ca_bundle: the character U+DC80 is not allowed here"),
        ('http: {proxy: "http://\\udfff"}', "9:15 http.proxy: the character U+DFFF is not allowed here"),
        ('key_vault: {authority: "https://\\U00110000"}', "9:35 an escape"),
        ('listen: "unix:/run/\\ud800"', "9:9 listen: the character U+D800 is not allowed here"),
        ('entra: {authority: "https://login\\0.example"}', "9:20 entra.authority: the character U+0000"),
    ],
)
def test_settings_problem_has_its_place_when_a_path_or_address_can_be_none(
    tmp_path: Path, line: str, expected: str
) -> None:
    problems = problems_of(tmp_path, f"{ACCOUNT}\n\n{line}\n")
    told = [problem for problem in problems if problem.startswith(f"rotator.yaml:{expected}")]
    assert told, problems
    assert "nosuchuser" not in line or "does not know" in told[0]


def test_settings_are_not_found_when_the_user_in_their_path_is_unknown(tmp_path: Path) -> None:
    for explicit, environ in ((Path("~nosuchuser/r.yaml"), {}), (None, {"ROTATOR_CONFIG": "~nosuchuser/r.yaml"})):
        with pytest.raises(ConfigError, match="a user whom this host does not know"):
            find_settings(explicit, environ, tmp_path)


@pytest.mark.parametrize("tenant", ["organizations", "contoso.com", "contoso.onmicrosoft.com"])
def test_settings_accept_the_tenant_when_it_is_a_domain_or_any(tmp_path: Path, tenant: str) -> None:
    text = ACCOUNT.replace("6f89cf12-978b-4d23-ac18-9ef0c127cf87", tenant)
    assert load_settings(write(tmp_path, text)).accounts[0].tenant == tenant


def test_settings_report_all_problems_in_order_when_there_are_several(tmp_path: Path) -> None:
    text = (
        ACCOUNT
        + ACCOUNT.removeprefix("accounts:\n").replace("build-bot@", "x@")
        + "    client_secret: {env: A}\n    client_certificate: {file: b}\n    colour: red\nhttp: {x: 1}\n"
    )
    lines = problems_of(tmp_path, text)
    assert [line.partition(": ")[0] for line in lines] == [
        "rotator.yaml:7:11 accounts[1].name",
        "rotator.yaml:13:25 accounts[1].client_certificate",
        "rotator.yaml:14:5 accounts[1].colour",
        "rotator.yaml:15:8 http.x",
    ]


def test_settings_refuse_a_vault_reference_when_the_vault_needs_that_account(tmp_path: Path) -> None:
    text = ACCOUNT + (
        "    client_secret: {key_vault: {vault: https://kv.vault.azure.net, name: app}}\n"
        "key_vault: {credential: account}\n"
    )
    assert "before it can read a vault" in problems_of(tmp_path, text)[0]
    assert problems_of(tmp_path, text.replace("credential: account", "credential: default")) == []


def test_signing_key_cannot_come_from_a_vault_that_a_person_must_sign_in_for(tmp_path: Path) -> None:
    text = ACCOUNT + (
        "key_vault: {credential: account}\n"
        "audit: {signing_key: {key_vault: {vault: https://contoso-kv.vault.azure.net, name: audit}}}\n"
    )
    assert [problem.split(": ")[0].split()[-1] for problem in problems_of(tmp_path, text)] == ["audit.signing_key"]
    assert problems_of(tmp_path, text.replace("credential: account", "credential: default")) == []


@pytest.mark.parametrize(
    ("anchors", "problem"),
    [
        ("[vault, {file: anchors.jsonl}, {webhook: {env: URL}, secret: {env: KEY}}]", None),
        ("[]", None),
        ("[vaults]", "must be a section"),
        ("[{}]", "needs one of vault, file, webhook and stamps"),
        ("[{file: x, webhook: {env: URL}}]", "needs one of vault, file, webhook and stamps"),
        ("[{file: x, secret: {env: KEY}}]", "secret is for a webhook only"),
        ("[{stamps: x, authority: 'https://tsa.example'}]", "stamps, authority and certificates belong together"),
        ("[{file: x, certificates: y}]", "stamps, authority and certificates belong together"),
        (
            "[{stamps: x, authority: 'ftp://tsa.example', certificates: y}]",
            "is not the address of a time-stamp authority",
        ),
        (
            "[{stamps: x, authority: 'https://a:b@tsa.example', certificates: y}]",
            "must not contain a user name or password",
        ),
        ("[{webhook: 'http://contoso.com'}]", "write https://"),
    ],
)
def test_anchors_are_kept_in_vaults_files_and_by_webhooks(tmp_path: Path, anchors: str, problem: str | None) -> None:
    problems = problems_of(tmp_path, ACCOUNT + f"audit: {{anchors: {anchors}}}\n")
    assert [(problem or "") in found for found in problems] == ([] if problem is None else [True])


@pytest.mark.parametrize(
    "line",
    [
        f"    client_secret: [{CANARY}]\n",
        f"    client_secrt: {CANARY}\n",
        f"    client_secret: {{value: {CANARY}}}\n",
        f"    client_secret: {{{CANARY}}}\n",
        f"    client_secret: {{env: '{CANARY} {CANARY}'}}\n",
        f"    client_certificate: |\n      -----BEGIN\n      {CANARY}\n",
        f"    client_certificate: {CANARY}\n",
        f"token_cache: {{key: {CANARY}, pth: x}}\n",
        f"database: postgresql+psycopg://u:{CANARY}@host\n",
        f"database: postgresql+psycopg://u@host:{CANARY}/d?password={CANARY}\n",
        f"secrets: {{a: [{CANARY}]}}\n",
    ],
)
def test_settings_problem_hides_the_value_when_it_may_be_secret(tmp_path: Path, line: str) -> None:
    found = check_files(write(tmp_path, ACCOUNT + line))
    assert found
    assert CANARY not in "\n".join(found)


def test_settings_hold_a_literal_secret_out_of_sight_when_printed(tmp_path: Path) -> None:
    text = ACCOUNT + f"    client_secret: {CANARY}\ndatabase: postgresql+psycopg://u:{CANARY}@h/d?sslmode=require\n"
    settings = load_settings(write(tmp_path, text))
    shown = show_settings(settings)
    assert CANARY not in f"{settings!r} {settings} {shown}"
    assert shown["database"] == "postgresql+psycopg://u:***@h/d?sslmode=require"
    secret = settings.accounts[0].client_secret
    assert secret is not None
    assert resolve(secret, {}, None).reveal() == CANARY


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=300, deadline=None)
def test_settings_never_crash_and_hide_the_secret_when_one_character_is_wrong(data: st.DataObject) -> None:
    text = ACCOUNT + f"    client_secret: {CANARY}\n    client_certificate: {CANARY}\nhttp: {{read_timeout: 1}}\n"
    position = data.draw(st.integers(0, text.index(CANARY)))
    typed = data.draw(st.sampled_from(["", *"\t\n #'\",:*&!|>-[]{}?%@`x\x00\x1b\u2028"]))
    with tempfile.TemporaryDirectory() as folder:
        found = check_files(write(Path(folder), text[:position] + typed + text[position + 1 :]))
    assert found
    assert CANARY not in "\n".join(found)


def test_settings_error_leads_nowhere_with_the_values_when_raised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, ACCOUNT + f"    client_secret: [{CANARY}]\n"))
    assert caught.value.__cause__ is None
    assert CANARY not in str(caught.value)
    assert caught.value.exit_code == 2


def test_check_reports_both_files_when_both_are_wrong(tmp_path: Path) -> None:
    found = check_files(write(tmp_path, ACCOUNT + "policy: policy.yaml\nx: 1\n", "version: 1\ny: 2\n"))
    assert [problem.splitlines()[0].removeprefix(f"{tmp_path}/").partition(" ")[0] for problem in found] == [
        "rotator.yaml:8:1",
        "policy.yaml:1:1",
        "policy.yaml:2:1",
    ]


def test_check_reports_the_policy_when_it_is_not_there(tmp_path: Path) -> None:
    found = check_files(write(tmp_path, ACCOUNT + "policy: none.yaml\n"))
    assert found == [f"{tmp_path}/none.yaml: the policy file does not exist"]


def test_settings_are_found_in_order_when_several_exist(tmp_path: Path) -> None:
    for name in ("explicit.yaml", "named.yaml", "rotator.yaml"):
        (tmp_path / name).touch()
    named = {"ROTATOR_CONFIG": str(tmp_path / "named.yaml")}
    assert find_settings(Path("explicit.yaml"), named, tmp_path) == tmp_path / "explicit.yaml"
    assert find_settings(None, named, tmp_path) == tmp_path / "named.yaml"
    assert find_settings(None, {"ROTATOR_CONFIG": ""}, tmp_path) == tmp_path / "rotator.yaml"


@pytest.mark.parametrize(
    ("explicit", "environ", "expected"),
    [
        (Path("none.yaml"), {}, "named by --config, does not exist"),
        (None, {"ROTATOR_CONFIG": "none.yaml"}, "named by ROTATOR_CONFIG, does not exist"),
        (Path(), {}, "named by --config, is not a file"),
        (Path("x" * 300), {}, "named by --config, cannot be reached: File name too long"),
        (None, {}, "looked for"),
    ],
)
def test_settings_search_says_where_it_looked_when_nothing_is_there(
    tmp_path: Path, explicit: Path | None, environ: dict[str, str], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        find_settings(explicit, environ, tmp_path)
    assert "rotator init" in caught.value.fix


def test_loading_imports_no_service_library_when_imported_alone() -> None:
    code = (
        "import sys, rotator.settings.load;"
        "print([m for m in sys.modules if m.split('.')[0] in {'azure', 'msal', 'sqlalchemy', 'alembic', 'requests'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_policy_refuses_a_vault_whose_name_no_vault_can_have(tmp_path: Path) -> None:
    policy = "version: 1\ndefaults: {vault: https://bad_vault.vault.azure.net}\n"
    (problem,) = check_files(write(tmp_path, ACCOUNT, policy))
    assert "cannot be a vault: its name has letters, digits and hyphens only" in problem


def test_settings_name_every_job_for_pings() -> None:
    """A new job can be pinged, too."""
    choices = PingSettings.model_json_schema()["properties"]["jobs"]["items"]["enum"]
    assert sorted(choices) == sorted(job.value for job in JobName)
