"""One sign-in of several replicas, on PostgreSQL: processes that are killed, frozen or cut off between an answer of
Entra and their commit, with refresh tokens that work once.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs

import psycopg
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import make_url

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.token_caches import SqlTokenCaches
from rotator.adapters.entra.sign_in import EntraSignIn
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, USERNAME
from tests.support.proving import with_sample
from tests.support.shared_sign_in import Replica, make_options, make_replica
from tests.support.signing_in import Stage

REFUSED = "sign_in_idle"
QUICK = 5.0
"""Seconds that a request may take where a holder is frozen: others wait 20 for a row, and it may be silent for 15."""


class Start(Protocol):
    """Starts a replica."""

    def __call__(self, total_timeout: float = 60) -> Replica:
        """Return it once it is ready."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The sandbox's Entra, where each refresh token works once."""
    with Sandbox(tmp_path / "sandbox") as sandbox:
        made = Stage(sandbox, tmp_path)
        made.configure(replaced_token_grace_seconds=0)
        yield made
        made.close()


@pytest.fixture
def url(postgres_url: str) -> str:
    """A PostgreSQL database with the schema."""
    upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def ours(stage: Stage, url: str) -> Iterator[EntraSignIn]:
    """The sign-in of this process, where a person has signed in."""
    caches = SqlTokenCaches(url)
    sign_in, _ = make_replica(make_options(stage.sandbox, url, stage.key), caches)
    stage.login(sign_in=sign_in)
    yield sign_in
    caches.close()


@pytest.fixture
def start(stage: Stage, url: str) -> Iterator[Start]:
    """Starts replicas, and ends them."""
    started: list[Replica] = []

    def begin(total_timeout: float = 60) -> Replica:
        started.append(Replica(make_options(stage.sandbox, url, stage.key, total_timeout)))
        assert started[-1].read() == "ready"
        return started[-1]

    yield begin
    for replica in started:
        replica.end()


def count_redeemed(stage: Stage) -> Counter[str]:
    """How often each refresh token was sent to Entra."""
    calls = stage.token_calls("refresh_token")
    return Counter(parse_qs(call.body.decode())["refresh_token"][0] for call in calls)


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize("times", with_sample({"few": (4,), "a thousand": (200,)}, ["few"]))
def test_five_replicas_redeem_each_refresh_token_once(
    stage: Stage, ours: EntraSignIn, start: Start, times: int
) -> None:
    replicas = [start() for _ in range(5)]
    for replica in replicas:
        replica.ask(times)
    assert [replica.read() for replica in replicas] == ["refreshed"] * 5
    redeemed = count_redeemed(stage)
    assert len(redeemed) == 5 * times
    assert set(redeemed.values()) == {1}
    assert ours.refresh(ACCOUNT, renews=True).username == USERNAME


def test_replicas_that_wait_use_what_the_first_one_saved(stage: Stage, ours: EntraSignIn, start: Start) -> None:
    """As at a start of all replicas with an access token that has run out."""
    stage.configure(access_token_lifetime_seconds=60)
    ours.refresh(ACCOUNT, renews=True)
    stage.configure(access_token_lifetime_seconds=3599)
    stage.world.record.clear()
    replicas = [start() for _ in range(4)]
    for replica in replicas:
        replica.ask(renews=False)
    assert [replica.read() for replica in replicas] == ["refreshed"] * 4
    assert len(stage.token_calls()) == 1


def test_killed_holder_costs_others_nothing_where_the_old_refresh_token_still_works(
    stage: Stage, ours: EntraSignIn, start: Start
) -> None:
    """As at Entra, which lets an old one live for a while: the answer of the killed one is lost, the sign-in is not."""
    stage.configure(replaced_token_grace_seconds=3600)
    holder, other = start(), start()
    holder.ask(waits=True)
    assert holder.read() == "answered"
    other.ask()
    holder.process.send_signal(signal.SIGKILL)
    holder.process.wait()
    assert other.read() == "refreshed"
    assert sorted(count_redeemed(stage).values()) == [2]
    assert ours.refresh(ACCOUNT, renews=True).username == USERNAME


def test_login_on_one_heals_all_after_a_kill_took_the_only_refresh_token(
    stage: Stage, ours: EntraSignIn, start: Start
) -> None:
    """Nothing else can: Entra gave it to nobody but the process that was killed. Nobody waits for ever for it."""
    holder, *others = (start() for _ in range(3))
    holder.ask(waits=True)
    assert holder.read() == "answered"
    holder.process.send_signal(signal.SIGKILL)
    holder.process.wait()
    assert [other.refresh() for other in others] == [REFUSED, REFUSED]
    stage.login(sign_in=ours)
    assert [other.refresh() for other in others] == ["refreshed", "refreshed"]


@pytest.mark.parametrize("grace", [0, 3600])
def test_frozen_holder_blocks_nobody_for_ever_and_loses_nothing_when_it_thaws(
    stage: Stage, ours: EntraSignIn, start: Start, grace: int
) -> None:
    """It has the only refresh token that works, where one works once: it saves that one as soon as it runs again."""
    stage.configure(replaced_token_grace_seconds=grace)
    holder, other = start(QUICK), start(QUICK)
    holder.ask(waits=True)
    assert holder.read() == "answered"
    holder.process.send_signal(signal.SIGSTOP)
    assert other.refresh() == (REFUSED if grace == 0 else "refreshed")
    holder.process.send_signal(signal.SIGCONT)
    holder.tell("go on")
    assert holder.read() == "refreshed"
    assert [replica.refresh() for replica in (other, holder, other)] == ["refreshed"] * 3
    assert ours.refresh(ACCOUNT, renews=True).username == USERNAME
    redeemed = count_redeemed(stage)
    assert sorted(redeemed.values())[-2:] == [1, 2], "only the first one was redeemed again"


def test_answer_is_saved_though_the_database_ended_the_session_that_held_the_row(
    stage: Stage, url: str, ours: EntraSignIn, start: Start
) -> None:
    """As a restart of PostgreSQL: the refresh token works once, and the process has the only one."""
    holder, other = start(), start()
    holder.ask(waits=True)
    assert holder.read() == "answered"
    place = make_url(url)
    with psycopg.connect(
        host=str(place.query["host"]), user="postgres", dbname=place.database, autocommit=True
    ) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        )
    holder.tell("go on")
    assert holder.read() == "refreshed"
    assert other.refresh() == "refreshed"
    assert set(count_redeemed(stage).values()) == {1}


def test_login_on_one_is_seen_by_replicas_that_were_refused(stage: Stage, ours: EntraSignIn, start: Start) -> None:
    replicas = [start(), start()]
    stage.configure_user(revoked=True)
    assert [replica.refresh() for replica in replicas] == ["sign_in_revoked"] * 2
    stage.configure_user(revoked=False)
    stage.login(sign_in=ours)
    assert [replica.refresh() for replica in replicas] == ["refreshed"] * 2
    assert ours.logout(ACCOUNT)
    assert [replica.refresh() for replica in replicas] == ["not_signed_in"] * 2


def test_replica_with_another_key_is_told_so_and_harms_nobody(stage: Stage, url: str, ours: EntraSignIn) -> None:
    stranger = Replica(make_options(stage.sandbox, url, Fernet.generate_key().decode()))
    try:
        assert (stranger.read(), stranger.refresh()) == ("ready", "token_cache_key")
    finally:
        stranger.end()
    assert ours.refresh(ACCOUNT, renews=True).username == USERNAME
