// Which kinds of entries the timeline has, which searches find them, and how a resource's kind is told. Data, one row each.
import { wordsOf } from "./reading.js";

// In the order of the filters.
export const KINDS = [
  "visit", "diagnosis", "result", "report", "prescription", "procedure", "transfusion", "donation", "vaccination", "checkup",
  "allergy",
];

// One search for each type. sort: newest first, by a search parameter of R4. time: elements that hold what is sorted by.
// of: the search parameter and element of the patient. concepts: elements that say what it is.
export const SEARCHES = [
  { type: "Encounter", sort: "-date", time: ["period.start"], of: "subject", kind: "visit", concepts: ["type", "serviceType", "reasonCode"] },
  { type: "Condition", sort: "-recorded-date", time: ["recordedDate"], of: "subject", kind: "diagnosis", concepts: [] },
  { type: "Observation", sort: "-date", time: ["effectiveDateTime", "effectivePeriod.start", "effectiveInstant"], of: "subject", kind: "result", concepts: [] },
  { type: "DiagnosticReport", sort: "-date", time: ["effectiveDateTime", "effectivePeriod.start"], of: "subject", kind: "report", concepts: ["code", "category"] },
  { type: "Composition", sort: "-date", time: ["date"], of: "subject", kind: "report", concepts: ["type", "category"] },
  { type: "DocumentReference", sort: "-date", time: ["date"], of: "subject", kind: "report", concepts: ["type", "category"] },
  { type: "MedicationRequest", sort: "-authoredon", time: ["authoredOn"], of: "subject", kind: "prescription", concepts: [] },
  { type: "Procedure", sort: "-date", time: ["performedDateTime", "performedPeriod.start"], of: "subject", kind: "procedure", concepts: ["code", "category", "reasonCode"] },
  { type: "Immunization", sort: "-date", time: ["occurrenceDateTime"], of: "patient", kind: "vaccination", concepts: [] },
  { type: "AllergyIntolerance", sort: "-date", time: ["recordedDate"], of: "patient", kind: "allergy", concepts: [] },
];

// What makes an entry of another kind than its type says: the code, or, since records often have none, the words. kinds: of
// which it may be one. Blood donation, blood use and check-up are scopes of their own in Guangdong's record view.
const SPECIAL = [
  // ICD-10 Z52.0 blood donor
  { kind: "donation", codes: /^Z52\.?0/i, words: /献血|blood don(or|ation)/i },
  // ICD-9-CM-3 99.0 transfusion of blood and its components; SNOMED CT 116859006 transfusion of blood product;
  // WS/T 500 document C0013, 输血记录
  { kind: "transfusion", codes: /^(99\.0\d?|116859006|C0013)$/i, words: /输血(?!前)|输注(?=红细胞|悬浮|血小板|血浆|全血|冷沉淀)|transfusion/i },
  // ICD-10 Z00 general examination without complaint, Z02 examination for administrative purposes
  { kind: "checkup", codes: /^Z0[02](\.|$)/i, words: /体检|健康检查|check-?up|health examination/i },
];

/** Return the kind of a resource that a search found. */
export function kindOf(resource, search) {
  const said = search.concepts.flatMap((name) => resource[name] ?? []);
  const special = SPECIAL.find((row) => said.some((each) => fits(row, each)));
  return special?.kind ?? search.kind;
}

function fits(row, said) {
  return (said.coding ?? []).some((each) => row.codes.test(each.code ?? "")) || row.words.test(wordsOf(said));
}

/** Return the kinds that a search may find. */
export function kindsOf(search) {
  return search.concepts.length ? [search.kind, ...SPECIAL.map((row) => row.kind)] : [search.kind];
}

/** Return when a resource is to be placed: the FHIR date by which the server sorts it, undefined without one. */
export function timeOf(resource, search) {
  return search.time.map((path) => path.split(".").reduce((at, name) => at?.[name], resource)).find(Boolean);
}
