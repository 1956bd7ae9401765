"""The members of a value set, and what can be done with two such sets."""

from __future__ import annotations

from dataclasses import dataclass


class CannotExpand(ValueError):
    """The members of a value set cannot be told; the message says why, without any value of it."""


@dataclass(frozen=True, slots=True)
class Members:
    """codes: (system, code) one by one. systems: code systems every code of which is a member."""

    codes: frozenset[tuple[str, str]] = frozenset()
    systems: frozenset[str] = frozenset()

    def __or__(self, other: Members) -> Members:
        return Members(self.codes | other.codes, self.systems | other.systems)

    def __and__(self, other: Members) -> Members:
        """Return what is a member of both."""
        codes = {each for each in self.codes if each in other} | {each for each in other.codes if each in self}
        return Members(frozenset(codes), self.systems & other.systems)

    def __sub__(self, other: Members) -> Members:
        """Return the members without those of the other set.

        Raises CannotExpand if single codes are taken out of a code system that is not known code by code.
        """
        whole = self.systems - other.systems
        if any(system in whole for system, _ in other.codes):
            raise CannotExpand("it excludes single codes of a code system whose codes are not known here")
        return Members(frozenset(each for each in self.codes if each not in other), whole)

    def __contains__(self, coding: tuple[str, str]) -> bool:
        return coding in self.codes or coding[0] in self.systems
