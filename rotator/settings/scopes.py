"""The scopes a PAT can have, as far as Azure DevOps documents them or its portal creates them."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from rotator.domain.words import say_did_you_mean

FULL_ACCESS = "app_token"

# Area and the suffixes that exist for it; "" is the bare area.
_AREAS = """
advsec: "" _write _manage
agentpools: "" _manage _listen
analytics: ""
auditlog: ""
auditstreams: _manage _delete
base: ""
build: "" _execute
code: "" _write _manage _full _status
connected_server: ""
dashboards: "" _manage
drop: "" _write _manage
entitlements: ""
environment: _manage
extension: "" _manage .data .data_write .default
features: "" _write
gallery: "" _acquire _publish _manage
githubconnections: "" _manage
governance: "" _write _manage
graph: "" _write _manage
hooks: "" _write _interact
identity: "" _manage
licensing: ""
loadtest: "" _write
machinegroup: _manage
memberentitlementmanagement: "" _write
notification: "" _write _manage _diagnostics _publish
packaging: "" _write _manage
pats: "" _manage
pipelineresources: _use _manage
profile: "" _write
project: "" _write _manage
release: "" _execute _manage
securefiles: _read _write _manage
security: "" _manage
serviceendpoint: "" _query _manage
settings: "" _write
symbols: "" _write _manage
taskgroups: _read _write _manage
test: "" _write
threads: _full
tokenadministration: ""
tokens: ""
variablegroups: _read _write _manage
wiki: "" _write
work: "" _write _full
"""


def _make_known_scopes() -> frozenset[str]:
    scopes = {FULL_ACCESS}
    for line in _AREAS.strip().splitlines():
        area, _, suffixes = line.partition(": ")
        scopes.update(f"vso.{area}{suffix.strip(chr(34))}" for suffix in suffixes.split())
    return frozenset(scopes)


KNOWN_SCOPES = _make_known_scopes()


def check_scope(scope: str) -> str:
    """The scope itself. ValueError when Azure DevOps has none of that name."""
    if scope not in KNOWN_SCOPES:
        raise ValueError(f'unknown scope "{scope}"{say_did_you_mean(scope, KNOWN_SCOPES)}')
    return scope


def check_scope_pattern(pattern: str) -> str:
    """The pattern itself. ValueError when it can match no scope that Azure DevOps has."""
    if not re.search(r"[*?\[]", pattern):
        return check_scope(pattern)
    if not any(fnmatchcase(scope, pattern) for scope in KNOWN_SCOPES):
        raise ValueError(f'the pattern "{pattern}" matches no scope of Azure DevOps')
    return pattern
