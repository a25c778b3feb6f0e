"""The table of checks, in the order in which they are told. A new check is a function and a line here.

The stages come one after the other: the sign-ins are refreshed before they are used, a vault that does not answer is
known before all its secrets are asked for, and the clocks of the services once the services have answered.
"""

from __future__ import annotations

from rotator.engine.checkup.at_services import (
    plan_consents,
    plan_organizations,
    plan_secrets,
    plan_sign_ins,
    plan_vaults,
)
from rotator.engine.checkup.of_records import check_audit, check_clock, check_inventory, check_mails, check_work
from rotator.engine.checkup.on_host import (
    check_backup,
    check_database,
    check_durability,
    check_files,
    check_policy,
    check_settings,
    check_space,
)
from rotator.engine.checkup.patient import Check, whole

CHECKS: tuple[tuple[Check, ...], ...] = (
    (
        Check("settings", whole(check_settings)),
        Check("policy", whole(check_policy)),
        Check("files", whole(check_files)),
        Check("database", whole(check_database)),
        Check("disk_space", whole(check_space)),
        Check("durability", whole(check_durability)),
        Check("backup", whole(check_backup)),
        Check("sign_in", plan_sign_ins),
    ),
    (
        Check("consent", plan_consents),
        Check("organization", plan_organizations),
        Check("vault", plan_vaults),
        Check("inventory", whole(check_inventory)),
        Check("mails", whole(check_mails)),
        Check("audit", whole(check_audit)),
        Check("work", whole(check_work)),
    ),
    (Check("secret", plan_secrets, all_well="each can be written, and holds what is expected or nothing yet"),),
    (Check("clock", whole(check_clock)),),
)
