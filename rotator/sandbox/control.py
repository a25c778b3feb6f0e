"""The control calls below `/_sandbox/`: look at the world, change it, plant faults, advance the clock.

They need no credential: the servers listen on loopback only, and nothing in them is real.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta

from rotator.sandbox.azure_devops_audit import add_to_log, note_in_log
from rotator.sandbox.azure_devops_replies import to_ticks
from rotator.sandbox.control_settings import (
    WORLD_KINDS,
    apply_changes,
    check_changes,
    describe_world,
    read_fault,
    read_fields,
)
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.world import Pat, World

Configure = Callable[[Mapping[str, object]], None]
CONTROL_PREFIX = "/_sandbox/"


class ControlService:
    """Answers control calls; a malformed call gets 400 with the reason."""

    def __init__(self, world: World, configure_entra: Configure, configure_key_vault: Configure) -> None:
        self._world = world
        self._configure_entra = configure_entra
        self._configure_key_vault = configure_key_vault
        self._routes: Mapping[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "world"): self._show_world,
            ("POST", "world"): self._change_world,
            ("GET", "requests"): self._show_requests,
            ("DELETE", "requests"): self._clear_requests,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "release"): self._release,
            ("POST", "late"): self._apply_late,
            ("POST", "clock"): self._advance_clock,
            ("POST", "pats"): self._add_pat,
            ("POST", "audit"): self._add_audit_entry,
            ("DELETE", "audit"): self._clear_audit_log,
            ("POST", "access-tokens"): self._issue_access_token,
        }

    def handle(self, request: Request) -> Response:
        """Answer one control call."""
        name = request.path.removeprefix(CONTROL_PREFIX).strip("/")
        revoked = re.fullmatch(r"pats/([^/]+)/revoke", name)
        try:
            if revoked and request.method == "POST":
                return Response.of_json(200, self._revoke_pat(revoked[1]))
            route = self._routes.get((request.method, name))
            if route is None:
                return Response.of_json(404, {"error": f"there is no {request.method} {request.path}"})
            return Response.of_json(200, route(request))
        except (KeyError, TypeError, ValueError) as problem:
            return Response.of_json(400, {"error": f"{type(problem).__name__}: {problem}"})

    def _show_world(self, request: Request) -> object:
        with self._world.lock:
            return describe_world(self._world)

    def _change_world(self, request: Request) -> object:
        """Set the fields of `organizations` and `vaults`; `key_vault` and the others go to those services' settings."""
        document = dict(read_fields(request.json()))
        own = {name: document.pop(name) for name in WORLD_KINDS & document.keys()}
        key_vault = read_fields(document.pop("key_vault", {}))
        with self._world.lock:
            changes = check_changes(self._world, own)
            self._configure_key_vault(key_vault)
            self._configure_entra(document)
            apply_changes(changes)
            return describe_world(self._world)

    def _show_requests(self, request: Request) -> object:
        return {"requests": [entry.summary() for entry in self._world.record.all()]}

    def _clear_requests(self, request: Request) -> object:
        self._world.record.clear()
        return {}

    def _add_fault(self, request: Request) -> object:
        self._world.faults.add(read_fault(read_fields(request.json())))
        return {"pending": self._world.faults.pending()}

    def _clear_faults(self, request: Request) -> object:
        self._world.faults.clear()
        return {"pending": 0}

    def _release(self, request: Request) -> object:
        self._world.faults.release()
        return {}

    def _apply_late(self, request: Request) -> object:
        return {"applied": self._world.faults.apply_late()}

    def _advance_clock(self, request: Request) -> object:
        seconds = read_fields(request.json())["advance_seconds"]
        if not isinstance(seconds, int | float):
            raise TypeError("advance_seconds must be a number")
        self._world.clock.advance(timedelta(seconds=seconds))
        return {"now": self._world.clock.now().isoformat()}

    def _add_pat(self, request: Request) -> object:
        """Add a PAT. Fields: username, display_name, scope, organizations (null: all), lifetime_days, age_days."""
        fields = read_fields(request.json())
        world = self._world
        user = world.user_named(str(fields["username"]))
        if user is None:
            raise KeyError(f"no user {fields['username']}")
        names = fields.get("organizations")
        targets = None
        if isinstance(names, list):
            targets = tuple(world.organizations[str(name)] for name in names)
        start = to_ticks(world.clock.now()) - timedelta(days=float(str(fields.get("age_days", 0))))
        end = start + timedelta(days=float(str(fields.get("lifetime_days", 30))))
        pat = world.add_pat(user, str(fields["display_name"]), str(fields["scope"]), targets, start, end)
        return {**_describe_pat(pat), "value": pat.value}

    def _add_audit_entry(self, request: Request) -> object:
        """Put an entry into an organization's audit log. Fields: organization, age_seconds, and what differs."""
        fields = dict(read_fields(request.json()))
        organization = self._world.organizations[str(fields.pop("organization"))]
        age = timedelta(seconds=float(str(fields.pop("age_seconds", 0))))
        with self._world.lock:
            add_to_log(self._world, organization, self._world.clock.now() - age, fields)
        return {"entries": len(organization.audit_log)}

    def _clear_audit_log(self, request: Request) -> object:
        """Lose all entries of every organization: a gap."""
        with self._world.lock:
            for organization in self._world.organizations.values():
                organization.audit_log.clear()
        return {}

    def _revoke_pat(self, authorization_id: str) -> object:
        with self._world.lock:
            pat = self._world.pats[authorization_id]
            pat.revoked = True
            for organization in self._world.organizations.values():
                if pat.target_accounts is None or organization.id in pat.target_accounts:
                    note_in_log(self._world, organization, "PatRevokeEvent", pat, self._world.users[pat.user_id])
            return _describe_pat(pat)

    def _issue_access_token(self, request: Request) -> object:
        """Issue an access token. Fields: username, resource (azure_devops or key_vault), client_id."""
        fields = read_fields(request.json())
        user = self._world.user_named(str(fields["username"]))
        if user is None:
            raise KeyError(f"no user {fields['username']}")
        client_id = str(fields.get("client_id", next(iter(self._world.apps))))
        token = self._world.issue_access_token(user, str(fields["resource"]), client_id)
        return {"access_token": token.value, "expires_at": token.expires_at.isoformat()}


def _describe_pat(pat: Pat) -> dict[str, object]:
    return {
        "authorization_id": pat.authorization_id,
        "display_name": pat.display_name,
        "revoked": pat.revoked,
    }
