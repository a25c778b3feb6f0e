"""The receivers as the settings make them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.notify.apprise import AppriseNotifier
from rotator.engine.receiver_claim import CLAIMED_FOR
from rotator.wiring.installation import Installation
from rotator.wiring.notifying import make_notifiers
from rotator.wiring.origin import Origin

SETTINGS = """
database: sqlite:///rotator.db
policy: policy.yaml
accounts:
  - name: build-bot
    tenant: 11111111-1111-1111-1111-111111111111
    client_id: 11111111-1111-1111-1111-111111111111
    username: build-bot@contoso.com
    organizations: [contoso]
token_cache: {path: token-cache.bin, key: {env: KEY}}
http: {read_timeout: 10m, total_timeout: %s}
notify:
  - {name: ops, kind: apprise, url: "json://127.0.0.1:1"}
"""


@pytest.mark.parametrize(("asked", "given"), [("10m", timedelta(minutes=4)), ("60s", timedelta(seconds=60))])
def test_no_message_takes_longer_than_a_claim_on_its_receiver(tmp_path: Path, asked: str, given: timedelta) -> None:
    """Otherwise two daemons take the receiver from each other, and nothing is ever noted as delivered."""
    path = tmp_path / "rotator.yaml"
    path.write_text(SETTINGS % asked, encoding="utf-8")
    path.chmod(0o600)
    with Installation(Origin(path, {}, tmp_path)) as installation:
        (notifier,) = make_notifiers(installation)
    assert isinstance(notifier, AppriseNotifier)
    assert notifier._http.total_timeout == given < CLAIMED_FOR
