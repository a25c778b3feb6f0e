"""Which controls a review is evidence for, and who could still hide what from it: the same in every report."""

from __future__ import annotations

CONTROLS = (
    ("NIST SP 800-53", "AC-2", "Account management", (1, 2, 7)),
    ("NIST SP 800-53", "IA-5", "Authenticator management", (1, 3, 4, 5, 8)),
    ("NIST SP 800-53", "IA-5(7)", "No embedded unencrypted static authenticators", (3, 8)),
    ("NIST SP 800-53", "AU-9", "Protection of audit information", (10,)),
    ("NIST SP 800-53", "AU-10", "Non-repudiation", (6, 7, 10)),
    ("NIST SP 800-53", "AU-11", "Audit record retention", (10,)),
    ("SOC 2", "CC6.1", "Logical access is restricted", (1, 2, 3, 5)),
    ("SOC 2", "CC6.2", "Credentials are issued and removed under control", (1, 7, 8)),
    ("SOC 2", "CC6.3", "Access follows roles and least privilege", (2, 5)),
    ("SOC 2", "CC7.2", "Anomalies are noticed", (6, 9, 10)),
    ("ISO/IEC 27001:2022", "A.5.16", "Identity management", (1,)),
    ("ISO/IEC 27001:2022", "A.5.17", "Authentication information", (3, 4, 8)),
    ("ISO/IEC 27001:2022", "A.5.18", "Access rights", (1, 2, 5, 8)),
    ("ISO/IEC 27001:2022", "A.8.15", "Logging", (6, 7, 9, 10)),
    ("PCI DSS", "8.6.3", "Secrets of application and system accounts are changed and protected", (3, 4, 5)),
)
"""Framework, number, what it asks for, and the sections of the page that speak of it."""

ATTACKERS = (
    (
        "writes the database",
        "altered, deleted, inserted and reordered events; a log rewritten, cut off or put back",
        "events that neither a signed checkpoint nor an anchor covers yet, as a rule those of the last 15 minutes",
    ),
    (
        "owns the host, not the key or the vaults",
        "the same, if you check with a public key of your own copy",
        "the same, and whatever they make rotator do, which it logs and signs",
    ),
    (
        "has the key, not the vaults",
        "every head and checkpoint in the vaults that the log lacks or contradicts",
        "what happened after the last anchor",
    ),
    (
        "has the vaults, not the key",
        "what the signatures show, and by the log, that anchors were deleted",
        "a log cut off with its checkpoints, if all newer anchors are deleted too",
    ),
    ("has the key and the vaults", "nothing", "everything"),
)
"""Who attacks, what a check by key and anchors names, and what can still be hidden."""
