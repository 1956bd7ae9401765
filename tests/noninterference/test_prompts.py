"""The prompt of a booking: its page tells of nobody, whichever link leads to it and whoever has come by it."""

from __future__ import annotations

from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.auth.requester import Role
from tests.noninterference.agreements import Json
from tests.noninterference.both import Both
from tests.noninterference.conftest import BACK, several
from tests.noninterference.oracle import User
from tests.noninterference.pair import Pair
from tests.noninterference.questions import users
from tests.noninterference.twins import filled
from tests.noninterference.windows import Desks, Window, account
from tests.noninterference.world import worlds

STEPS = ("send", "verify", "agree", "later", "decline")
SCOPES = ("system/*.cruds", "system/*.cruds", "system/Patient.r system/Consent.cu")
# What a booking can send that is wrong; and what can stand in a link beside the request.
WRONG: tuple[Json, ...] = (
    {"return_url": "https://elsewhere.example/back"},
    {"expires": "yesterday"},
    {"expires": "2020-01-01"},
    {"type": ["Nonsense"]},
    {"purpose": "none"},
    {"organization": "Organization/h2"},
    {"name": "张三"},
)
BESIDE: tuple[Json, ...] = (
    {},
    {"step": "sms"},
    {"step": "sign-in"},
    {"said": "not_yours"},
    {"said": "told"},
    {"said": "waiting", "wait": "30"},
    {"said": "../x", "lang": "en"},
    {"lang": "fr"},
)


@several(8)
@given(st.data())
def test_the_prompt_of_a_booking(doors: Pair, desks: Desks, data: st.DataObject) -> None:
    world = data.draw(worlds(doors.fresh()), label="world")
    purpose = data.draw(st.sampled_from(["TREAT", "TREAT", "HRESCH"]))
    user = User("system", "Device/emr-h1", "h1", purpose, data.draw(st.sampled_from(SCOPES)))
    filled(doors, world, user)
    token = doors.a.bearer.issue({**user.claims, "client_id": "booking"}, lifetime=3600)
    for patient in data.draw(st.permutations([*world.patients, "none"]), label="patients"):
        with desks.window() as window:
            if opened := window.asked(token, body(patient)):
                window.go(*(f"/consent-prompt?request={each}" for each in opened))
                for step in data.draw(st.permutations(STEPS), label="pressed"):
                    window.press(step, code="123456")
    Both(doors, token).left_alike()


@several(8)
@given(st.data())
def test_links_good_and_bad_tell_whoever_follows_them_nothing(doors: Pair, desks: Desks, data: st.DataObject) -> None:
    """A patient follows links that were made for themselves, for others and for nobody, with whatever stands beside them."""
    world = data.draw(worlds(doors.fresh()), label="world")
    booking = User("system", "Device/emr-h1", "h1", "TREAT", data.draw(st.sampled_from(SCOPES)))
    patient = data.draw(users(world).filter(lambda each: each.role == "patient"), label="who follows")
    filled(doors, world, booking, patient)
    token = doors.a.bearer.issue({**booking.claims, "client_id": "booking"}, lifetime=3600)
    stranger = doors.a.bearer.issue({**booking.claims, "client_id": "stranger"}, lifetime=3600)
    with desks.window(account(Role.PATIENT, patient.user, patient.organization)) as window, desks.window() as nobody:
        for wrong in data.draw(st.lists(st.sampled_from(WRONG), min_size=2, max_size=4), label="wrong"):
            asked = body(data.draw(st.sampled_from([*world.patients, "none"]))) | wrong
            assert window.asked(token, asked) is None or "organization" in wrong
        for each in (*world.patients, "none"):
            assert window.asked(stranger, body(each)) is None
            links = [("none", "none"), ("", "")]
            if opened := window.asked(token, body(each)):
                links += [(opened[0], opened[1])] * 4 + [(f"{opened[0]}x", f"{opened[1]}x")]
            for link in data.draw(st.lists(st.sampled_from(links), min_size=3, max_size=5), label="links"):
                _follow(data.draw(st.sampled_from([window, window, nobody])), link, data)


def _follow(window: Window, link: tuple[str, str], data: st.DataObject) -> None:
    beside = data.draw(st.sampled_from(BESIDE), label="beside")
    window.go(*(f"/consent-prompt?{urlencode({'request': each, **beside})}" for each in link))
    window.press(data.draw(st.sampled_from([*STEPS, "leave", "nonsense"]), label="pressed"), code="123456")


def body(patient: str) -> Json:
    return {"patient": f"Patient/{patient}", "expires": "2027-03-09", "return_url": BACK}
