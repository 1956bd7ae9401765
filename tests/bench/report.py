"""The measured figures as a page: tables, and a chart of how the time to answer grows with the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tests.bench.drive import Measured

Figures = Mapping[str, Mapping[int, Measured]]  # row title -> store size -> figures
GROWTH = "Growth: the same questions, the same answers, stores of different sizes"
DRIVER_HEADING = "Writing, reading, searching: the load driver that other servers are measured with"
WIDTH, LINE, LEFT = 760, 26, 210
SYNTHEA = 90_000  # resources: a store with more of them holds the whole set
RELATED = ("composite", "chain", "chain of two", "_has", "_has and a name")
MOST_P99, MOST_EVERYTHING, MOST_GROWTH = 100.0, 150.0, 1.5  # milliseconds, milliseconds, times
SHADES = ("#9ecae1", "#4292c6", "#084594")


def shown(size: int) -> str:
    """Return a number of resources as people say it.

    >>> shown(10_000), shown(1_000_000)
    ('10 k', '1 M')
    """
    return f"{size // 1_000_000} M" if size >= 1_000_000 else f"{size // 1_000} k"


def page(sections: Mapping[str, str], before: str, notes: Sequence[str], *, order: Sequence[str], measured: str) -> str:
    """Return docs/performance.md.

    sections: by heading, those measured now. before: the page, whose others stay. measured: when, and by what.
    """
    kept = {part.partition("\n")[0]: part.partition("\n")[2] for part in before.split("\n## ")[1:]}
    found = {**kept, **{heading: f"*Measured {measured}.*\n\n{text}" for heading, text in sections.items()}}
    lines = ["# Performance", "", "Written by `make bench`; the code is in `tests/bench/`.", ""]
    lines += [f"- {note}" for note in notes]
    parts = ["\n".join(lines), *(f"## {heading}\n\n{found[heading].strip()}" for heading in order if heading in found)]
    return "\n\n".join(parts) + "\n"


def growth_section(figures: Figures, sizes: Sequence[int]) -> str:
    """Return how the times to answer grow with the store."""
    titles = " | ".join(f"{shown(size)}: /s | p50 | p99" for size in sizes)
    lines = [
        f"| what | {titles} | slowest / fastest p50 |",
        "|---|" + "---|" * (3 * len(sizes) + 1),
        *(_row(title, of_size, sizes) for title, of_size in figures.items()),
        "",
        *_targets(figures, sizes),
        "",
        "![Median time to answer by size of the store](performance.svg)",
    ]
    return "\n".join(lines)


def driver_section(rows: Sequence[str]) -> str:
    """Return the rows of the shared load driver."""
    return "\n".join(["| what | per second | p50 | p99 |", "|---|---|---|---|", *rows])


def _targets(figures: Figures, sizes: Sequence[int]) -> list[str]:
    """Return the lines that hold the figures against what is aimed at."""
    lines = []
    if whole := next((size for size in sizes if size >= SYNTHEA), None):
        slowest = max(RELATED, key=lambda title: figures[title][whole].p99)
        said = f"p99 of {', '.join(RELATED)} on {shown(whole)} below {MOST_P99:.0f} ms"
        lines.append(_target(said, f"slowest: {slowest}", figures[slowest][whole].p99, "ms", MOST_P99))
    everything = max(each.p50 for each in figures["$everything"].values())
    lines.append(_target(f"$everything below {MOST_EVERYTHING:.0f} ms", "p50", everything, "ms", MOST_EVERYTHING))
    growth = {title: _growth(of_size) for title, of_size in figures.items()}
    most = max(growth, key=growth.__getitem__)
    said = f"p50 of each row on all stores within {MOST_GROWTH} times"
    lines.append(_target(said, f"most: {most}", growth[most], "times", MOST_GROWTH))
    return lines


def _target(aim: str, what: str, found: float, unit: str, limit: float) -> str:
    text = f"- {aim}: {'yes' if found <= limit else '**no**'} ({what}, {found:.4g} {unit})"
    return text.replace("_", "\\_")


def _growth(of_size: Mapping[int, Measured]) -> float:
    known = [each.p50 for each in of_size.values()]
    return max(known) / min(known)


def _row(title: str, of_size: Mapping[int, Measured], sizes: Sequence[int]) -> str:
    cells = []
    for size in sizes:
        found = of_size.get(size)
        cells.append(f"{found.per_second:,.0f} | {found.p50:.1f} ms | {found.p99:.0f} ms" if found else " | | ")
    return f"| {title.replace('_', chr(92) + '_')} | {' | '.join(cells)} | {_growth(of_size):.2f} |"


def chart(figures: Figures, sizes: Sequence[int]) -> str:
    """Return an SVG of bars: the median time of each row, one bar for each size."""
    longest = max(each.p50 for of_size in figures.values() for each in of_size.values())
    block = LINE + 12 * (len(sizes) - 1)
    height = 60 + block * len(figures)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="22" font-weight="bold">Median time to answer, milliseconds (16 connections)</text>',
    ]
    for place, size in enumerate(sizes):
        x = LEFT + place * 110
        parts.append(f'<rect x="{x}" y="32" width="12" height="12" fill="{SHADES[place % len(SHADES)]}"/>')
        parts.append(f'<text x="{x + 18}" y="43">{shown(size)} resources</text>')
    for line, (title, of_size) in enumerate(figures.items()):
        top = 58 + line * block
        parts.append(f'<text x="{LEFT - 10}" y="{top + block / 2 - 4}" text-anchor="end">{escape(title)}</text>')
        for place, size in enumerate(sizes):
            if found := of_size.get(size):
                y, length = top + place * 12, max(1.0, found.p50 / longest * (WIDTH - LEFT - 70))
                shade = SHADES[place % len(SHADES)]
                parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="10" fill="{shade}"/>')
                parts.append(f'<text x="{LEFT + length + 5:.1f}" y="{y + 9}" font-size="10">{found.p50:.1f}</text>')
    return "\n".join([*parts, "</svg>", ""])
