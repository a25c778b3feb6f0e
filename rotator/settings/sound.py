"""The valid part of settings that have problems, so that a check can look at the rest in one go."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rotator.settings.model import Settings
from rotator.settings.problem import Location
from rotator.settings.sections.accounts import AccountSettings


class _SoundSettings(Settings):
    """Settings that may have lost every account."""

    accounts: tuple[AccountSettings, ...] = ()


@dataclass(frozen=True)
class SoundSettings:
    """The settings without what is wrong: that has its default instead, or is gone with its entry of a list.

    `left_out` is where something was wrong. `kept` has, for each list, where its entries stand in the file.
    """

    settings: Settings
    left_out: frozenset[Location]
    kept: Mapping[str, tuple[int, ...]]

    def find_place(self, location: Location) -> Location:
        """Return where in the file something of these settings stands."""
        match location:
            case (str(section), int(index), *rest):
                return section, self.kept[section][index], *rest
            case _:
                return location


def find_sound(data: Mapping[str, object], context: Mapping[str, Path]) -> SoundSettings:
    """Leave out what does not validate, until the rest does."""
    rest = copy.deepcopy(dict(data))
    kept = {key: list(range(len(value))) for key, value in rest.items() if isinstance(value, list)}
    left_out: set[Location] = set()
    while True:
        try:
            settings = _SoundSettings.model_validate(rest, context=context)
        except ValidationError as error:
            wrong = {_find_part(rest, found["loc"]) for found in error.errors(include_url=False, include_input=False)}
            left_out |= {_restore(part, kept) for part in wrong}
            for part in sorted(wrong, reverse=True):  # the last entries first: the others stay where they are
                _remove(rest, part)
                if len(part) == 2 and part[0] in kept:
                    del kept[str(part[0])][int(part[1])]
        else:
            return SoundSettings(settings, frozenset(left_out), {key: tuple(each) for key, each in kept.items()})


def _find_part(data: object, location: Location) -> Location:
    """Return the smallest part in which something is wrong, at most three levels deep. Every top level key is there."""
    part = location[:1]
    for depth in (2, 3):
        if _find(data, location[:depth]) is not None:
            part = location[:depth]
    return part


def _find(data: object, location: Location) -> object:
    for step in location:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            return None
    return data


def _remove(data: object, part: Location) -> None:
    around, last = _find(data, part[:-1]), part[-1]
    if isinstance(around, dict):
        around.pop(last, None)
    elif isinstance(around, list) and isinstance(last, int):
        del around[last]


def _restore(part: Location, kept: Mapping[str, list[int]]) -> Location:
    match part:
        case (str(section), int(index), *rest) if section in kept:
            return section, kept[section][index], *rest
        case _:
            return part
