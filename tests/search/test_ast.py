"""The clause tree itself."""

import pytest

from fhir_server.search.ast import (
    And,
    Chain,
    Clause,
    Filed,
    Has,
    IdIn,
    InValueSet,
    Listed,
    Near,
    Not,
    Or,
    PersonReference,
    SelfIn,
    Subsumed,
    Text,
    leads_elsewhere,
    needs_body,
    transform,
)

A, B = Filed("a", ("a|1",)), Filed("b", ("b|1",))
TEXT = Text("t", ("t|x",), None)


def test_transform_reaches_every_node_but_those_in_a_chain() -> None:
    def swapped(clause: Clause) -> Clause:
        return B if clause == A else clause

    chain = Chain("p", ("Patient",), (("Patient", A),))
    assert transform(And((A, Or((A, Not(A))), chain)), swapped) == And((B, Or((B, Not(B))), chain))


def test_transform_gives_a_node_with_its_parts_already_changed() -> None:
    def emptied(clause: Clause) -> Clause:
        return IdIn(()) if clause in (A, Not(IdIn(()))) else clause

    assert transform(Not(A), emptied) == IdIn(())


def test_only_a_text_needs_the_body() -> None:
    assert needs_body(And((A, Or((B, Not(TEXT))))))
    assert not needs_body(And((A, Or((B, Not(A))), Chain("p", ("X",), (("X", TEXT),)))))
    assert not needs_body(Has("X", "p", TEXT))


@pytest.mark.parametrize(
    ("clause", "elsewhere"),
    [
        (Chain("p", ("X",), (("X", A),)), True),
        (Has("X", "p", A), True),
        (Listed("1"), True),
        (InValueSet("p", "u"), True),
        (Subsumed("p", "s", "c", above=True), True),
        (PersonReference("p", (), ()), True),
        (And((A, Or((B, Not(Listed("1")))))), True),
        (And((A, Or((B, Not(TEXT))), SelfIn((1,)), IdIn(("a",)), Near("p", 0, 0, 1))), False),
    ],
)
def test_what_speaks_of_other_resources_is_known(clause: Clause, elsewhere: bool) -> None:
    assert leads_elsewhere(clause) is elsewhere
