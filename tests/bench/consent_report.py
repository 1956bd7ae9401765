"""The cost of consent as a section of the page, and its chart."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from tests.bench.consents import (
    CLINIC,
    FEW_PATIENTS,
    HOSPITAL,
    LOST_ACROSS,
    LOST_ALONE,
    MANY_PATIENTS,
    RECORDS,
    ROUNDS,
    Figures,
)
from tests.bench.drive import Measured

HEADING = "The cost of consent: the same questions, the same answers, few and many Consents"
WIDTH, LEFT, BAR = 760, 210, 12
SHADES = ("#9ecae1", "#6baed6", "#3182bd", "#08519c")


def consent_section(alone: Figures, across: Figures) -> str:
    """Return the tables, and the figures held against what is aimed at."""
    lines = [
        f"Each figure is the median of {ROUNDS} rounds in which the stores take turns. In brackets: what is lost of "
        "the first column's requests per second.",
        "",
        f"**One patient's records**: {FEW_PATIENTS} patients with {RECORDS} Observations each; all Consents are active, name "
        "who asks, and no two of a patient say the same.",
        "",
        *_table(alone),
        "",
        _aim("a search for one patient's records", alone, LOST_ALONE),
        "",
        f"**Across patients**: {MANY_PATIENTS:,} patients of {HOSPITAL}. Asked by {HOSPITAL} itself, without a Consent in "
        f"the store; and by {CLINIC}, to which each patient has granted all but what is labelled HIV.",
        "",
        *_table(across),
        "",
        _aim("a search across patients", across, LOST_ACROSS),
        "",
        "![Requests per second by the number of Consents](consent-cost.svg)",
    ]
    return "\n".join(lines)


def _table(figures: Figures) -> list[str]:
    names = list(next(iter(figures.values())))
    titles = " | ".join(f"{name}: /s | p50" for name in names)
    return [
        f"| what | {titles} |",
        "|---|" + "---|" * (2 * len(names)),
        *(f"| {title.replace('_', chr(92) + '_')} | {_cells(row)} |" for title, row in figures.items()),
    ]


def _cells(row: Mapping[str, Measured]) -> str:
    first = next(iter(row.values()))
    cells = [f"{first.per_second:,.0f} | {first.p50:.1f} ms"]
    for each in list(row.values())[1:]:
        cells.append(f"{each.per_second:,.0f} ({_lost(first, each):.0%}) | {each.p50:.1f} ms")
    return " | ".join(cells)


def _lost(first: Measured, other: Measured) -> float:
    return 1 - other.per_second / first.per_second


def _aim(what: str, figures: Figures, limit: float) -> str:
    lost = {
        (title, name): _lost(next(iter(row.values())), each)
        for title, row in figures.items()
        for name, each in list(row.items())[1:]
    }
    (title, name), most = max(lost.items(), key=lambda each: each[1])
    told = "yes" if most <= limit else "**no**"
    text = f"- {what} loses at most {limit:.0%}: {told} (most: {title}, {name}, {most:.0%})"
    return text.replace("_", "\\_")


def consent_chart(alone: Figures, across: Figures) -> str:
    """Return an SVG of bars: the requests per second of each row, one bar for each store."""
    rows = [*alone.items(), *across.items()]
    height = 40 + sum(20 + BAR * len(row) for _, row in rows)
    fastest = max(each.per_second for _, row in rows for each in row.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="22" font-weight="bold">Requests per second, by the number of Consents</text>',
    ]
    top = 40
    for title, row in rows:
        parts.append(
            f'<text x="{LEFT - 10}" y="{top + 10 + BAR * len(row) / 2}" text-anchor="end">{escape(title)}</text>'
        )
        for place, (name, each) in enumerate(row.items()):
            y, length = top + place * BAR, each.per_second / fastest * (WIDTH - LEFT - 250)
            shade = SHADES[place % len(SHADES)]
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="10" fill="{shade}"/>')
            said = escape(f"{each.per_second:,.0f}  {name}")
            parts.append(f'<text x="{LEFT + length + 5:.1f}" y="{y + 9}" font-size="10">{said}</text>')
        top += 20 + BAR * len(row)
    return "\n".join([*parts, "</svg>", ""])
