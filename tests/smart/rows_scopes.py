"""Requirements on what scopes open."""

from __future__ import annotations

from collections.abc import Callable

from tests.smart.opened import RESULTS, found, read
from tests.smart.table import named
from tests.smart.world import World

SCOPES = "Scopes: FHIR Resource Scope Syntax"
V1 = "Scopes: Scopes for requesting FHIR Resources"
FINE = "Scopes: Finer-grained resource constraints"
LABORATORY = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
P1 = ("Patient/p1",)
OF_P1 = ("Patient/p1", "Observation/laboratory-1", "Observation/vital-signs-1", "Encounter/e1")


def _opens(scope: str, *paths: str) -> Callable[[World], None]:
    """Return a check that an app with these scopes reads these of OPENED, and none of the others."""

    def holds(world: World) -> None:
        said = world.granted(scope=scope)
        assert read(world, said["access_token"]) == {*paths}, said["scope"]
        assert found(world, said["access_token"]) == {*paths}, said["scope"]

    return holds


def _grants_nothing_more(scope: str) -> Callable[[World], None]:
    """Return a check that a scope that cannot be read in full opens nothing: beside a good one, only that counts."""
    return _opens(f"patient/Patient.rs {scope}", *P1)


def _v1_comes_back_as_v1(world: World) -> None:
    said = world.granted(scope="launch/patient patient/Observation.read")
    assert said["scope"].split() == ["launch/patient", "patient/Observation.read"]


_row = named("scope")

ROWS = (
    _row("patient", SCOPES, "patient/ is about the patient in context", _opens("patient/*.rs", *OF_P1)),
    _row("type", SCOPES, "a scope opens its type", _opens("patient/Observation.rs", *RESULTS)),
    _row(
        "user",
        SCOPES,
        "user/ is about all that the user may see",
        _opens("user/Encounter.rs", "Encounter/e1", "Encounter/e2"),
    ),
    _row("v1", V1, "read means rs", _opens("patient/Observation.read", *RESULTS)),
    _row("v1-returned", V1, "v1 scopes come back as v1", _v1_comes_back_as_v1),
    _row(
        "union",
        "Scopes: Scope Equivalence",
        "several scopes open what each does",
        _opens("patient/Patient.rs patient/Encounter.rs", "Patient/p1", "Encounter/e1"),
    ),
    _row(
        "constraint",
        FINE,
        "a search constrains what is read and found",
        _opens(
            f"patient/Patient.rs patient/Observation.rs?category={LABORATORY}", "Patient/p1", "Observation/laboratory-1"
        ),
    ),
    _row(
        "constraint-encoded",
        FINE,
        "a percent-encoded constraint is the same",
        _opens(
            "patient/Observation.rs?category=http%3A%2F%2Fterminology.hl7.org%2FCodeSystem%2Fobservation-category%7Claboratory",
            "Observation/laboratory-1",
        ),
    ),
    _row(
        "constraint-and",
        FINE,
        "constraints of one scope hold together",
        _opens(f"patient/Patient.rs patient/Observation.rs?category={LABORATORY}&code=none", *P1),
    ),
    _row(
        "modifier",
        FINE,
        "a modifier is not understood, and opens nothing",
        _grants_nothing_more("patient/Observation.rs?code:not=x"),
    ),
    _row(
        "modifier-in", FINE, "nor :in", _grants_nothing_more("patient/Observation.rs?category:in=http://example.org/vs")
    ),
    _row("chain", FINE, "nor a chain", _grants_nothing_more("patient/Observation.rs?patient.birthdate=1990")),
    _row("filter", FINE, "nor _filter", _grants_nothing_more("patient/Observation.rs?_filter=code%20eq%20x")),
    _row(
        "unknown-parameter", FINE, "nor an unknown parameter", _grants_nothing_more("patient/Observation.rs?colour=red")
    ),
    _row(
        "empty-constraint",
        FINE,
        "nor an empty constraint",
        _grants_nothing_more("patient/Observation.rs? patient/Observation.rs?category="),
    ),
    _row(
        "order",
        SCOPES,
        "letters out of order open nothing",
        _grants_nothing_more("patient/Observation.sr patient/Observation.dus patient/Observation.rr"),
    ),
    _row(
        "slash",
        SCOPES,
        "an encoded slash is no slash",
        _grants_nothing_more("patient%2FObservation.rs patient%2F*.rs user%2F*.rs"),
    ),
    _row(
        "case",
        SCOPES,
        "letters count as they are",
        _grants_nothing_more("Patient/Observation.rs patient/observation.rs PATIENT/*.RS"),
    ),
    _row(
        "path",
        SCOPES,
        "a scope is no path",
        _grants_nothing_more(
            "patient/Observation/../*.rs patient/Observation.rs/../../user/*.rs patient//Observation.rs"
        ),
    ),
    _row(
        "wildcard",
        SCOPES,
        "a wildcard stands for all types or none",
        _grants_nothing_more("patient/Obs*.rs */Observation.rs patient/**.rs */*.rs"),
    ),
)
