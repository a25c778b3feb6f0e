"""How we send requests: what our adapters are given, also those that may send none. It loads no library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rotator.domain.secret_value import SecretValue


@dataclass(frozen=True)
class HttpOptions:
    """`ca_bundle` is a PEM file that replaces the public CAs.

    `read_timeout` is for each read; `total_timeout` for a whole request, until the last byte of its answer.
    `proxy` is an http or https address, with user and password if it wants them; `no_proxy` says what goes past it.
    `note_date` is told the `Date` of each answer. `hides_paths`: the paths are secrets, so the library logs nothing.
    `note_outcome` is told the status of each answer, and None of each request without one. `is_binary`: answers are
    no text, and nobody reads them as JSON.
    """

    ca_bundle: Path | None = None
    connect_timeout: timedelta = timedelta(seconds=3)
    read_timeout: timedelta = timedelta(seconds=15)
    total_timeout: timedelta = timedelta(seconds=60)
    proxy: SecretValue | None = None
    no_proxy: tuple[str, ...] = ()
    note_date: Callable[[str], None] | None = None
    hides_paths: bool = False
    note_outcome: Callable[[int | None], None] | None = None
    is_binary: bool = False
