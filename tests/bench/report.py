"""The measured figures as a page: tables, and a chart of how the time to answer grows with the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tests.bench.drive import Measured

Figures = Mapping[str, Mapping[int, Measured]]  # row title -> store size -> figures
WIDTH, LINE, LEFT = 760, 26, 210
SHADES = ("#9ecae1", "#4292c6", "#084594")


def shown(size: int) -> str:
    """Return a number of resources as people say it.

    >>> shown(10_000), shown(1_000_000)
    ('10 k', '1 M')
    """
    return f"{size // 1_000_000} M" if size >= 1_000_000 else f"{size // 1_000} k"


def page(figures: Figures, sizes: Sequence[int], *, notes: Sequence[str], driver: Sequence[str]) -> str:
    """Return docs/performance.md. notes: how it was measured. driver: rows of the shared load driver."""
    titles = " | ".join(f"{shown(size)}: /s | p50 | p99" for size in sizes)
    lines = [
        "# Performance",
        "",
        "Written by `make bench`; the code is in `tests/bench/`.",
        "",
        *(f"- {note}" for note in notes),
        "",
        "## Growth: the same questions, the same answers, stores of different sizes",
        "",
        f"| what | {titles} | slowest / fastest p50 |",
        "|---|" + "---|" * (3 * len(sizes) + 1),
        *(_row(title, of_size, sizes) for title, of_size in figures.items()),
        "",
        "![Median time to answer by size of the store](performance.svg)",
        "",
    ]
    if driver:
        lines += [
            "## Writing, reading, searching: the load driver that other servers are measured with",
            "",
            "| what | per second | p50 | p99 |",
            "|---|---|---|---|",
            *driver,
            "",
        ]
    return "\n".join(lines)


def _row(title: str, of_size: Mapping[int, Measured], sizes: Sequence[int]) -> str:
    cells = []
    for size in sizes:
        found = of_size.get(size)
        cells.append(f"{found.per_second:,.0f} | {found.p50:.1f} ms | {found.p99:.0f} ms" if found else " | | ")
    known = [each.p50 for each in of_size.values()]
    return f"| {title.replace('_', chr(92) + '_')} | {' | '.join(cells)} | {max(known) / min(known):.2f} |"


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
