"""What the table of the checkup says of one error that several looks met."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from rotator.domain.checkup import Remark
from rotator.engine.checkup.examining import examine
from rotator.engine.checkup.patient import Check, Look, Patient
from rotator.errors import RotatorError


def refuse() -> Iterable[Remark]:
    raise RotatorError("everybody is refused", code="denied", fix="Ask.")


def make_check(name: str, *subjects: str) -> Check:
    return Check(name, lambda _: [Look(subject, refuse) for subject in subjects])


def say(*stages: Check) -> list[str]:
    return [found.remark.message for found in examine(cast("Patient", None), [[check] for check in stages])]


def test_others_that_were_asked_and_refused_are_not_called_unchecked() -> None:
    both = make_check("organization", "build-bot/contoso", "deputy/contoso")
    assert say(both) == ["everybody is refused (the same for: deputy/contoso)"]
    assert say(both, make_check("vault", "")) == [
        "everybody is refused (the same for: deputy/contoso; so not checked: vault)"
    ]


def test_every_check_that_was_not_made_is_named() -> None:
    names = [f"check_{number}" for number in range(9)]
    assert say(make_check("database", ""), *(make_check(name, "") for name in names)) == [
        f"everybody is refused (so not checked: {', '.join(names)})"
    ]
    secrets = make_check("secret", *(f"npm-{number}" for number in range(1000)))
    assert say(make_check("database", ""), make_check("vault", ""), secrets) == [
        "everybody is refused (so not checked: vault, secret)"
    ]
