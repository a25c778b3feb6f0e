"""The files that a sandbox writes for its client: `rotator.yaml`, `policy.yaml`, and two keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rotator.sandbox import seeds
from rotator.sandbox.certificates import write_private

FIRST_WORDS = {"rotator.yaml": "# Settings for the sandbox.", "policy.yaml": "# The policy for the sandbox"}
"""How the files that a sandbox writes begin, by name."""

_SETTINGS = """\
# Settings for the sandbox. Written anew at each start of it: the ports change.
database: sqlite:///rotator.db
policy: policy.yaml
accounts:
  - name: {account}
    tenant: {tenant}
    client_id: {client_id}
    username: {username}
    organizations: [{organization}]
{more_accounts}entra:
  authority: {addresses.entra_url}
  instance_discovery: false
azure_devops:
  identity_url: {addresses.azure_devops_url}
  core_url: {addresses.azure_devops_url}
  audit_url: {addresses.azure_devops_url}
  api_version: 7.1-preview.1
  max_parallel: 8
key_vault:
  credential: account
  authority: {addresses.entra_url}
  instance_discovery: false
  verify_challenge_resource: false
token_cache:
  path: token-cache.bin
  key: {{file: token-cache.key}}
audit:
  signing_key: {{file: audit-signing.key}}
  anchors: []
http:
  ca_bundle: ca.pem
  connect_timeout: 3s
  read_timeout: 15s
{proxy}rotation:
  settle: 10s
  lease: 1m
{notify}"""

_OTHER_ACCOUNT = """\
  - name: {other_account}
    tenant: {tenant}
    client_id: {client_id}
    username: {other_username}
    organizations: [{organization}]
"""

_NOTIFY = """\
notify:
  - name: ops
    kind: webhook
    url: {file: ops-url}
"""

_POLICY = """\
# The policy for the sandbox: like a real one, but with an overlap short enough to watch.
version: 1
defaults:
  rotate_before: 33%
  lifetime: keep
  overlap: 5s
  vault: {addresses.key_vault_url}
  secret_name: "{{organization}}-{{name}}"
rules:
  - name: hands-off
    match: {{display_name: "*-manual"}}
    action: alert
  - name: ci
    match: {{organization: {organization}, display_name: "ci-*", scope: vso.build_execute}}
    rotate_before: 7d
    lifetime: 30d
  - name: everything-else
    match: {{organization: {organization}}}
guardrails:
  max_lifetime: 90d
  deny_scopes: [app_token]
  max_rotations_per_hour: 50
"""


@dataclass(frozen=True)
class Addresses:
    """The addresses and files of a running sandbox. URLs have no trailing slash; paths are absolute."""

    entra_url: str
    azure_devops_url: str
    key_vault_url: str
    ca_path: Path
    config_path: Path
    policy_path: Path

    def document(self) -> dict[str, object]:
        """Make a JSON document of it, with the seeds that a caller needs to sign in."""
        return {
            "schema_version": 1,
            **{name: str(value) for name, value in asdict(self).items()},
            "device_login_url": f"{self.entra_url}/common/oauth2/deviceauth",
            "account": seeds.ACCOUNT,
            "username": seeds.USERNAME,
            "organization": seeds.ORGANIZATION,
        }


def write_configuration(addresses: Addresses, proxy_url: str | None = None, receiver_url: str | None = None) -> None:
    """Write the settings and the policy side by side, the URLs that are secret, and each key that is not there already.

    With a receiver the settings have a second account too.
    """
    seeded = {
        "addresses": addresses,
        "proxy": "" if proxy_url is None else "  proxy: {file: proxy.url}\n",
        "notify": "" if receiver_url is None else _NOTIFY,
        "account": seeds.ACCOUNT,
        "tenant": seeds.TENANT_ID,
        "client_id": seeds.CLIENT_ID,
        "username": seeds.USERNAME,
        "organization": seeds.ORGANIZATION,
        "other_account": seeds.OTHER_ACCOUNT,
        "other_username": seeds.OTHER_USERNAME,
    }
    seeded["more_accounts"] = _OTHER_ACCOUNT.format(**seeded) if receiver_url is not None else ""
    addresses.config_path.write_text(_SETTINGS.format(**seeded), encoding="utf-8")
    addresses.policy_path.write_text(_POLICY.format(**seeded), encoding="utf-8")
    for name, url in (("proxy.url", proxy_url), ("ops-url", receiver_url)):
        if url is not None:
            write_private(addresses.config_path.with_name(name), url.encode())
    key_path = addresses.config_path.with_name("token-cache.key")
    if not key_path.exists():
        write_private(key_path, Fernet.generate_key())
    signing_path = addresses.config_path.with_name("audit-signing.key")
    if not signing_path.exists():
        pem = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(signing_path, Ed25519PrivateKey.generate().private_bytes(*pem))
