// The server's operations on authorizations, as this app uses them: pure building and reading of Parameters.

export const WAYS = ["app", "sms", "message", "paper", "guardian"];

// What the user enters for $verify, by way: the label, and how it is entered. Where there is nothing, the patient answers by
// themselves, and this app waits.
export const PROOFS = {
  app: null,
  sms: { word: "code", mode: "code" },
  message: { word: "code", mode: "code" },
  paper: { word: "scan", mode: "file" },
  guardian: { word: "guardianCode", mode: "code" },
};
export const CODE = /^\d{6}$/;
export const LARGEST = 5_000_000; // bytes of a scan
export const SCANS = "image/jpeg,image/png,application/pdf";

// What can be asked for apart: kinds of the timeline with their types. Patient comes with each of them, because records are
// found by the Patient that they are about.
export const SCOPES = {
  visit: ["Encounter"],
  diagnosis: ["Condition"],
  result: ["Observation"],
  report: ["DiagnosticReport", "Composition", "DocumentReference"],
  prescription: ["MedicationRequest"],
  procedure: ["Procedure"],
  vaccination: ["Immunization"],
  allergy: ["AllergyIntolerance"],
};

const DAY = 86_400_000;
const EXTENSION = /\/StructureDefinition\/authorization-request$/;

/** Return the parameters of $request-authorization. kinds: of SCOPES; none: everything. since: YYYY-MM-DD or "". */
export function asked({ way, kinds, since, days }, now = Date.now()) {
  const types = kinds.length ? ["Patient", ...kinds.flatMap((each) => SCOPES[each])] : [];
  return [
    { name: "way", valueCode: way },
    { name: "purpose", valueCode: "TREAT" },
    ...types.map((each) => ({ name: "type", valueCode: each })),
    ...(since ? [{ name: "dataPeriod", valuePeriod: { start: since } }] : []),
    { name: "expires", valueInstant: new Date(now + days * DAY).toISOString() },
  ];
}

/** Return the parameters of $verify for a code. */
export function byCode(code) {
  return [{ name: "code", valueString: code }];
}

/** Return the parameters of $verify for a signed form. document: reference of its scan. witness: who has checked it. */
export function byScan(document, witness) {
  return [
    { name: "document", valueUri: document },
    { name: "witness", valueUri: witness },
  ];
}

/** Return the DocumentReference of a scan of a patient. data: base64. */
export function scanOf(patient, { type, name, data }) {
  return {
    resourceType: "DocumentReference",
    status: "current",
    type: { coding: [{ system: "http://loinc.org", code: "59284-0" }], text: "患者知情同意书" },
    subject: { reference: `Patient/${patient}` },
    date: new Date().toISOString(),
    content: [{ attachment: { contentType: type, title: name, data } }],
  };
}

/** Return {state, until, consent, opens} of the answer of $authorization-status; state is "none" where there is nothing.
 * opens: of what holds, "all" or "own": whose records. */
export function statusOf(parameters) {
  const said = Object.fromEntries((parameters.parameter ?? []).map(({ name, ...value }) => [name, Object.values(value)[0]]));
  const { status: state = "none", until = null, opens = null } = said;
  return { state, until, opens, consent: said.consent?.reference ?? null };
}

/** Return {id, way, said, waits} of a Consent that was asked for in this way; null of any other. said: what who asked is
 * told. waits: for the patient's answer. */
export function requestOf(consent) {
  const parts = (consent.extension ?? []).find((each) => EXTENSION.test(each.url))?.extension ?? [];
  const part = (name) => parts.find((each) => each.url === name);
  const way = part("way")?.valueCode;
  return way ? { id: consent.id, way, said: part("said")?.valueString ?? "", waits: consent.status === "proposed" } : null;
}
