"""The reviewer's page: one file of HTML without scripts, that loads nothing."""

from __future__ import annotations

from datetime import timedelta

from rotator.documents.review import ReviewDocument
from rotator.domain.words import say_duration
from rotator.report.answers import answer_all
from rotator.report.cells import soften
from rotator.report.charts import render_time_left, render_timeline
from rotator.report.policies import list_texts
from rotator.report.rendering import hash_source, make_environment, show_lines
from rotator.report.summary import list_limits, list_unseen, list_warnings, say_nothing, summarize
from rotator.report.tables import make_tables
from rotator.report.times import say_time

QUESTIONS = (
    "What is there, and who owns it?",
    "What does it reach, and since when?",
    "When does each PAT expire, and when was it last rotated?",
    "Was the policy in force all the time?",
    "What broke the policy, and for how long?",
    "Who signed in, when, and what was refused?",
    "What did people do by hand, and why?",
    "What was revoked, when was it proven gone, and what is still valid?",
    "What failed, and for how long?",
    "Is the log whole, and what is not covered?",
)
_LABELS = (
    *("PATs and owners", "Reach", "Expiry and age", "Policy", "What broke it", "Sign-ins", "By hand", "Revoked"),
    *("Failed", "Is the log whole?"),
)
"""The questions in short, for links."""


def render_page(review: ReviewDocument) -> str:
    """Return the page. Whatever the review holds is text in it, and never markup."""
    environment = make_environment(shows_hidden=True)
    environment.filters["time"] = say_time
    environment.filters["soft"] = soften
    environment.filters["lines"] = show_lines
    environment.filters["span"] = lambda seconds: say_duration(timedelta(seconds=seconds))
    return environment.get_template("page.html").render(
        review=review,
        style_hash=hash_source(environment, "page.css"),
        questions=list(enumerate(QUESTIONS, 1)),
        labels=_LABELS,
        tables=make_tables(review),
        nothing=say_nothing(review),
        answers=answer_all(review),
        policies=list(list_texts(review)),
        warnings=[*list_warnings(review), *list_limits(review), *list_unseen(review)],
        summary=list(summarize(review)),
        timeline=render_timeline(review["timeline"]),
        time_left=render_time_left(review["time_left"]),
    )
