"""fhir-facade user …: accounts as the operator makes and changes them."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

from fhir_server.cli import main
from tests.auth.accounts.house import PASSWORD, House
from tests.auth.accounts.test_sign_out import reads

DOCTOR = ["--name", "钱医生", "--role", "practitioner", "--fhir-user", "Practitioner/q1", "--organization", "org1"]


def command(house: House, *words: str, typed: str = "", status: int = 0) -> str:
    """Return what a command prints; of a failed one, what it complains of.

    It runs in this process: to start one for each takes most of the time.
    """
    printed, complained = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(complained):
        for name, value in environment(house).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["fhir-facade", "user", *words])
        patch.setattr(sys, "stdin", io.StringIO(typed))
        before = signal.getsignal(signal.SIGTERM)
        try:
            main()
            ended: Any = 0
        except SystemExit as stop:
            ended = stop.code or 0
        finally:
            signal.signal(signal.SIGTERM, before)
    assert ended == status, complained.getvalue()
    return (complained if status else printed).getvalue()


def environment(house: House) -> dict[str, str]:
    """Return the variables that name the hospital's installation."""
    settings = house.server.settings
    given = {"DATA": str(settings.data), "MONGODB_URI": house.uri, "DATABASE": settings.database, "ZONE": settings.zone}
    return {f"FHIR_{name}": value for name, value in given.items()}


def test_the_command_is_a_program(house: House) -> None:
    words = [sys.executable, "-m", "fhir_server", "user", "add", "somebody", *DOCTOR, "--password-stdin"]
    told = {"env": {**os.environ, **environment(house)}, "capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run(words, input="short\n", check=False, **told)
    assert done.returncode == 2
    assert "12 to 256 characters" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_an_account_is_made_shown_disabled_and_enabled(house: House) -> None:
    login = f"cli-{secrets.token_hex(4)}"
    command(house, "add", login, *DOCTOR, "--phone", "13800000000", "--password-stdin", typed=PASSWORD + "\n")
    shown = command(house, "show", login)
    said = json.loads(shown)
    assert (said["user"], said["purposes"], said["state"]) == ("Practitioner/q1", ["TREAT"], "password")
    assert "argon2" not in shown
    browser = house.browser().ask().press("sign-in", login=login, password=PASSWORD)
    assert browser.has("enrol")
    command(house, "disable", login)
    assert "disabled" in command(house, "list")
    assert browser.ask().has("sign-in")
    command(house, "disable", login, "--undo")
    assert browser.press("sign-in", login=login, password=PASSWORD).has("enrol")


def test_a_new_password_ends_sessions_and_grants(house: House) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask(scope="openid offline_access user/*.rs").sign_in()
    granted = house.tokens(browser.press("allow").back["code"])
    assert reads(house, granted)
    said = command(house, "password", doctor.login, "--password-stdin", typed="another good password\n")
    assert "1 grants ended" in said
    assert not reads(house, granted)
    assert browser.ask().has("sign-in")
    assert not browser.press("sign-in", login=doctor.login, password=PASSWORD).has("code")
    assert browser.press("sign-in", login=doctor.login, password="another good password").has("code")


def test_a_lost_phone_is_replaced(house: House) -> None:
    doctor = house.doctor()
    command(house, "totp", doctor.login)
    assert house.browser(doctor).ask().press("sign-in", login=doctor.login, password=PASSWORD).has("enrol")


def test_what_is_told_of_an_account_is_changed(house: House) -> None:
    doctor = house.doctor()
    command(house, "change", doctor.login, "--department", "dep9", "--purpose", "TREAT", "--purpose", "HRESCH")
    said = json.loads(command(house, "show", doctor.login))
    assert (said["department"], said["purposes"]) == ("dep9", ["TREAT", "HRESCH"])


REFUSED = [
    (["--role", "system", "--fhir-user", "Device/1"], PASSWORD, "role is one of"),
    (["--role", "patient"], PASSWORD, "is a reference to Patient"),
    (["--organization", "a b"], PASSWORD, "ids of Organizations"),
    (["--purpose", "a|b"], PASSWORD, "PurposeOfUse"),
    (["--practitioner-role", "x"], PASSWORD, "PractitionerRole/1"),
    (["--issuer", "https://idp.example.org"], PASSWORD, "go together"),
    ([], "short", "12 to 256 characters"),
    ([], "aaaaaaaaaaaaaaa", "different characters"),
]


@pytest.mark.parametrize(("changed", "password", "said"), REFUSED)
def test_an_account_that_cannot_be_is_refused_with_the_reason(
    house: House, changed: list[str], password: str, said: str
) -> None:
    told = command(house, "add", "somebody", *DOCTOR, *changed, "--password-stdin", typed=password + "\n", status=2)
    assert said in " ".join(told.split())
    assert "Traceback" not in told


def test_a_login_name_is_given_once(house: House) -> None:
    doctor = house.doctor()
    told = command(house, "add", doctor.login.upper(), *DOCTOR, "--password-stdin", typed=PASSWORD + "\n", status=2)
    assert "exists already" in " ".join(told.split())


def test_a_password_is_no_argument(house: House) -> None:
    assert "--password-stdin" in command(house, "add", "--help")
    assert "No such option" in command(house, "add", "x", *DOCTOR, "--password", "y", status=2)
