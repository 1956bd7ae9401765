"""Whether what happened to a register could have happened one step at a time: linearizability with one writer.

A history has writes, one after the other, and reads at the same time, each with when it was asked and when it was answered.
Source: Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects" (1990), for a register of which
one client writes; then reads can be placed greedily.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Event(NamedTuple):
    """One operation. begun, ended: by one clock of the machine. value: what was written, or read."""

    begun: float
    ended: float
    value: bool


def violations(writes: Sequence[Event], reads: Sequence[Event]) -> Iterator[str]:
    """Yield a line for each read that fits to no order of steps. writes: in order, none begun before the last had ended.

    The first write counts as done before everything else.
    """
    # Of a read that has ended: the last write that it, or one before it, must have seen.
    seen: list[tuple[float, int]] = []
    for read in sorted(reads, key=lambda each: each.begun):
        done = sum(write.ended < read.begun for write in writes[1:])
        least = max([done, *(number for ended, number in seen if ended < read.begun)])
        place = _first(writes, read, least)
        if place is None:
            yield f"a read from {read.begun:.6f} to {read.ended:.6f} gave {read.value}, which write {least} had replaced"
        else:
            seen.append((read.ended, place))


def _first(writes: Sequence[Event], read: Event, least: int) -> int | None:
    """Return the first write, from the least on, that a read can have seen."""
    for number in range(least, len(writes)):
        if number and writes[number].begun > read.ended:
            return None
        if writes[number].value == read.value:
            return number
    return None
