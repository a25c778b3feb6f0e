"""All examples of hooks, called by a real run about its rotation: each consumer has the value, and nothing shows it."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotator.sandbox.certificates import write_certificates
from rotator.sandbox.messages import Request
from rotator.sandbox.seeds import VAULT
from tests.support.daemon import write_section
from tests.support.killing import NAME, SECRET, Stage
from tests.support.pipelines_server import BEARER, CONNECTION, GROUP, PROJECT, PipelinesServer
from tests.support.processes_seen import find_in_processes
from tests.support.source_tree import ROOT
from tests.support.stand_in_programs import Call, Said, StandInPrograms

_PATIENCE = 240
"""Six programs start others, one after the other, and each looks at every process of the host."""
EXAMPLES = ROOT / "docs/examples/hooks"
NUGET = """<configuration>
  <packageSources><add key="feed" value="https://example.com/index.json" /></packageSources>
</configuration>
"""


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage."""
    prepared.reset(lease="1h")
    yield prepared
    prepared.end()


class Host:
    """What the hooks find beside rotator. az reads the sandbox's vault; all who are asked look at what `ps` shows."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        ca, certificate = write_certificates(folder)
        (folder / "bin").mkdir()
        (folder / "agent").mkdir()
        (folder / "agent" / "NuGet.Config").write_text(NUGET)
        (folder / "agent" / "NuGet.Config").chmod(0o640)
        self._stage, self.folder, self.seen = stage, folder, list[str]()
        self.server = PipelinesServer(certificate)
        self.server.watch = self._watch
        self.programs = StandInPrograms(folder / "bin", self._answer)
        self.environment = {"PATH": str(self.programs.folder), "REQUESTS_CA_BUNDLE": str(ca)}

    def make_hooks(self) -> list[dict[str, object]]:
        """The section `hooks` with all examples."""
        place = ["--project", PROJECT, "--address", self.server.address]
        registry = "https://pkgs.dev.azure.com/contoso/_packaging/feed/npm/registry/"
        commands = {
            "builder": ["restart_deployment.sh", "builder"],
            "web": ["restart_web_app.sh", "feed", "builds"],
            "group": ["update_variable_group.py", *place, "--group", str(GROUP), "--variable", "NPM_TOKEN"],
            "connection": ["update_service_connection.py", *place, "--connection", CONNECTION],
            "npmrc": ["write_npmrc.py", "--file", str(self.folder / "agent" / ".npmrc"), "--registry", registry],
            "nuget": ["write_nuget_config.py", "--file", str(self.folder / "agent/NuGet.Config"), "--source", "feed"],
        }
        return [
            {
                "name": name,
                "on": ["secret_stored"],
                "command": [*([sys.executable] if script.endswith(".py") else []), str(EXAMPLES / script), *arguments],
                "timeout": "1m",
                "required": True,
            }
            for name, (script, *arguments) in commands.items()
        ]

    def _watch(self, _: Request) -> None:
        self.seen += find_in_processes([self._stage.find_latest().value, BEARER])

    def _answer(self, call: Call) -> Said:
        latest = self._stage.find_latest()
        self.seen += find_in_processes([latest.value, BEARER])
        identity = f"{self._stage.sandbox.addresses.key_vault_url}/secrets/{SECRET}"
        if call.line.startswith(f"az keyvault secret list-versions --id {identity} "):
            with self._stage.world.lock:
                versions = list(self._stage.world.vaults[VAULT].secrets[SECRET].versions)
            listed = [
                {"id": f"{identity}/{each.version}", "created": each.created.isoformat(), "enabled": each.enabled}
                for each in versions
            ]
            return Said(json.dumps(listed))
        if call.line.startswith(f"az keyvault secret show --id {identity}/{latest.version} "):
            return Said(latest.value + "\n")
        if call.line.startswith("az account get-access-token"):
            return Said(BEARER + "\n")
        known = ("az webapp", "az rest --method post", "kubectl rollout")
        return Said("done") if call.line.startswith(known) else Said(errors=f"not known: {call.line}", code=2)


@pytest.mark.timeout(300)
def test_every_example_gives_its_consumer_the_new_value_and_nothing_shows_it(stage: Stage, tmp_path: Path) -> None:
    """Output, arguments, environments, the database with its audit log: none has the value, in any spelling."""
    host = Host(stage, tmp_path)
    write_section(stage, "hooks", host.make_hooks())
    with host.server.running(), host.programs.running("az", "kubectl"):
        made = stage.start("-vv", "once", environment=host.environment)
        assert made.wait(_PATIENCE) == 0, made.read()
    value = stage.find_latest().value
    assert value != "old"
    assert host.server.group["variables"]["NPM_TOKEN"]["value"] == value
    assert host.server.group["variables"]["OTHER_TOKEN"]["value"] == "of another feed"
    assert host.server.connection["authorization"]["parameters"] == {"apitoken": value}
    password = base64.b64encode(value.encode()).decode()
    assert (tmp_path / "agent" / ".npmrc").read_text().count(f":_password={password}\n") == 2
    assert f'key="ClearTextPassword" value="{value}"' in (tmp_path / "agent" / "NuGet.Config").read_text()
    assert "kubectl rollout restart deployment/builder --namespace default" in host.programs.lines
    assert "az webapp restart --name feed --resource-group builds --only-show-errors" in host.programs.lines

    assert host.seen == []
    assert all(value not in line for line in host.programs.lines)
    assert not [name for call in host.programs.calls for name in call.names if name == "ROTATOR_TOKEN_CACHE_KEY"]
    listed = stage.start("audit", "list", "--event", "hook_succeeded", "--json")
    assert listed.wait() == 0
    events = json.loads(listed.output.read_text())["events"]
    outputs = {event["subject"]: event["details"]["output"] for event in events}
    assert len(outputs) == 6
    assert not [said for said in outputs.values() if "*" in said]
    assert outputs["group"] == f"NPM_TOKEN in feeds has the new value of {NAME}"
    for text in (made.read(), listed.read(), repr(outputs)):
        assert value not in text
        assert password not in text
    stage.check_secrecy()
