"""Requirements on the context of an app: launched by an EMR, or by itself."""

from __future__ import annotations

from tests.smart.table import named
from tests.smart.world import World, back

CONTEXT = "Scopes: Launch context arrives with your access_token"
EHR = "Scopes: Apps that launch from the EHR"
IDENTITY = "Scopes: Scopes for requesting identity data"
STANDALONE = "Scopes: Standalone apps"


def _launched(world: World) -> None:
    launch = world.launch().json()["launch"]
    said = world.granted(scope="launch patient/Observation.rs", launch=launch)
    assert (said["patient"], said["encounter"]) == ("p1", "e1")


def _what_the_screen_shows(world: World) -> None:
    shown = {
        "need_patient_banner": False,
        "intent": "reconcile-medications",
        "smart_style_url": "https://org1.example.org/style.json",
        "fhirContext": ["ImagingStudy/i1"],
    }
    launch = world.launch(**shown).json()["launch"]
    said = world.granted(scope="launch patient/Observation.rs", launch=launch)
    assert {name: said[name] for name in shown} == {**shown, "fhirContext": [{"reference": "ImagingStudy/i1"}]}


def _a_launch_ends(world: World) -> None:
    launch = world.launch().json()["launch"]
    with world.at(600):
        _not_launched(world, "doctor1", launch)


def _a_launch_counts_once(world: World) -> None:
    launch = world.launch().json()["launch"]
    assert "code" in world.authorized(scope="launch patient/*.rs", launch=launch)
    _not_launched(world, "doctor1", launch)


def _a_launch_of_another_user(world: World) -> None:
    _not_launched(world, "doctor2", world.launch().json()["launch"])


def _a_launch_of_another_institution(world: World) -> None:
    _not_launched(world, "doctor1", world.launch("emr2").json()["launch"])


def _an_unknown_launch(world: World) -> None:
    for launch in ("unknown", "../x", "x" * 3_000, "状态", "{}"):
        _not_launched(world, "doctor1", launch)


def _not_launched(world: World, login: str, launch: str) -> None:
    person = world.person(login)
    said = back(person.approve(world.asked(person, scope="launch patient/*.rs", launch=launch)), world.redirect)
    assert said["error"] in ("invalid_request", "access_denied")
    assert "code" not in said


def _who_may_launch(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.granted()['access_token']}"}
    said = {"patient": "p1", "user": "Practitioner/d1"}
    assert world.http.post(f"{world.origin}/auth/launch", json=said, headers=headers).status_code in (401, 403)
    assert world.http.post(f"{world.origin}/auth/launch", json=said).status_code == 401


_row = named("authorize")


def _a_patient_is_established(world: World) -> None:
    said = world.granted(scope="patient/Observation.rs", choose="p2")
    assert said["patient"] == "p2"


def _an_encounter_is_picked(world: World) -> None:
    said = world.granted(scope="launch/patient launch/encounter patient/Encounter.rs", choose="p2")
    assert (said["patient"], said["encounter"]) == ("p2", "e2")


def _who_the_user_is_alone(world: World) -> None:
    said = world.granted(scope="openid fhirUser")
    assert set(said["scope"].split()) == {"openid", "fhirUser"}
    assert "id_token" in said


def _a_patients_own_app_is_about_them(world: World) -> None:
    said = world.granted("patient1", scope="launch/patient patient/*.rs", choose="p2")
    assert said["patient"] == "p1"


def _a_relatives_app_is_about_their_patient(world: World) -> None:
    assert world.granted("relative1", scope="launch/patient patient/Patient.rs", choose="p1")["patient"] == "p1"


ROWS = (
    _row("patient", STANDALONE, "patient scopes establish a patient, whom the user picks", _a_patient_is_established),
    _row(
        "relative",
        STANDALONE,
        "a related person's app is about the patient who permits it",
        _a_relatives_app_is_about_their_patient,
    ),
    _row(
        "encounter", STANDALONE, "launch/encounter lets the user pick a visit of that patient", _an_encounter_is_picked
    ),
    _row("identity", IDENTITY, "an app may ask who the user is, and nothing else", _who_the_user_is_alone),
    _row("own", STANDALONE, "a patient's app is about themself", _a_patients_own_app_is_about_them),
    _row("launched", EHR, "an EHR launch brings its patient and encounter", _launched),
    _row(
        "launch-context",
        CONTEXT,
        "banner, intent, style and further context come with the token",
        _what_the_screen_shows,
    ),
    _row("launch-late", EHR, "a launch counts for a short time", _a_launch_ends),
    _row("launch-once", EHR, "a launch counts once", _a_launch_counts_once),
    _row("launch-of-another", EHR, "a launch counts for its user", _a_launch_of_another_user),
    _row("launch-elsewhere", EHR, "a launch counts in its institution", _a_launch_of_another_institution),
    _row("launch-unknown", EHR, "an unknown launch is refused", _an_unknown_launch),
    _row("launch-who", EHR, "only an EMR makes launches", _who_may_launch),
)
