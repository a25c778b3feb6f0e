"""The bare sequence: the requests of a run and nothing else. No database, no journal, no checks, no libraries of Azure.

What has to be known to send them (tokens, ids, names) is looked up before the clock starts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import requests

from tests.bench.kinds import RUN_WIDE, Kind
from tests.bench.stage import Stage

_PATS = "api-version=7.1-preview.1"
_SECRETS = "api-version=7.6"
_OF_VAULT = frozenset({Kind.CHALLENGE, Kind.VERSIONS, Kind.TAGS, Kind.STORE, Kind.SECRET})


@dataclass
class Subject:
    """One PAT and its secret, and what the requests so far have shown of them."""

    name: str
    authorization_id: str
    value: str = ""


class BareRun:
    """Sends them with plain `requests`, each thread on a session of its own, for PATs of `username`."""

    def __init__(self, stage: Stage, names: list[str], username: str) -> None:
        addresses = stage.addresses
        pats = f"{addresses['azure_devops_url']}/{addresses['organization']}/_apis"
        found = stage.find_pats(username)
        self._subjects = [Subject(name, found[name]) for name in names]
        self._entra = f"{addresses['entra_url']}/organizations/v2.0/.well-known/openid-configuration"
        self._devops, self._pats = f"{pats}/connectionData", f"{pats}/tokens/pats?{_PATS}"
        self._secrets = f"{addresses['key_vault_url']}/secrets/{addresses['organization']}"
        self._bearers = {name: f"Bearer {stage.issue_token(name, username)}" for name in ("azure_devops", "key_vault")}
        self._ca = addresses["ca_path"]
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    def measure(self, counts: Mapping[Kind, int], parallel: int) -> float:
        """Seconds for as many requests of each kind, those of one PAT after each other, `parallel` PATs at a time."""
        plans = share_out(counts, len(self._subjects))
        start = time.perf_counter()
        for kind in RUN_WIDE:
            for _ in range(counts.get(kind, 0)):
                self._send(kind, self._subjects[0])
        with ThreadPoolExecutor(parallel) as pool:
            for done in [pool.submit(self._work, *pair) for pair in zip(self._subjects, plans, strict=True)]:
                done.result()
        seconds = time.perf_counter() - start
        for session in self._sessions:
            session.close()
        return seconds

    def _work(self, subject: Subject, plan: list[Kind]) -> None:
        for kind in plan:
            self._send(kind, subject)

    def _send(self, kind: Kind, subject: Subject) -> None:
        if kind in _OF_VAULT:
            self._send_to_vault(kind, subject)
            return
        pat = f"{self._pats}&authorizationId={subject.authorization_id}"
        match kind:
            case Kind.SIGN_IN:
                self._ask("GET", self._entra)
            case Kind.IDENTITY:
                self._ask("GET", self._devops, "azure_devops")
            case Kind.LIST:
                self._ask("GET", f"{self._pats}&displayFilterOption=active&$top=100", "azure_devops")
            case Kind.PAT:
                self._ask("GET", pat, "azure_devops")
            case Kind.MINT:
                minted = self._ask("POST", self._pats, "azure_devops", _make_mint(subject.name)).json()["patToken"]
                subject.value = minted["token"]
            case Kind.PROBE:
                self._ask("GET", self._devops, basic=subject.value)
            case Kind.REVOKE:
                self._ask("DELETE", pat, "azure_devops")

    def _send_to_vault(self, kind: Kind, subject: Subject) -> None:
        secret = f"{self._secrets}-{subject.name}"
        match kind:
            case Kind.CHALLENGE:
                self._ask("GET", f"{secret}?{_SECRETS}", allowed=401)
            case Kind.VERSIONS:
                self._ask("GET", f"{secret}/versions?{_SECRETS}&maxresults=1", "key_vault")
            case Kind.TAGS:
                self._ask("PATCH", f"{secret}?{_SECRETS}", "key_vault", {"tags": {"rotator-intent": "bare"}})
            case Kind.STORE:
                body = {"value": subject.value, "tags": {"authorization-id": subject.authorization_id}}
                self._ask("PUT", f"{secret}?{_SECRETS}", "key_vault", body)
            case Kind.SECRET:
                subject.value = self._ask("GET", f"{secret}?{_SECRETS}", "key_vault").json()["value"]

    def _ask(
        self,
        method: str,
        url: str,
        service: str = "",
        body: Mapping[str, object] | None = None,
        *,
        basic: str = "",
        allowed: int = 200,
    ) -> requests.Response:
        headers = {"Authorization": self._bearers[service]} if service else {}
        answer = self._session().request(
            method, url, json=body, headers=headers, auth=("", basic) if basic else None, timeout=60
        )
        if answer.status_code != allowed:
            answer.raise_for_status()
        return answer

    def _session(self) -> requests.Session:
        session = getattr(self._local, "session", None)
        if isinstance(session, requests.Session):
            return session
        session = self._local.session = requests.Session()
        session.trust_env = False
        session.verify = self._ca
        self._sessions.append(session)
        return session


def share_out(counts: Mapping[Kind, int], pats: int) -> list[list[Kind]]:
    """The requests of each PAT, in order: an equal share of every kind, and one of what is left for the first ones."""
    plans: list[list[Kind]] = [[] for _ in range(pats)]
    for kind in Kind:
        if kind in RUN_WIDE:
            continue
        each, left = divmod(counts.get(kind, 0), pats)
        for number, plan in enumerate(plans):
            plan += [kind] * (each + (number < left))
    return plans


def _make_mint(name: str) -> dict[str, object]:
    expiry = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"displayName": name, "scope": "vso.build", "validTo": expiry, "allOrgs": False}
