"""The world at the start of a sandbox: a tenant, two users, an app, two organizations, a vault, demo PATs."""

from __future__ import annotations

from datetime import timedelta

from rotator.sandbox.azure_devops_replies import to_ticks
from rotator.sandbox.world import App, Organization, Tenant, User, Vault, World

TENANT_ID = "6f89cf12-978b-4d23-ac18-9ef0c127cf87"
CLIENT_ID = "3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906"
ACCOUNT = "build-bot"
USERNAME = "build-bot@contoso.com"
USER_ID = "0d5b1c2e-6a0f-4a57-9c5e-7f0a4be1a001"
OTHER_USERNAME = "someone.else@contoso.com"
OTHER_ACCOUNT = "deputy"
"""The second account of a full sandbox, whose user administers the organization."""
OTHER_USER_ID = "0d5b1c2e-6a0f-4a57-9c5e-7f0a4be1a002"
ORGANIZATION = "contoso"
ORGANIZATION_ID = "38c1b7f4-52f0-4f3c-8a75-2f1f6f3f0c01"
OTHER_ORGANIZATION = "fabrikam"
OTHER_ORGANIZATION_ID = "38c1b7f4-52f0-4f3c-8a75-2f1f6f3f0c02"
VAULT = "contoso-kv"

# Name, scope, days since creation, days left: three near their expiry, one fresh, and those that need a person.
_DEMO_PATS = (
    ("ci-build", "vso.build_execute", 26, 4),
    ("npm-feed", "vso.packaging", 27, 3),
    ("release-notes", "vso.code", 28, 2),
    ("docs-site", "vso.wiki", 2, 28),
    ("deploy-manual", "vso.release_execute", 25, 5),
    ("old-admin", "app_token", 60, 10),
)


def seed_world(world: World) -> None:
    """Add the fixed parts, without PATs."""
    world.tenants[TENANT_ID] = Tenant(TENANT_ID, "contoso.com")
    for object_id, username, name in (
        (USER_ID, USERNAME, "Build Bot"),
        (OTHER_USER_ID, OTHER_USERNAME, "Someone Else"),
    ):
        world.users[object_id] = User(object_id, TENANT_ID, username, name)
    world.apps[CLIENT_ID] = App(CLIENT_ID, TENANT_ID)
    world.organizations[ORGANIZATION] = Organization(ORGANIZATION, ORGANIZATION_ID)
    world.organizations[OTHER_ORGANIZATION] = Organization(OTHER_ORGANIZATION, OTHER_ORGANIZATION_ID)
    world.vaults[VAULT] = Vault(VAULT)


def seed_administrator(world: World) -> None:
    """Let the second user list and revoke the PATs of everybody in the organization."""
    world.organizations[ORGANIZATION].token_admins.add(OTHER_USER_ID)


def seed_demo_pats(world: World) -> None:
    """Add what the account owns on the day of the demo: near expiry, fresh, full access, all organizations."""
    now = to_ticks(world.clock.now())
    user, other = world.users[USER_ID], world.users[OTHER_USER_ID]
    contoso, fabrikam = world.organizations[ORGANIZATION], world.organizations[OTHER_ORGANIZATION]

    Where = tuple[Organization, ...] | None

    def add(owner: User, name: str, scope: str, where: Where, age: int, left: int) -> None:
        world.add_pat(owner, name, scope, where, now - timedelta(days=age), now + timedelta(days=left))

    for name, scope, age, left in _DEMO_PATS:
        add(user, name, scope, (contoso,), age, left)
    add(user, "nightly-everywhere", "vso.code", None, 80, 9)
    add(user, "fabrikam-build", "vso.build", (fabrikam,), 27, 3)
    add(other, "personal", "vso.work", (contoso,), 10, 20)
