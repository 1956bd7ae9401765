"""Demo data of our own: two hospitals of an invented city, some of whose patients are the same persons.

Nobody real can be meant: the resident id numbers are valid in form but carry a region code under which none is issued
(a province as a whole), and the telephone numbers start with digits that no network uses.
"""

from fhir_server.demo.data import (
    DEMO_PATIENT_A,
    DEMO_PATIENT_B,
    HOSPITAL_A,
    HOSPITAL_B,
    consent,
    resources,
)

__all__ = ["DEMO_PATIENT_A", "DEMO_PATIENT_B", "HOSPITAL_A", "HOSPITAL_B", "consent", "resources"]
