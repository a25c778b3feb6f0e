"""The replies of faults that answer instead of the service."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from rotator.sandbox.azure_devops_replies import make_anonymous_answer, make_error, make_sign_in_page
from rotator.sandbox.faults import Fault
from rotator.sandbox.messages import Request, Response

SHAPED = frozenset({"status", "html", "rate_limited", "anonymous"})
"""The kinds whose whole reply is made here."""
PAGES = frozenset({"incomplete", "lagging", "odd"})
"""The kinds that change a true page of PATs."""
OVERSIZE = frozenset({"huge", "compressed", "nested", "crowded"})
"""The kinds that no client should read to the end."""
_MIB = 1024 * 1024

_ODD_ID = "0dd0{:04x}-1111-4222-8333-444444444444"
_PLAIN = {
    "displayName": "odd",
    "validTo": "2099-12-20T09:00:00Z",
    "scope": "vso.packaging",
    "targetAccounts": None,
    "validFrom": "2026-11-20T09:00:00.3333333Z",
    "token": None,
}
_ODDITIES: tuple[Mapping[str, object], ...] = (
    {"displayName": "half \ud83d"},
    {"displayName": "tab\tnew\nline\x00end"},
    {"displayName": "x" * 300},
    {"displayName": ""},
    {"displayName": None},
    {"scope": ""},
    {"scope": None},
    {"validFrom": "0001-01-01T00:00:00"},
    {"validTo": "9999-12-31T23:59:59.9999999Z"},
    {"targetAccounts": []},
    {"authorizationId": "0DD0000A-1111-4222-8333-44444444444B"},
    {"authorizationId": "not-a-guid"},
    {"authorizationId": None, "validTo": None},
)

_LIMIT = 200


def make_fault_response(fault: Fault, request: Request, now: datetime) -> Response:
    """Make the reply of such a fault; for `retry_after` only its headers matter."""
    if fault.kind == "html":
        return make_sign_in_page(fault.status or 203, request)
    if fault.kind == "anonymous":
        return make_anonymous_answer()
    if fault.kind == "rate_limited":
        return _make_rate_limited(fault, now)
    if fault.kind == "retry_after":
        return Response(200, b"", _rate_headers(fault, now, remaining=0))
    return _make_status(fault)


def reshape_page(fault: Fault, response: Response) -> Response:
    """Take one PAT out of a true page, and nothing in the page says so; or put odd ones in. No other reply changes."""
    if b'"patTokens"' not in response.body:
        return response
    page = json.loads(response.body)
    if fault.kind == "odd":
        page["patTokens"] += [
            {**_PLAIN, "authorizationId": _ODD_ID.format(n), **odd} for n, odd in enumerate(_ODDITIES)
        ]
        return Response.of_json(response.status, page, response.headers)
    entries = sorted(page["patTokens"], key=lambda entry: str(entry["validFrom"]))
    dropped = entries[-1:] if fault.kind == "lagging" else entries[:1]
    page["patTokens"] = [entry for entry in page["patTokens"] if entry not in dropped]
    if fault.kind == "incomplete":
        page["continuationToken"] = ""
    return Response.of_json(response.status, page, response.headers)


def make_oversize(kind: str, status: int) -> Response:
    """Make an answer that is too large, unpacked or as it is, or of too many parts, or nested too deep."""
    headers = {"Content-Type": "application/json"}
    if kind == "huge":
        return Response(status, b'{"padding": "' + b"x" * (32 * _MIB) + b'"}', headers)
    if kind == "crowded":
        return Response(status, b"[" + b"{}," * 2_000_000 + b"{}]", headers)
    if kind == "nested":
        return Response(status, b"[" * 100_000 + b"]" * 100_000, headers)
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(b'{"padding": "') + packer.flush(zlib.Z_FULL_FLUSH)
    # Each block after a full flush stands alone, so the same one may come again and again.
    block = packer.compress(b" " * _MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return Response(status, head + block * 1024, {**headers, "Content-Encoding": "gzip"})


def _rate_headers(fault: Fault, now: datetime, remaining: int) -> dict[str, str]:
    reset = now + timedelta(seconds=fault.seconds)
    return {
        "Retry-After": f"{fault.seconds:g}",
        "X-RateLimit-Resource": "SandboxService/Tokens",
        "X-RateLimit-Delay": f"{fault.seconds:.3f}",
        "X-RateLimit-Limit": str(_LIMIT),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(reset.timestamp())),
    }


def _make_rate_limited(fault: Fault, now: datetime) -> Response:
    if fault.service != "azure_devops":
        # Key Vault and Entra have their own bodies for throttling; clients look at the status only.
        throttled = {"error": {"code": "Throttled", "message": "Too many requests."}}
        return Response.of_json(429, throttled, {"Retry-After": f"{fault.seconds:g}", **fault.headers})
    message = (
        "TF400733: The request has been canceled: Request was blocked due to exceeding usage of resource "
        "'Concurrency' in namespace 'User'."
    )
    response = make_error(429, "RequestBlockedException", message)
    return Response(429, response.body, {**response.headers, **_rate_headers(fault, now, 0), **fault.headers})


def _make_status(fault: Fault) -> Response:
    status = 500 if fault.status is None else fault.status
    if isinstance(fault.body, bytes):
        return Response(status, fault.body, fault.headers)
    if isinstance(fault.body, str):
        return Response(status, fault.body.encode(), fault.headers)
    return Response(status, json.dumps(fault.body).encode(), {"Content-Type": "application/json", **fault.headers})
