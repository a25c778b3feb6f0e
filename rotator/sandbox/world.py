"""The state behind the stand-ins: tenants, users, apps, organizations, PATs, vaults and tokens.

Plain data. Hold `World.lock` to read or change it; each service holds it for a whole request.
"""

from __future__ import annotations

import base64
import json
import secrets
import string
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.sandbox.clock import VirtualClock
from rotator.sandbox.faults import Faults
from rotator.sandbox.record import RequestRecord

__all__ = [
    "AccessToken",
    "App",
    "AuditEntry",
    "Organization",
    "Pat",
    "RefreshToken",
    "Secret",
    "SecretVersion",
    "Tenant",
    "User",
    "Vault",
    "VirtualClock",
    "World",
]

_LETTERS_AND_DIGITS = string.ascii_letters + string.digits


@dataclass
class Tenant:
    """An Entra tenant."""

    tenant_id: str
    domain: str
    device_code_allowed: bool = True


@dataclass
class User:
    """A person who can sign in. The switches make Entra refuse them."""

    object_id: str
    tenant_id: str
    username: str
    display_name: str
    enabled: bool = True
    mfa_required: bool = False
    conditional_access_blocked: bool = False
    sign_ins_revoked_at: datetime | None = None
    """Refresh tokens issued until then are invalid (password change, revoked sessions)."""
    refresh_error: int | None = None
    """The AADSTS number that every silent refresh of this user gets (70043, 700082, ...)."""
    deleted: bool = False
    """Whether the tenant has them no more; the organizations still do."""


@dataclass
class App:
    """An app registration."""

    client_id: str
    tenant_id: str
    secret: str | None = None
    certificates: dict[str, str] = field(default_factory=dict)
    """Public keys in PEM, by SHA-256 thumbprint (hex, lower case)."""
    consented: bool = True
    public: bool = True
    multi_tenant: bool = False
    secret_expired: bool = False
    permissions: tuple[str, ...] = ("user_impersonation",)
    """Its delegated permissions for Azure DevOps."""
    object_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The service principal's id, the subject of client-credential tokens."""


@dataclass(frozen=True)
class AccessToken:
    """A bearer token that Entra issued. `resource` is `azure_devops` or `key_vault`."""

    value: str = field(repr=False)
    subject_id: str
    username: str | None
    """None: a service principal."""
    tenant_id: str
    client_id: str
    resource: str
    expires_at: datetime


@dataclass
class RefreshToken:
    """A refresh token that Entra issued; it can be used until it expires or is revoked."""

    value: str = field(repr=False)
    subject_id: str
    tenant_id: str
    client_id: str
    issued_at: datetime
    expires_at: datetime
    revoked: bool = False


@dataclass
class Pat:
    """A personal access token. `target_accounts` holds organization ids; None means all organizations."""

    authorization_id: str
    user_id: str
    display_name: str
    scope: str
    target_accounts: tuple[str, ...] | None
    valid_from: datetime
    valid_to: datetime
    value: str = field(repr=False)
    revoked: bool = False


@dataclass(frozen=True)
class AuditEntry:
    """An entry of an organization's audit log: when, and its JSON as it is sent."""

    at: datetime
    document: Mapping[str, object]


@dataclass
class Organization:
    """An Azure DevOps organization and its policies for PATs."""

    name: str
    id: str
    members: set[str] | None = None
    """The object ids of the users who may enter. None: every user."""
    max_lifetime: timedelta | None = None
    lifetime_mode: str = "clamp"
    """`clamp` shortens a lifetime that is too long; `refuse` answers patLifespanPolicyViolation."""
    full_scope_allowed: bool = True
    global_pats: str = "blocked"
    """`allowed`, `policy_violation` (globalPatPolicyViolation) or `blocked` (globalPATCreationBlocked)."""
    creation_allowed: bool = True
    creation_scopes: tuple[str, ...] | None = None
    """The scopes that PATs may be created with although creation is not allowed."""
    auditing: bool = True
    """Whether the organization's audit log takes new entries."""
    audit_readers: set[str] | None = None
    """The object ids of the users who may read it. None: every user who may enter."""
    audit_lag: timedelta = timedelta(0)
    """How old an entry is when it appears."""
    audit_overlap: int = 0
    """How many entries of a page come again on the next one."""
    audit_log: list[AuditEntry] = field(default_factory=list)
    token_admins: set[str] = field(default_factory=set)
    """The object ids of the users who may list and revoke everybody's PATs."""
    graph_page: int = 500
    """How many users a page of the list of users has."""


@dataclass
class SecretVersion:
    """One version of a vault secret."""

    version: str
    value: str = field(repr=False)
    tags: dict[str, str]
    content_type: str | None
    enabled: bool
    created: datetime
    updated: datetime
    expires: datetime | None = None
    not_before: datetime | None = None


@dataclass
class Secret:
    """A vault secret, oldest version first. It is soft-deleted if `deleted_at` is set."""

    name: str
    versions: list[SecretVersion] = field(default_factory=list)
    deleted_at: datetime | None = None


@dataclass
class Vault:
    """A key vault, served at `base_url`."""

    name: str
    secrets: dict[str, Secret] = field(default_factory=dict)
    denied_operations: set[str] = field(default_factory=set)
    """Those of `get`, `set`, `list`, `delete`, `recover` and `purge` that everyone is refused, with 403."""
    denied_subjects: set[str] = field(default_factory=set)
    """The ids of subjects that may do nothing here."""
    firewall: bool = False
    read_only: bool = False
    """As in a regional failover: reads work, writes get 403."""
    base_url: str = ""


class World:
    """Everything that the stand-ins know. `lock` guards all of it except clock, faults and record."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.lock = threading.RLock()
        self.faults = Faults()
        self.record = RequestRecord()
        self.tenants: dict[str, Tenant] = {}
        self.users: dict[str, User] = {}
        """By object id."""
        self.apps: dict[str, App] = {}
        """By client id."""
        self.organizations: dict[str, Organization] = {}
        """By lower-case name."""
        self.vaults: dict[str, Vault] = {}
        """By name."""
        self.access_tokens: dict[str, AccessToken] = {}
        """By value."""
        self.refresh_tokens: dict[str, RefreshToken] = {}
        """By value."""
        self.pats: dict[str, Pat] = {}
        """By authorization id."""

    def user_named(self, username: str) -> User | None:
        """Find the user with this sign-in name, in any case."""
        wanted = username.casefold()
        return next((user for user in self.users.values() if user.username.casefold() == wanted), None)

    def vault_at(self, base_url: str) -> Vault:
        """Return the vault served at this address, or raise KeyError."""
        for vault in self.vaults.values():
            if vault.base_url == base_url:
                return vault
        raise KeyError(f"no vault is served at {base_url}")

    def new_pat_value(self) -> str:
        """Make a PAT value of today's format: 84 characters, `AZDO` at index 76."""
        body = "".join(secrets.choice(_LETTERS_AND_DIGITS) for _ in range(80))
        return body[:76] + "AZDO" + body[76:]

    def add_pat(
        self,
        user: User,
        display_name: str,
        scope: str,
        organizations: tuple[Organization, ...] | None,
        valid_from: datetime,
        valid_to: datetime,
    ) -> Pat:
        """Create a PAT, whatever the policies say. No organizations (None): an all-organization PAT."""
        targets = None if organizations is None else tuple(entry.id for entry in organizations)
        pat = Pat(
            authorization_id=str(uuid.uuid4()),
            user_id=user.object_id,
            display_name=display_name,
            scope=scope,
            target_accounts=targets,
            valid_from=valid_from,
            valid_to=valid_to,
            value=self.new_pat_value(),
        )
        with self.lock:
            self.pats[pat.authorization_id] = pat
        return pat

    def issue_access_token(
        self, subject: User | App, resource: str, client_id: str, lifetime: timedelta = timedelta(hours=1)
    ) -> AccessToken:
        """Issue a bearer token for a user, or for an app as a service principal; it looks like a JWT."""
        expires_at = self.clock.now() + lifetime
        claims = {"aud": resource, "exp": int(expires_at.timestamp()), "jti": secrets.token_hex(8)}
        parts = ({"alg": "none", "typ": "JWT"}, claims)
        coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
        token = AccessToken(
            value=".".join([*coded, secrets.token_urlsafe(32)]),
            subject_id=subject.object_id,
            username=subject.username if isinstance(subject, User) else None,
            tenant_id=subject.tenant_id,
            client_id=client_id,
            resource=resource,
            expires_at=expires_at,
        )
        with self.lock:
            self.access_tokens[token.value] = token
        return token
