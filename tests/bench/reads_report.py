"""Audited reads as a section of the page."""

from __future__ import annotations

import math
import os

from tests.bench.reads import PATIENTS, REQUESTS, ROUNDS, Figures, Reads

HEADING = "Audited reads"
AIM = 3_500  # reads per second


def reads_section(figures: Figures, *, processors: int | None = None) -> str:
    """Return the table, and the figures held against what is aimed at. processors: of this machine."""
    here = processors or os.cpu_count() or 1
    lines = [
        f"A Patient is read by id, {REQUESTS:,} times in a round about {PATIENTS} patients in turn; each row is the round of "
        f"median speed of {ROUNDS}. Before an answer leaves, the gate has judged it, its body was opened, and its whole "
        "AuditEvent is sealed, chained, and journaled at a majority; that each read left one was counted. Reads that wait "
        "together share what is asked of MongoDB. The last columns are microseconds of processor time for each read: of all "
        "processes of the server, of MongoDB, and of the load driver, which runs on the same processors.",
        "",
        "| workers | connections | reads/s | p50 | p99 | server | MongoDB | driver |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(workers, connections, each) for (workers, connections), each in figures.items()),
        "",
        *_aim(figures, here),
    ]
    return "\n".join(lines)


def _row(workers: int, connections: int, each: Reads) -> str:
    return (
        f"| {workers} | {connections} | {each.per_second:,.0f} | {each.p50:.1f} ms | {each.p99:.0f} ms | "
        f"{each.server:.0f} µs | {each.mongod:.0f} µs | {each.driver:.0f} µs |"
    )


def _aim(figures: Figures, here: int) -> list[str]:
    """Return the lines that say whether the aim is reached, and by how many processors it would be."""
    (workers, connections), fastest = max(figures.items(), key=lambda each: each[1].per_second)
    cheapest = min(figures.values(), key=lambda each: each.whole)
    needed = AIM * cheapest.whole / 1e6
    reached = "yes" if fastest.per_second >= AIM else "**no**"
    return [
        f"- {AIM:,} audited reads per second on this machine's {here} processors, MongoDB and the driver on them too: "
        f"{reached} (most: {fastest.per_second:,.0f}/s, {workers} worker{'s' * (workers > 1)}, {connections} connections)",
        f"- By the processor time of the cheapest row, {cheapest.server:.0f} µs and {cheapest.mongod:.0f} µs a read, "
        f"{AIM:,}/s keep {needed:.1f} processors busy, the driver's not counted: {math.ceil(AIM * cheapest.server / 1e6)} "
        f"for workers, {math.ceil(AIM * cheapest.mongod / 1e6)} for MongoDB. One worker does at most "
        f"{1e6 / cheapest.server:,.0f}/s, and workers share nothing but MongoDB.",
    ]
