"""The examples of hooks, each called as rotator calls a hook, against stand-ins: what they change and what they refuse.

`test_hook_examples` of the acceptance tests calls all of them during a rotation.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rotator.adapters.child_group import ChildGroups
from rotator.adapters.clock import SystemBootClock
from rotator.adapters.hooks import CommandHook
from rotator.adapters.stop import ProcessStop
from rotator.domain.hook import HookEvent, HookTerms, make_test_event
from rotator.domain.monitoring_errors import HookError
from rotator.sandbox.certificates import write_certificates
from rotator.sandbox.messages import Request, Response
from rotator.wiring.hooks import render
from tests.integration.test_hook_commands import EVENT, ID
from tests.support.pipelines_server import BEARER, CONNECTION, GROUP, PROJECT, PipelinesServer
from tests.support.processes_seen import find_in_processes
from tests.support.source_tree import ROOT
from tests.support.stand_in_programs import Call, Said, StandInPrograms

EXAMPLES = ROOT / "docs/examples/hooks"
VALUE = "n" * 76 + "AZDO" + "cnry"
NEWER = "m" * 76 + "AZDO" + "cnry"
SECRET = f"{EVENT.vault}/secrets/{EVENT.secret_name}"
TEST = make_test_event("example", EVENT.occurred_at)
SHOW = "az keyvault secret show --id"


class Bench:
    """A folder with stand-ins of az and kubectl, and a stand-in of Azure Pipelines."""

    def __init__(self, folder: Path, server: PipelinesServer, ca: Path) -> None:
        self.folder, self.server, self._ca = folder, server, ca
        self.programs = StandInPrograms(folder / "bin", self._answer)
        self.versions = {"0a1b": VALUE}
        self.disabled: set[str] = set()
        self.unlisted: set[str] = set()
        self.failing: dict[str, Said] = {}
        self.seen: list[str] = []
        server.watch = self._watch

    def call(self, *command: str, event: HookEvent = EVENT) -> str:
        """What an example prints. A part of the value that it prints would be masked: that shows too."""
        said = self._make(*command).call(event, ID)
        assert "*" not in said
        assert self.seen == []
        return said

    def fail(self, *command: str, event: HookEvent = EVENT) -> str:
        """Why an example fails."""
        with pytest.raises(HookError) as caught:
            self._make(*command).call(event, ID)
        assert "*" not in caught.value.message
        assert "Traceback" not in caught.value.message
        assert self.seen == []
        return caught.value.message

    def _make(self, *command: str) -> CommandHook:
        script = str(EXAMPLES / command[0])
        started = (script,) if script.endswith(".sh") else (sys.executable, script)
        environment = {"PATH": str(self.programs.folder), "HOME": str(self.folder), "REQUESTS_CA_BUNDLE": str(self._ca)}
        groups = ChildGroups(SystemBootClock(), ProcessStop())
        terms = HookTerms("example", ("secret_stored",))
        return CommandHook(
            terms, (*started, *command[1:]), timedelta(seconds=60), environment, self.folder, groups, render
        )

    def _watch(self, _: Request) -> None:
        self.seen += find_in_processes([VALUE, NEWER, BEARER])

    def _answer(self, call: Call) -> Said:
        self.seen += find_in_processes([VALUE, NEWER, BEARER])
        for begin, said in self.failing.items():
            if call.line.startswith(begin):
                return said
        if call.line.startswith(f"az keyvault secret list-versions --id {SECRET} "):
            listed = [
                {"id": f"{SECRET}/{name}", "created": f"2026-11-27T09:00:0{number}+00:00", "enabled": name not in off}
                for off in [self.disabled]
                for number, name in enumerate(self.versions)
                if name not in self.unlisted
            ]
            return Said(json.dumps(listed))
        if call.line.startswith(f"{SHOW} {SECRET}/"):
            return Said(self.versions[call.arguments[4].rpartition("/")[2]] + "\n")
        if call.line.startswith("az account get-access-token --resource 499b84ac-1321-427f-aa17-267ca6975798 "):
            return Said(f"{BEARER}\n")
        if call.line.startswith("az webapp show"):
            return Said("/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/feed\n")
        return Said("deployment.apps/builder\n" if call.program == "kubectl" else "")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give one."""
    ca, certificate = write_certificates(tmp_path)
    (tmp_path / "bin").mkdir()
    made = Bench(tmp_path, PipelinesServer(certificate), ca)
    with made.server.running(), made.programs.running("az", "kubectl"):
        yield made


def group_of(bench: Bench, variable: str = "NPM_TOKEN", group: int = GROUP) -> tuple[str, ...]:
    place = ("--project", PROJECT, "--address", bench.server.address)
    return ("update_variable_group.py", *place, "--group", str(group), "--variable", variable)


def connection_of(bench: Bench, connection: str = CONNECTION) -> tuple[str, ...]:
    place = ("--project", PROJECT, "--address", bench.server.address)
    return ("update_service_connection.py", *place, "--connection", connection)


def npmrc_of(
    bench: Bench, registry: str = "https://pkgs.dev.azure.com/contoso/_packaging/f/npm/registry/"
) -> list[str]:
    return ["write_npmrc.py", "--file", str(bench.folder / "agent.npmrc"), "--registry", registry]


def nuget_of(bench: Bench, source: str = "my feed") -> list[str]:
    return ["write_nuget_config.py", "--file", str(bench.folder / "NuGet.Config"), "--source", source]


def test_deployment_is_restarted_and_waited_for(bench: Bench) -> None:
    """The value is never asked for."""
    assert bench.call("restart_deployment.sh", "builder", "ci").endswith("deployment.apps/builder")
    assert bench.programs.lines == [
        "kubectl rollout restart deployment/builder --namespace ci",
        "kubectl rollout status deployment/builder --namespace ci --timeout 3m",
    ]


def test_deployment_that_does_not_come_up_again_fails_the_hook(bench: Bench) -> None:
    bench.failing["kubectl rollout status"] = Said(errors="error: timed out waiting for the condition", code=1)
    assert bench.fail("restart_deployment.sh", "builder") == (
        "the hook example exited with 1; it printed: "
        "deployment.apps/builder | error: timed out waiting for the condition"
    )
    assert "name the deployment" in bench.fail("restart_deployment.sh")
    (bench.programs.folder / "kubectl").unlink()
    assert "kubectl is not on the PATH" in bench.fail("restart_deployment.sh", "builder")


def test_web_app_reads_the_vault_again_before_it_is_restarted(bench: Bench) -> None:
    assert bench.call("restart_web_app.sh", "feed", "g") == "feed reads the vault again"
    site = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/feed"
    refresh = f"{site}/config/configreferences/appsettings/refresh?api-version=2022-03-01"
    assert bench.programs.lines == [
        "az webapp show --name feed --resource-group g --query id --output tsv --only-show-errors",
        f"az rest --method post --url {refresh} --output none --only-show-errors",
        "az webapp restart --name feed --resource-group g --only-show-errors",
    ]
    bench.failing["az rest"] = Said(errors="ERROR: Forbidden", code=1)
    assert bench.fail("restart_web_app.sh", "feed", "g").endswith("exited with 1; it printed: ERROR: Forbidden")


def test_variable_of_a_group_is_changed_and_all_else_stays(bench: Bench) -> None:
    """Secret variables, whose values are not shown, too."""
    before = json.loads(json.dumps(bench.server.group))
    assert bench.call(*group_of(bench, "npm_token")) == "NPM_TOKEN in feeds has the new value of npm-feed"
    before["variables"]["NPM_TOKEN"]["value"] = VALUE
    assert bench.server.group == before
    assert bench.server.methods == ["GET", "PUT"]
    assert all(VALUE not in line for line in bench.programs.lines)


@pytest.mark.parametrize(
    ("change", "variable", "why"),
    [
        ({}, "NPM_TOKN", "feeds has no variable NPM_TOKN. It has: FEED, NPM_TOKEN, OTHER_TOKEN"),
        ({}, "FEED", "FEED in feeds is not secret: everyone would see the value. Make it secret first"),
        ({"type": "AzureKeyVault"}, "NPM_TOKEN", "feeds is linked to a vault"),
    ],
)
def test_group_is_not_changed_when_the_variable_is_not_a_secret_of_its_own(
    bench: Bench, change: dict[str, object], variable: str, why: str
) -> None:
    bench.server.group.update(change)
    assert why in bench.fail(*group_of(bench, variable))
    assert bench.server.methods == ["GET"]


def test_group_that_lost_a_variable_is_told(bench: Bench) -> None:
    """Somebody else has written it meanwhile."""
    shown = json.loads(json.dumps(bench.server.group))
    del shown["variables"]["OTHER_TOKEN"]
    bench.server.answers = [Response.of_json(200, bench.server.group), Response.of_json(200, shown)]
    assert "variable group 7 has lost OTHER_TOKEN: enter them again" in bench.fail(*group_of(bench))


def test_service_connection_is_changed_and_all_else_stays(bench: Bench) -> None:
    before = json.loads(json.dumps(bench.server.connection))
    assert bench.call(*connection_of(bench)) == "npm of contoso has the new value of npm-feed"
    before["authorization"]["parameters"]["apitoken"] = VALUE
    assert bench.server.connection == before
    bench.server.connection["authorization"] = {
        "scheme": "UsernamePassword",
        "parameters": {"username": "bot", "password": "old"},
    }
    bench.call(*connection_of(bench))
    assert bench.server.connection["authorization"]["parameters"] == {"username": "bot", "password": VALUE}


def test_service_connection_is_not_changed_when_its_secret_is_not_certain(bench: Bench) -> None:
    bench.server.connection["authorization"]["parameters"]["other"] = "a second secret"
    assert "npm of contoso also holds other, which a change would delete" in bench.fail(*connection_of(bench))
    bench.server.connection["authorization"] = {"scheme": "ServicePrincipal", "parameters": {"username": "x"}}
    assert "this hook is for Token or UsernamePassword" in bench.fail(*connection_of(bench))
    assert set(bench.server.methods) == {"GET"}


def test_service_connection_that_is_no_longer_shared_is_told(bench: Bench) -> None:
    shown = json.loads(json.dumps(bench.server.connection))
    shown["authorization"]["parameters"]["apitoken"] = None
    less = {**shown, "serviceEndpointProjectReferences": shown["serviceEndpointProjectReferences"][:1]}
    bench.server.answers = [Response.of_json(200, shown), Response.of_json(200, less)]
    assert "is no longer shared with web: share it again" in bench.fail(*connection_of(bench))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Response.of_html(203, "<html>Sign in</html>"), "does not know the identity that az is signed in as"),
        (Response(302, headers={"Location": "https://127.0.0.1:1/"}), "does not know the identity"),
        (Response(401), "does not know the identity"),
        (Response.of_json(403, {"message": "You need Administrator"}), "with 403: You need Administrator"),
        (Response.of_json(404, {"message": "gone"}), "there is no variable group 7 in https://"),
        (Response.of_html(200, "<html>maintenance</html>"), "answered 200 without JSON to a GET"),
        (Response.of_json(200, None), "there is no variable group 7 in https://"),
        (Response.of_json(200, []), "refused a GET of the variable group 7 with 200"),
    ],
)
def test_answer_that_is_no_group_is_told_and_nothing_is_written(bench: Bench, answer: Response, why: str) -> None:
    bench.server.answers = [answer]
    assert why in bench.fail(*group_of(bench))
    assert bench.server.methods == ["GET"]


def test_refused_write_is_told(bench: Bench) -> None:
    shown = Response.of_json(200, bench.server.group)
    bench.server.answers = [shown, Response.of_json(403, {"message": "read only"})]
    said = bench.fail(*group_of(bench))
    assert "refused a PUT of the variable group 7 with 403: read only" in said
    bench.server.answers = [shown, Response.of_json(200, None)]
    bench.fail(*group_of(bench))


def test_service_that_is_not_there_is_told(bench: Bench) -> None:
    command = [*group_of(bench)]
    command[command.index(bench.server.address)] = "https://127.0.0.1:1"
    assert "Azure DevOps cannot be reached: ConnectionError" in bench.fail(*command)


def test_npmrc_has_the_value_for_both_addresses_and_its_other_lines_stay(bench: Bench) -> None:
    """The second time, only the passwords change."""
    path, feed = bench.folder / "agent.npmrc", "//pkgs.dev.azure.com/contoso/_packaging/f/npm/"
    path.write_text("; of the agent\nalways-auth=true\n//other.example.com/:_password=kept\n")
    path.chmod(0o600)
    for value in (VALUE, NEWER):
        bench.versions["0a1b"] = value
        assert bench.call(*npmrc_of(bench)) == f"{path} has the new value of npm-feed"
        password = base64.b64encode(value.encode()).decode()
        assert path.read_text().splitlines() == [
            *("; of the agent", "always-auth=true", "//other.example.com/:_password=kept"),
            *(f"{feed}registry/:username=agent", f"{feed}registry/:_password={password}"),
            *(f"{feed}registry/:email=agent@example.com", f"{feed}:username=agent"),
            *(f"{feed}:_password={password}", f"{feed}:email=agent@example.com"),
        ]
        assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in bench.folder.glob("*npmrc*")] == ["agent.npmrc"]


def test_npmrc_that_is_not_there_is_made(bench: Bench) -> None:
    bench.call(*npmrc_of(bench))
    assert len((bench.folder / "agent.npmrc").read_text().splitlines()) == 6
    assert "--registry must be https://" in bench.fail(*npmrc_of(bench, "https://example.com/feed"))


NUGET = """<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <!-- of the agent -->
  <packageSources>
    <clear />
    <add key="my feed" value="https://pkgs.dev.azure.com/contoso/_packaging/f/nuget/v3/index.json" />
  </packageSources>
  <packageSourceCredentials>
    <other>
      <add key="ClearTextPassword" value="kept" />
    </other>
  </packageSourceCredentials>
</configuration>
"""


def test_nuget_config_has_the_value_and_all_else_stays(bench: Bench) -> None:
    """The second time too; an encrypted password, which would go first, is gone."""
    path = bench.folder / "NuGet.Config"
    path.write_text(NUGET)
    path.chmod(0o640)
    bench.call(*nuget_of(bench))
    made = path.read_text()
    added = f"""    <my_x0020_feed>
      <add key="ClearTextPassword" value="{VALUE}" />
      <add key="Username" value="agent" />
    </my_x0020_feed>
"""
    whole = NUGET.replace("  </packageSourceCredentials>", f"{added}  </packageSourceCredentials>")
    assert made.splitlines()[1:] == whole.splitlines()[1:]
    path.write_text(made.replace('"Username" value="agent"', '"Username" value="bot" /><add key="Password" value="x"'))
    bench.versions["0a1b"] = NEWER
    bench.call(*nuget_of(bench))
    entries = ElementTree.parse(path).findall("packageSourceCredentials/my_x0020_feed/add")
    assert [(each.get("key"), each.get("value")) for each in entries] == [
        ("ClearTextPassword", NEWER),
        ("Username", "bot"),
    ]


def test_nuget_config_that_cannot_be_changed_is_left_as_it_is(bench: Bench) -> None:
    path = bench.folder / "NuGet.Config"
    assert "cannot be read: [Errno 2]" in bench.fail(*nuget_of(bench))
    path.write_text("<configuration>")
    path.chmod(0o640)
    assert "cannot be read: no element found" in bench.fail(*nuget_of(bench))
    path.write_text(NUGET)
    assert "has no source other feed in packageSources" in bench.fail(*nuget_of(bench, "other feed"))
    assert path.read_text() == NUGET


def test_file_that_others_may_open_or_own_is_not_written(bench: Bench) -> None:
    path = bench.folder / "agent.npmrc"
    path.write_text("")
    path.chmod(0o644)
    assert f"every user may open {path}: chmod 640 {path}" in bench.fail(*npmrc_of(bench))
    if os.geteuid() == 0:
        path.chmod(0o640)
        os.chown(path, 65534, 0)
        assert f"{path} belongs to another user" in bench.fail(*npmrc_of(bench))
        path.unlink()
        os.chown(bench.folder, 0, 65534)
        assert f"chmod g+s {bench.folder}" in bench.fail(*npmrc_of(bench))
        bench.folder.chmod(0o2770)
        bench.call(*npmrc_of(bench))
        assert path.stat().st_gid == 65534
    gone = [*npmrc_of(bench)]
    gone[gone.index(str(path))] = str(bench.folder / "gone" / ".npmrc")
    assert "does not exist, or this user may not write there" in bench.fail(*gone)


def test_call_that_comes_late_writes_the_newest_value(bench: Bench) -> None:
    """A call that failed is made again later; meanwhile the PAT may have been rotated again."""
    bench.versions["0c2d"] = NEWER
    bench.call(*group_of(bench))
    assert bench.server.group["variables"]["NPM_TOKEN"]["value"] == NEWER
    bench.disabled = {"0a1b"}
    bench.call(*group_of(bench))
    bench.disabled = {"0c2d"}
    bench.call(*group_of(bench))
    assert bench.server.group["variables"]["NPM_TOKEN"]["value"] == VALUE
    bench.disabled = {"0a1b", "0c2d"}
    assert "is enabled" in bench.fail(*group_of(bench))


def test_version_that_the_vault_does_not_list_yet_is_read(bench: Bench) -> None:
    bench.versions = {"old": NEWER, "0a1b": VALUE}
    bench.unlisted = {"0a1b"}
    bench.call(*group_of(bench))
    assert bench.server.group["variables"]["NPM_TOKEN"]["value"] == VALUE


@pytest.mark.parametrize("make", [group_of, connection_of, npmrc_of, nuget_of])
def test_example_says_what_it_lacks(bench: Bench, make: object) -> None:
    """The vault's refusal, an event without a secret, and no az at all."""
    assert callable(make)
    (bench.folder / "NuGet.Config").write_text(NUGET)
    (bench.folder / "NuGet.Config").chmod(0o640)
    command = [*make(bench)]
    bench.failing[SHOW] = Said(errors="ERROR: (Forbidden) no secrets/get", code=3)
    said = f"az keyvault secret show failed, signed in as in {bench.folder}/.azure: ERROR: (Forbidden) no secrets/get"
    assert said in bench.fail(*command)
    bench.failing.clear()
    without = replace(EVENT, event="account_refused", vault=None, secret_name=None, organization="contoso")
    assert "ROTATOR_HOOK_VAULT is empty: this hook is for the event secret_stored" in bench.fail(
        *command, event=without
    )
    (bench.programs.folder / "az").unlink()
    assert "the Azure CLI is not installed: there is no az on the PATH" in bench.fail(*command)
    assert "PUT" not in bench.server.methods
    assert not (bench.folder / "agent.npmrc").exists()


def test_test_of_an_example_changes_nothing(bench: Bench) -> None:
    """`rotator hooks test` tells it of no PAT."""
    (bench.folder / "NuGet.Config").write_text(NUGET)
    (bench.folder / "NuGet.Config").chmod(0o640)
    for command in (
        *((*make(bench), "--organization", "contoso") for make in (group_of, connection_of)),
        npmrc_of(bench),
        nuget_of(bench),
        ("restart_web_app.sh", "feed", "g"),
    ):
        assert "a test changes nothing" in bench.call(*command, event=TEST)
    assert bench.call("restart_deployment.sh", "builder", event=TEST) == "deployment.apps/builder"
    assert bench.server.methods == ["GET", "GET"]
    assert not (bench.folder / "agent.npmrc").exists()
    assert (bench.folder / "NuGet.Config").read_text() == NUGET
    assert [line.split(" --")[0] for line in bench.programs.lines] == [
        *["az account get-access-token"] * 2,
        *("az webapp show", "kubectl get deployment/builder"),
    ]


def test_examples_are_described() -> None:
    """Each is on the page of the examples, and says how it is used."""
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert names == {*re.findall(r"\b\w+\.(?:py|sh)\b", page)}
    for name in ("update_variable_group.py", "update_service_connection.py", "write_npmrc.py", "write_nuget_config.py"):
        shown = subprocess.run([sys.executable, EXAMPLES / name, "--help"], capture_output=True, text=True, check=True)
        assert shown.stdout.startswith(f"usage: {name}")
