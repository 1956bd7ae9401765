"""What the pages do on behalf of a patient or a guardian: ordinary interactions as their account, and no other way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.requester import ID, Role
from fhir_server.consenting.speaking import patients_of, speaking_now
from fhir_server.fhir_json import parse
from fhir_server.human_names import shown_of
from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.perform import perform
from fhir_server.interactions.routes import Request
from fhir_server.interactions.searching.query import CURSOR

Json = Mapping[str, Any]
# Whose pages these are.
ROLES = frozenset({Role.PATIENT, Role.RELATED_PERSON})
# What the pages themselves may do of what the account may.
SCOPE = (
    "user/Patient.rs user/RelatedPerson.rs user/Consent.cruds user/Provenance.crs user/Organization.rs "
    "user/Practitioner.rs user/PractitionerRole.rs"
)
NAMED = ("Organization", "Practitioner", "PractitionerRole")
A_PAGE = 100
# Far more than anybody has; a person with more sees the newest.
MOST_CONSENTS = 1_000


class Acting:
    """The interactions of one account, each recorded as such before its answer is used."""

    def __init__(self, use: Services, account: Account) -> None:
        self._use = use
        self.account = account
        self.call = Call(account.requester(SCOPE), use.settings.public_base)

    @property
    def for_another(self) -> bool:
        """Whether it is not for themselves that they act."""
        return self.account.role is Role.RELATED_PERSON

    async def patient(self) -> str | None:
        """Return the id of the patient whom the account is, speaks for, or may see as a related person; None: of nobody."""
        type, _, id = self.account.user.partition("/")
        if type == "RelatedPerson":
            if spoken := await self._spoken():
                return spoken
            related = await self._read(type, id)
            reference = ((related or {}).get("patient") or {}).get("reference", "")
            type, _, id = reference.removeprefix(f"{self.call.base}/").partition("/")
        return id if type == "Patient" and await self._read("Patient", id) else None

    async def consents(self, patient: str) -> list[Json]:
        """Return the Consents of the person that the account may see, the newest first."""
        whose = await self._use.gatekeeper.sources.spoken(self.call.requester, self._use.clock())
        patients = {f"Patient/{each['_id']}" for each in await patients_of(self._use, whose)} if whose else None
        # Who speaks for a patient does not see their Patients, by which a search would find what others have asked for.
        named = (("patient", f"Patient/{patient}"),) if patients is None else ()
        found = await self._searched((*named, ("_sort", "-_lastUpdated"), ("_count", str(A_PAGE))))
        return [each for each in found if patients is None or each["patient"].get("reference") in patients]

    async def _spoken(self) -> str | None:
        """Return the id of the Patient for whom the account speaks now."""
        return await speaking_now(self._use).patient(self.account.user, self._use.clock())

    async def _searched(self, asked: Pairs) -> list[Json]:
        """Return the Consents that a search finds, page by page."""
        found: list[Json] = []
        while asked and len(found) < MOST_CONSENTS:
            page = await self._asked(Request("search-type", "POST", "Consent", None, pairs=asked, posted=True)) or {}
            found += [each["resource"] for each in page.get("entry", ()) if each["search"]["mode"] == "match"]
            asked = _next(page)
        return found

    async def consent(self, id: str) -> Json | None:
        """Return a Consent that the account may see, None if there is none."""
        return await self._read("Consent", id)

    async def versions(self, id: str) -> list[Json]:
        """Return the versions of a Consent that the account may see, the oldest first."""
        pairs = (("_count", str(A_PAGE)),)
        found = await self._asked(Request("history-instance", "GET", "Consent", id, pairs=pairs)) or {}
        return [each["resource"] for each in reversed(found.get("entry", ())) if "resource" in each]

    async def names(self, references: Iterable[str]) -> dict[str, str]:
        """Return, by relative reference, the names of institutions and staff that the account may see."""
        ids = defaultdict[str, set[str]](set)
        for each in references:
            type, _, id = each.partition("/")
            if type in NAMED and ID.fullmatch(id):
                ids[type].add(id)
        if not ids:
            return {}
        wanted = sorted(frozenset[str]().union(*ids.values()))[:A_PAGE]
        pairs = (("_type", ",".join(sorted(ids))), ("_id", ",".join(wanted)), ("_count", str(3 * A_PAGE)))
        found = await self._asked(Request("search-system", "POST", None, None, pairs=pairs, posted=True)) or {}
        resources = [each["resource"] for each in found.get("entry", ()) if each["search"]["mode"] == "match"]
        named = {f"{each['resourceType']}/{each['id']}": _name(each) for each in resources}
        return {reference: name for reference, name in named.items() if name}

    async def step(self, id: str, operation: str, body: Json | None = None) -> Answer:
        """Take a step of a Consent's life cycle."""
        return await self.done(Request("operation", "POST", "Consent", id, operation=operation), body)

    async def done(self, request: Request, body: Json | None = None) -> Answer:
        """Return the answer to a request."""
        return await perform(self._use, self.call, request, lambda use: request.run(use, self.call, body))

    async def _read(self, type: str, id: str) -> Json | None:
        return await self._asked(Request("read", "GET", type, id)) if ID.fullmatch(id) else None

    async def _asked(self, request: Request) -> Json | None:
        answer = await self.done(request)
        return parse(answer.body) if answer.status == 200 else None


def _next(page: Json) -> Pairs:
    """Return what asks for the next page, nothing if there is none."""
    urls = (each["url"] for each in page.get("link", ()) if each["relation"] == "next")
    cursors = (url.partition(f"{CURSOR}=")[2] for url in urls)
    return tuple((CURSOR, each) for each in cursors)


def _name(resource: Json) -> str:
    """Return the name of an institution or of somebody on its staff, empty if it has none."""
    match resource["resourceType"]:
        case "Organization":
            return str(resource.get("name", ""))
        case "Practitioner":
            return next(filter(None, map(shown_of, resource.get("name", ()))), "")
    return str((resource.get("practitioner") or {}).get("display", ""))
