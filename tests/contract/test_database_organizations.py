"""The port Organizations, on every database."""

from __future__ import annotations

from rotator.domain.managed_pat import Failure
from rotator.domain.organization import OrganizationMemory
from rotator.errors import FailureKind
from rotator.ports.database import Database
from tests.support.records import DAY, NOW


def test_memory_of_an_organization_is_given_back_replaced_and_forgotten(database: Database) -> None:
    down = OrganizationMemory(
        "build-bot",
        "fabrikam",
        worked_at=NOW - DAY,
        failure=Failure("denied", "no access", "Ask.", FailureKind.FORBIDDEN),
        failed_at=NOW,
    )
    well, other = OrganizationMemory("build-bot", "contoso", NOW), OrganizationMemory("a-bot", "fabrikam")
    with database.begin() as work:
        assert work.organizations.load() == ()
        for memory in (down.worked(NOW), down, well, other):
            work.organizations.save(memory)
    with database.read() as reading:
        assert reading.organizations.load() == (other, well, down)
    with database.begin() as work:
        work.organizations.forget([("build-bot", "contoso"), ("nobody", "contoso")])
        assert work.organizations.load() == (other, down)
