"""What a person is told about something that went wrong: what it means, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rotator.domain.words import begin_sentence, say_names

SUBJECT = "{subject}"
NAME = "{name}"
"""Where the name of the ManagedPat belongs that an event about an organization names."""


@dataclass(frozen=True)
class Advice:
    """What to tell a person.

    `one` and `many` are the headline, about one subject and about several. `meaning` says what is wrong, `otherwise`
    what happens, and by when, if nobody does anything. `command` shows more or, if it `mends`, ends it; `fix` says what
    to do. `{subject}` stands in each of them where the subject belongs. `reasons` says more about some causes, by their
    codes. `names` are what people call some subjects. `was` is the headline of what was seen once, and may be over: of
    a place that is not asked all the time.
    """

    one: str
    many: str
    meaning: str
    otherwise: str
    command: str
    fix: str
    mends: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    was: str = ""

    def say_one(self, subject: str) -> str:
        """Return the headline about one subject."""
        return self.one.replace(SUBJECT, self.names.get(subject, subject))

    def say_seen(self, subject: str) -> str:
        """Return the headline about one subject as it was seen, which is all that records can say, as a sentence."""
        return replace(self, one=begin_sentence(self.was or self.one)).say_one(subject)

    def say_many(self, count: int) -> str:
        """Return the headline about several."""
        return self.many.replace("{count}", str(count))

    def name_in(self, subjects: Sequence[str]) -> Advice:
        """Return it with the first subject wherever one belongs; what is to be done about it says who else it is for.

        The headlines stay as they are.
        """

        def fill(text: str) -> str:
            return text.replace(SUBJECT, subjects[0] if subjects else "")

        others = "" if len(subjects) < 2 or SUBJECT not in self.fix else f" The same for: {say_names(subjects[1:])}."
        return replace(
            self,
            meaning=fill(self.meaning),
            otherwise=fill(self.otherwise),
            command=fill(self.command),
            fix=fill(self.fix) + others,
            reasons={code: fill(reason) for code, reason in self.reasons.items()},
        )
