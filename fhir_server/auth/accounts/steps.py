"""Which page comes next on the way to an app: a pure function of what is known so far.

Source: SMART App Launch 2.2, "Obtain authorization code"; OpenID Connect Core 1.0, 3.1.2.1 (prompt, max_age).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.accounts.flows import Flow
from fhir_server.auth.accounts.sessions import STRONG, Session
from fhir_server.auth.accounts.users import Kept
from fhir_server.auth.server.asking import Asked


class Step(StrEnum):
    """The pages, in their order. Their names are those of the buttons that send them."""

    SIGN_IN = "sign-in"
    ENROL = "enrol"
    CODE = "code"
    PURPOSE = "purpose"
    LAUNCH = "launch"  # no page: the EMR's context is read
    PATIENT = "patient"
    ENCOUNTER = "encounter"
    APPROVE = "approve"
    HOME = "home"  # signed in without an app


# What prompt=none answers instead of a page (OpenID Connect Core 1.0, 3.1.2.6).
UNASKED = {
    Step.SIGN_IN: "login_required",
    Step.ENROL: "login_required",
    Step.CODE: "login_required",
    Step.PURPOSE: "interaction_required",
    Step.PATIENT: "interaction_required",
    Step.ENCOUNTER: "interaction_required",
    Step.APPROVE: "consent_required",
}
NO_ENCOUNTER = "-"  # the user chose to name none


@dataclass(frozen=True, slots=True)
class Signed:
    """Somebody whose session is good; their second factor may still be wanting."""

    kept: Kept
    session: Session
    cookie: str = field(repr=False)

    @property
    def account(self) -> Account:
        return self.kept.account

    @property
    def wanting(self) -> Step | None:
        """The page of the second factor that this account still needs, None if it needs none."""
        if self.session.factors & STRONG:
            return None
        if self.kept.secret:
            return Step.CODE
        return Step.ENROL if self.account.needs_second_factor else None


def signed_lately(session: Session, flow: Flow, asked: Asked | None, *, now: int) -> bool:
    """Return whether somebody signed in as lately as the app wants. now: seconds since 1970."""
    if asked is None:
        return True
    if asked.prompt & {"login", "select_account"} or asked.max_age == 0:
        return session.at >= flow.began
    return asked.max_age is None or now - session.at <= asked.max_age


def next_step(signed: Signed | None, flow: Flow, asked: Asked | None, *, now: int) -> Step:
    """Return the step that is to be taken next. asked: None without an app. now: seconds since 1970."""
    if signed is None or not signed_lately(signed.session, flow, asked, now=now):
        return Step.SIGN_IN
    if signed.wanting:
        return signed.wanting
    if asked is None:
        return Step.HOME
    if flow.purpose is None:
        return Step.PURPOSE
    if asked.launch is not None and flow.launched is None:
        return Step.LAUNCH
    if flow.patient is None and needs_patient(asked.scopes):
        return Step.PATIENT
    if flow.encounter is None and "launch/encounter" in asked.scopes:
        return Step.ENCOUNTER
    return Step.APPROVE


def needs_patient(scopes: Collection[str]) -> bool:
    """Return whether scopes can be used with a patient in context only.

    >>> needs_patient(["openid", "patient/*.rs"]), needs_patient(["user/*.rs"])
    (True, False)
    """
    return any(each in ("launch/patient", "launch/encounter") or each.startswith("patient/") for each in scopes)
