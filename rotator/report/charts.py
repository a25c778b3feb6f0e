"""Charts as plain SVG. Each shows what a table beside it says; bars differ by their filling, not by colour alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from rotator.documents.review_parts import BucketDocument, TimeLeftDocument
from rotator.report.tables import TIME_LEFT

_WIDTH = 720
_TALL = 160
_ROW = 28
_LABEL = 190
"""How wide a label is where the text is large, as on a narrow screen."""


def render_timeline(buckets: Sequence[BucketDocument]) -> Markup:
    """Draw two bars for each part of the period: rotations that were completed, and failures."""
    most = max((max(bucket["completed"], bucket["failed"]) for bucket in buckets), default=0) or 1
    step = (_WIDTH - 40) / max(1, len(buckets))
    parts = [Markup('<line x1="36" y1="{0}" x2="{1}" y2="{0}" class="axis"/>').format(_TALL + 20, _WIDTH)]
    parts.append(Markup('<text x="30" y="26" class="end">{0}</text>').format(most))
    for place, bucket in enumerate(buckets):
        for row, (kind, number) in enumerate((("done", bucket["completed"]), ("bad", bucket["failed"]))):
            height = _TALL * number / most
            left, width = 40 + step * place + row * step * 0.42, step * 0.4
            parts.append(
                Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" {}/>').format(
                    left, _TALL + 20 - height, width, height, _fill("timeline-chart", kind)
                )
            )
    if buckets:
        first, last = buckets[0]["begins"][:10], buckets[-1]["ends"][:10]
        parts.append(Markup('<text x="40" y="{0}">{1}</text>').format(_TALL + 38, first))
        parts.append(Markup('<text x="{0}" y="{1}" class="end">{2}</text>').format(_WIDTH, _TALL + 38, last))
    legend = "Rotations that were completed (solid) and failures (hatched) over the period; the table has the numbers"
    return _wrap("timeline-chart", legend, _TALL + 44, Markup("").join(parts))


def render_time_left(rows: Sequence[TimeLeftDocument]) -> Markup:
    """Draw one bar for each span of time: how many PATs have so much left."""
    return _wrap(
        "time-left-chart",
        "Managed PATs by the time that they have left; the table has the numbers",
        _ROW * len(rows),
        Markup("").join(_draw_bars(rows)),
    )


def _draw_bars(rows: Sequence[TimeLeftDocument]) -> Iterator[Markup]:
    most = max((row["pats"] for row in rows), default=0) or 1
    for place, row in enumerate(rows):
        top, length = place * _ROW, (_WIDTH - _LABEL - 80) * row["pats"] / most
        kind = "bad" if row["left"] in ("expired", "day") else "done"
        yield Markup('<text x="0" y="{0}">{1}</text>').format(top + 18, TIME_LEFT[row["left"]])
        yield Markup('<rect x="{0}" y="{1}" width="{2:.1f}" height="18" {3}/>').format(
            _LABEL, top + 4, length, _fill("time-left-chart", kind)
        )
        yield Markup('<text x="{0:.1f}" y="{1}">{2}</text>').format(_LABEL + 8 + length, top + 18, row["pats"])


def _fill(chart: str, kind: str) -> Markup:
    return Markup('class="done"') if kind == "done" else Markup('class="bad" fill="url(#{}-hatch)"').format(chart)


def _wrap(name: str, title: str, height: int, body: Markup) -> Markup:
    return Markup(
        '<figure><svg viewBox="0 0 {0} {1}" role="img" aria-labelledby="{2}">'
        '<defs><pattern id="{2}-hatch" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<path d="M0 6 L6 0" class="hatch"/></pattern></defs>{4}</svg>'
        '<figcaption id="{2}">{3}</figcaption></figure>'
    ).format(_WIDTH, height, name, title, body)
