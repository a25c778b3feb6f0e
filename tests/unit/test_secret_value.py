"""A secret gets out by `reveal()` and by nothing else."""

from __future__ import annotations

import copy
import io
import json
import logging
import operator
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from functools import partial
from pprint import pformat

import pytest

from rotator.domain.managed_pat import Pat
from rotator.domain.secret_value import SecretValue
from rotator.ports.pat_service import MintedPat

CANARY = "canary-3x7hm2qk5wzt"
MASK = "SecretValue(***)"


@dataclass(frozen=True)
class Envelope:
    """Something of ours that carries a secret."""

    name: str
    value: SecretValue


@dataclass(order=True)
class Ordered:
    """Compares its field."""

    value: SecretValue


def make_print(secret: SecretValue) -> str:
    """What `print` writes."""
    stream = io.StringIO()
    print(secret, [secret], file=stream)
    return stream.getvalue()


def make_log_line(secret: SecretValue) -> str:
    """What a log handler writes of a secret among the arguments, in the text and in `extra`."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(token)s"))
    log = logging.Logger("secret")
    log.addHandler(handler)
    log.error("a %s b %r " + str(secret), secret, {"k": secret}, extra={"token": secret})
    return stream.getvalue()


RENDERINGS: dict[str, Callable[[SecretValue], str]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "f-string": lambda secret: f"{secret}",
    "f-string repr": lambda secret: f"{secret!r}",
    "f-string debug": lambda secret: f"{secret=}",
    "f-string width": lambda secret: f"{secret:>40}",
    "f-string precision": lambda secret: f"{secret:.3}",
    "format": lambda secret: str.format("{0} {0!s} {0!r} {0!a}", secret),
    "percent": lambda secret: operator.mod("%s %r %a", (secret, secret, secret)),
    "join": lambda secret: ", ".join(map(str, [secret])),
    "inside a list": lambda secret: str([secret]),
    "inside a dict": lambda secret: str({"token": secret}),
    "inside a dataclass": lambda secret: repr(Envelope("n", secret)),
    "pformat": lambda secret: pformat({"token": [secret, Envelope("n", secret)]}),
    "exception text": lambda secret: str(ValueError("bad", secret)),
    "traceback": lambda secret: "".join(traceback.format_exception(ValueError("bad", secret))),
    "json with default": lambda secret: json.dumps({"token": secret}, default=str),
    "print": make_print,
    "log": make_log_line,
}


@pytest.mark.parametrize("render", RENDERINGS.values(), ids=RENDERINGS)
def test_secret_shows_only_a_mask_when_rendered(render: Callable[[SecretValue], str]) -> None:
    text = render(SecretValue(CANARY))
    assert MASK in text
    assert CANARY not in text


def test_minted_pat_hides_its_value_when_rendered() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    minted = MintedPat(Pat("id-1", "feed", "vso.code", None, moment, moment), SecretValue(CANARY))
    assert CANARY not in repr(minted)
    assert MASK in repr(minted)


REFUSALS: dict[str, Callable[[SecretValue], object]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy inside": lambda secret: copy.deepcopy({"a": [secret]}),
    "asdict": lambda secret: asdict(Envelope("n", secret)),
    "astuple": lambda secret: astuple(Envelope("n", secret)),
    "json": json.dumps,
    "json inside": lambda secret: json.dumps({"token": [secret]}),
    "vars": vars,
    "concatenation": lambda secret: operator.add("x", secret),
    "sorting": lambda secret: sorted([Ordered(secret), Ordered(SecretValue("a"))]),
    "join": lambda secret: operator.methodcaller("join", [secret])(""),
    "adding an attribute": lambda secret: setattr(secret, "note", "x"),
    **{f"pickle {protocol}": partial(pickle.dumps, protocol=protocol) for protocol in range(6)},
}


@pytest.mark.parametrize("leak", REFUSALS.values(), ids=REFUSALS)
def test_secret_refuses_without_telling_when_copied_or_taken_apart(leak: Callable[[SecretValue], object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        leak(SecretValue(CANARY))
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in repr(caught.value.__dict__)


def test_secret_equals_only_itself_when_compared() -> None:
    secret, twin = SecretValue(CANARY), SecretValue(CANARY)
    text: object = CANARY
    assert secret == secret
    assert secret != twin
    assert secret != text
    assert text != secret
    assert twin not in {secret: 1}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("a", "a", True), ("", "", True), ("a", "b", False), ("a", "A", False), ("a", "a ", False), ("é", "é", True)],
)
def test_secret_same_as_compares_the_values_when_asked(one: str, other: str, same: bool) -> None:
    assert SecretValue(one).same_as(SecretValue(other)) is same
    assert SecretValue(other).same_as(SecretValue(one)) is same


def test_secret_same_as_answers_when_a_value_is_not_encodable() -> None:
    """JSON may hold a lone surrogate; UnicodeEncodeError would carry the whole value in its repr."""
    secret = SecretValue(json.loads('"foreign\\ud800"'))
    assert secret.same_as(SecretValue(secret.reveal()))
    assert not secret.same_as(SecretValue(CANARY))


def test_secret_reveals_the_value_and_its_size_when_asked() -> None:
    secret = SecretValue(CANARY)
    assert secret.reveal() == CANARY
    assert len(secret) == len(CANARY)
    assert bool(secret)
    assert not SecretValue("")
