"""A second reading of a Consent, for comparison: walks the JSON anew for every request and record.

Shares nothing with the engine but the canonical labels of records and the reading of single dates. It is slow, it
compiles nothing, and it follows the rules in the order in which docs/consent.md states them.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from consent_engine.dates import microseconds, span
from consent_engine.predicate import Attribute, Record
from consent_engine.resource_types import RESOURCE_TYPE_NAMES
from consent_engine.rules import AccessRequest
from tests.consent_engine.build import (
    ACT_CODE,
    ACT_REASON,
    ACTION,
    CONFIDENTIALITY,
    OBLIGATION,
    PARTICIPATION,
    SCOPE,
    TYPES,
)

ELEMENTS = (
    "id type period actor action securityLabel purpose class code dataPeriod data provision extension modifierExtension"
).split()
PARENT = {
    **dict.fromkeys(["TREAT", "HRESCH", "HPAYMT", "PATRQT"], "PurposeOfUse"),
    **{"ETREAT": "TREAT", "BTG": "ETREAT", "CLINTRCH": "HRESCH", "PurposeOfUse": None},
}
SENSITIVE_UNDER = {"SUD": ["SUD", "ETHUD", "OPIOIDUD"], "HIV": ["HIV"], "PSY": ["PSY"], "ETHUD": ["ETHUD"]}
ORDER = "ULMNRV"
RECIPIENT_SYSTEMS = ("v3-RoleCode", "v3-RoleClass", "extra-security-role-type")


Json = dict[str, Any]


class Doubt(Exception):
    """An element cannot be understood; may: whether it may match all the same."""

    def __init__(self, may: bool = True) -> None:
        self.may = may


class Asked:
    """One request for one record at one instant, and what else is known."""

    def __init__(self, request: AccessRequest, record: Record, at: datetime, facts: Mapping[str, Json]) -> None:
        self.request, self.record, self.at, self.facts = request, record, at, facts

    def has(self, attribute: Attribute, value: str) -> bool:
        return value in self.record.attributes.get(attribute, ())


def says(consent: Json, asked: Asked, authority: str | None) -> tuple[str, set[tuple[str, str]]]:
    """Return "silent", "permit", "deny" or "unusable", and the obligations that are due."""
    scope = {c["code"] for c in consent.get("scope", {}).get("coding", []) if c.get("system") == SCOPE}
    research = scope == {"research"}
    if consent.get("status") != "active" or not scope & {"patient-privacy", "research"}:
        return "silent", set()
    if research and "HRESCH" not in lineage(asked.request.purpose):
        return "silent", set()
    if len(scope) > 1 or "modifierExtension" in consent:
        return "unusable", set()
    given = mandate(consent, asked.at, asked.facts)
    if given == "lapsed":
        return "silent", set()
    root = consent.get("provision")
    policy = directive(consent)
    own = (root or {}).get("type")
    if policy == "both" or (policy and own and policy != own):
        return "unusable", set()
    base = own or policy
    found = list(walk(root or {}, base, base, 0, [], asked))
    if given == "doubt" or (authority is not None and not asked.has(Attribute.CUSTODIAN, authority)):
        found = [each for each in found if each[1] == "deny"]
    if not found:
        return "silent", set()
    deepest = max(depth for depth, _, _ in found)
    effects = {effect for depth, effect, _ in found if depth == deepest}
    return ("deny" if "deny" in effects else "permit"), {duty for _, _, duties in found for duty in duties}


def together(said: list[tuple[str, Json]], *, newest: bool) -> str:
    """Join what several Consents say: "silent", "permit", "deny" or "unusable"."""
    words = {word for word, _ in said}
    if "unusable" in words:
        return "unusable"
    if newest and "permit" in words:
        permits = [signed(consent)[0] for word, consent in said if word == "permit"]
        denials = [signed(consent)[1] for word, consent in said if word == "deny"]
        return "permit" if all(denial < max(permits) for denial in denials) else "deny"
    return "deny" if "deny" in words else "permit" if "permit" in words else "silent"


def signed(consent: Json) -> tuple[datetime, datetime]:
    """The first and the last instant at which it may have been given."""
    found = span(consent.get("dateTime"), UTC)
    if not found:
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    return found[0], found[1] - timedelta(microseconds=1)


def directive(consent: dict[str, Any]) -> str | None:
    found = set()
    for each in consent.get("policyRule", {}).get("coding", []):
        if each.get("system") == ACT_CODE and each["code"] in ("OPTIN", "OPTINR"):
            found.add("permit")
        if each.get("system") in (ACT_CODE, None) and each["code"] in ("OPTOUT", "OPTOUTE"):
            found.add("deny")
    return "both" if len(found) == 2 else next(iter(found), None)


def walk(
    provision: Json,
    effect: str | None,
    base: str | None,
    depth: int,
    above: list[tuple[Json, str | None, bool]],
    asked: Asked,
) -> Iterator[tuple[int, str, set[tuple[str, str]]]]:
    """Yield depth, effect and obligations of every provision that matches together with all above it."""
    untold = depth > 0 and effect is None
    effect = "deny" if untold else effect
    path = [*above, (provision, effect, untold)]
    if effect == "deny" and all(matches(p, e, effect, asked)[1] for p, e, _ in path):
        yield depth, "deny", set()
    if effect == "permit" and all(matches(p, e, effect, asked)[0] and not u for p, e, u in path):
        yield depth, "permit", {duty(each) for each in provision.get("extension", [])}
    for nested in provision.get("provision", []):
        implied = {"permit": "deny", "deny": "permit", None: None}[base]
        yield from walk(nested, nested.get("type") or implied, base, depth + 1, path, asked)


def matches(provision: Json, own: str | None, rule: str, asked: Asked) -> tuple[bool, bool]:
    """Whether the provision surely matches, and whether it may match; own: its effect, rule: that of what is asked."""
    if "modifierExtension" in provision:
        return False, True
    doubt = any(key not in ELEMENTS for key in provision)
    may = True
    if "extension" in provision:
        try:
            doubt = doubt or own != "permit" or not {duty(each) for each in provision["extension"]}
        except (Doubt, KeyError):
            doubt = True
    for element, check in CHECKS.items():
        if element in provision:
            try:
                if not provision[element]:
                    raise Doubt
                may = check(provision[element], own or rule, asked) and may
            except Doubt as problem:
                doubt, may = True, may and problem.may
            except KeyError:
                doubt = True
    return may and not doubt, may


def duty(extension: Json) -> tuple[str, str]:
    """The action and the element of an obligation."""
    if set(extension) != {"url", "extension"} or extension["url"] != OBLIGATION or len(extension["extension"]) != 2:
        raise Doubt
    parts = {each["url"]: each for each in extension["extension"]}
    asked_for, element = parts["obligation"]["valueCoding"], parts["element"]["valueString"]
    type, _, path = element.partition(".")
    if asked_for["system"] != ACT_CODE or asked_for["code"] not in ("REDACT", "MASK"):
        raise Doubt
    if type not in RESOURCE_TYPE_NAMES or path.split(".")[0] in ("", "id", "meta", "implicitRules"):
        raise Doubt
    return asked_for["code"], element


def mandate(consent: Json, at: datetime, facts: Mapping[str, Json]) -> str:
    """Return "valid", "doubt" or "lapsed": whether somebody gave it who may."""
    patient = consent.get("patient", {}).get("reference")
    named = [each["reference"] for each in consent.get("performer", [])]
    proxies = [each for each in named if each.split("/")[0] not in ("Practitioner", "PractitionerRole", "Organization")]
    if not proxies or patient in proxies:
        return "valid"
    found = [power(facts.get(each), patient, facts.get(patient), at) for each in proxies]
    return next((each for each in ("valid", "doubt") if each in found), "lapsed")


def power(proxy: Json | None, patient: str | None, person: Json | None, at: datetime) -> str:
    """Whether one proxy may speak for the patient."""
    if not proxy or "implicitRules" in proxy or not patient or proxy["patient"]["reference"] != patient:
        return "doubt"
    if proxy.get("active", True) is not True:
        return "lapsed" if proxy["active"] is False else "doubt"
    if "period" in proxy:
        try:
            start, end = bounds(proxy["period"])
        except Doubt:
            return "doubt"
        if not start <= at < end:
            return "lapsed"
    if proxy["relationship"][0]["coding"][0]["code"] in ("POWATT", "DPOWATT", "HPOWATT", "SPOWATT", "GUARD"):
        return "valid"
    born = span((person or {}).get("birthDate"), UTC)
    if not born:
        return "doubt"
    oldest, youngest = born[0].date(), born[1].date()  # a person whose birthday is not known in full is in between
    if born[1] - born[0] == timedelta(days=1):
        youngest = oldest
    if at.date() < birthday(oldest)[0]:
        return "valid"
    return "lapsed" if at.date() >= birthday(youngest)[1] else "doubt"


def birthday(born: date) -> tuple[date, date]:
    """The first and the last day that can be taken for the eighteenth birthday."""
    if (born.month, born.day) == (2, 29):
        return date(born.year + 18, 2, 28), date(born.year + 18, 3, 1)
    return (date(born.year + 18, born.month, born.day),) * 2


def period(value: dict[str, Any], effect: str, asked: Asked) -> bool:
    start, end = bounds(value)
    return start <= asked.at < end


def data_period(value: dict[str, Any], effect: str, asked: Asked) -> bool:
    start, end = (microseconds(side) for side in bounds(value))
    if effect == "permit":
        return start <= asked.record.start and asked.record.end < end
    return asked.record.start < end and asked.record.end >= start


def bounds(value: dict[str, Any]) -> tuple[datetime, datetime]:
    sides = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    if not value.keys() & {"start", "end"}:
        raise Doubt
    for which, name in enumerate(("start", "end")):
        if name in value:
            covered = span(value[name], UTC)
            if covered is None:
                raise Doubt
            sides[which] = covered[which]
    if sides[0] >= sides[1]:
        raise Doubt
    return sides[0], sides[1]


def actor(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    named = [(role_of(each), literal(each["reference"])) for each in value]
    who = [reference for role, reference in named if role == "recipient"]
    custodians = [reference for role, reference in named if role == "custodian"]
    authors = [reference for role, reference in named if role == "author"]
    if not who:
        who, custodians = custodians, []
    if any(not reference.startswith("Organization/") for reference in custodians):
        raise Doubt
    known = {reference: belonging(reference, asked.facts) for reference in who}
    named = not who or any(reference in asked.request.actors and known[reference][0] for reference in who)
    about = (not custodians or any(asked.has(Attribute.CUSTODIAN, c.split("/")[1]) for c in custodians)) and (
        not authors or any(asked.has(Attribute.AUTHOR, reference) for reference in authors)
    )
    if not named and not all(everybody for _, everybody in known.values()):
        raise Doubt(about)
    return named and about


def belonging(reference: str, facts: Mapping[str, Json]) -> tuple[bool, bool]:
    """Whether it is known of some that they are meant, and whether of all."""
    fact = facts.get(reference, {})
    if reference.startswith("Group/"):
        in_use = fact.get("actual") and fact.get("active") is not False
        members = [each["entity"]["reference"] for each in fact.get("member", [])]
    elif reference.startswith("CareTeam/"):
        in_use = fact.get("status") == "active"
        members = [each["member"]["reference"] for each in fact.get("participant", [])]
    else:
        return True, True
    some = bool(in_use and members)
    persons = ("Practitioner", "Patient", "RelatedPerson", "Device")
    return some, some and all(each.split("/")[0] in persons for each in members)


def role_of(each: dict[str, Any]) -> str:
    kinds = set()
    for coding in each.get("role", {}).get("coding", []):
        system, code = coding.get("system"), coding.get("code")
        if not system:
            continue
        if system == PARTICIPATION:
            kinds.add({"IRCP": "recipient", "PRCP": "recipient", "CST": "custodian", "AUT": "author"}.get(code))
        elif system.endswith(RECIPIENT_SYSTEMS) or code in ("PROV", "GRANTEE", "DELEGATEE"):
            kinds.add("recipient")
    kinds -= {None}
    if len(kinds) != 1:
        raise Doubt
    return kinds.pop()


def literal(reference: dict[str, Any]) -> str:
    parts = reference["reference"].split("/_history/")[0].split("/")
    if len(parts) < 2 or not parts[-2].isalpha():
        raise Doubt
    return "/".join(parts[-2:])


def lineage(purpose: str) -> list[str]:
    found = [purpose]
    while PARENT.get(found[-1]):
        found.append(PARENT[found[-1]])
    return found


def purpose(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    if any(c.get("system") != ACT_REASON or c["code"] not in PARENT for c in value):
        raise Doubt
    if asked.request.purpose not in PARENT:
        raise Doubt
    return any(c["code"] in lineage(asked.request.purpose) for c in value)


def action(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    named: set[str] = set()
    for concept in value:
        known = {c["code"] for c in concept.get("coding", []) if c.get("system") == ACTION}
        known &= {"access", "use", "disclose", "collect", "correct"}
        if not known:
            raise Doubt
        named |= known
    return bool(named & ({"access", "use", "disclose"} if asked.request.action == "access" else {asked.request.action}))


def security_label(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    carried = asked.record.attributes.get(Attribute.LABEL, frozenset())
    ranked = [ORDER.index(label[2:]) for label in carried if label.startswith("C:")]
    highest = max(ranked) if ranked else ORDER.index("R" if asked.request.delegate else "N")
    ranks: list[int] = []
    granted: set[str] = set()
    for each in value:
        if not each.get("system") or not each.get("code") or each["system"].endswith("v3-ObservationValue"):
            raise Doubt
        known = {CONFIDENTIALITY: ORDER, ACT_CODE: SENSITIVE_UNDER}.get(each["system"])
        if known is not None and each["code"] not in known:
            raise Doubt
        if each["system"] == CONFIDENTIALITY:
            ranks.append(ORDER.index(each["code"]))
        elif each["system"] == ACT_CODE:
            granted |= {f"S:{code}" for code in SENSITIVE_UNDER[each["code"]]}
        else:
            granted.add(f"S:{each['system']}|{each['code']}")
    sensitive = {label for label in carried if label.startswith("S:")}
    if effect == "deny":
        return bool(sensitive & granted) or bool(ranks and highest >= min(ranks))
    if not ranks:
        return bool(sensitive) and sensitive <= granted
    return highest <= max(ranks) and sensitive <= granted


def classes(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    return any([one_class(each["system"], each["code"], asked) for each in value])


def one_class(system: str, code: str, asked: Asked) -> bool:
    base = "http://hl7.org/fhir/StructureDefinition"
    if system in (base, "urn:ietf:rfc:3986"):
        url = code if ":" in code or system != base else f"{base}/{code}"
        if url.rsplit("/", 1)[-1] not in RESOURCE_TYPE_NAMES or url.rsplit("/", 1)[0] != base:
            return asked.has(Attribute.PROFILE, url)
        system, code = TYPES, url.rsplit("/", 1)[-1]
    if system == TYPES:
        if code not in RESOURCE_TYPE_NAMES:
            raise Doubt
        return asked.has(Attribute.TYPE, code)
    return asked.has(Attribute.CODE, f"{system}|{code}")


def code(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    if not all(concept["coding"] for concept in value):
        raise Doubt
    wanted = [f"{c['system']}|{c['code']}" for concept in value for c in concept["coding"]]
    return any(asked.has(Attribute.CODE, each) for each in wanted)


def data(value: list[Json], effect: str, asked: Asked) -> bool:
    found = False
    for each in value:
        named = literal(each["reference"])
        found = found or asked.has(Attribute.AUTHOR if each["meaning"] == "authoredby" else Attribute.ID, named)
        if each["meaning"] in ("dependents", "related"):
            found = found or asked.has(Attribute.REFERS, named)
        if each["meaning"] == "related":
            if named not in asked.facts:
                raise Doubt
            targets = [part["reference"] for part in asked.facts[named].values() if "reference" in part]
            found = found or any(asked.has(Attribute.ID, target) for target in targets)
        elif each["meaning"] not in ("instance", "authoredby", "dependents"):
            raise Doubt
    return found


CHECKS: dict[str, Callable[[Any, str, Asked], bool]] = {
    "period": period,
    "dataPeriod": data_period,
    "actor": actor,
    "purpose": purpose,
    "action": action,
    "securityLabel": security_label,
    "class": classes,
    "code": code,
    "data": data,
}
