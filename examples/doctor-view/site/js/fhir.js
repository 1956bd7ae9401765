// The FHIR API, as far as this app needs it. Searches are sent by POST: what is searched for stays out of URLs and logs.

const JSON_TYPE = "application/fhir+json";

/** A request that came to nothing. status: HTTP status, 0 without an answer. diagnostics: what the server said of it. */
export class Problem extends Error {
  constructor(status, diagnostics = "") {
    super(diagnostics);
    this.status = status;
    this.diagnostics = diagnostics;
  }
}

export class Fhir {
  /** base: the FHIR base URL. token: returns a promise of an access token that is good for now. */
  constructor(base, token) {
    this.base = base;
    this._token = token;
  }

  read(reference) {
    return this._asked(reference);
  }

  /** Return the first page of a search, a Bundle. fields: search parameters by name. */
  search(type, fields) {
    return this._asked(`${type}/_search`, {
      method: "POST",
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams(fields),
    });
  }

  /** Return the page that a link of the server leads to. A link to anywhere else is not followed. */
  page(url) {
    if (!url.startsWith(`${this.base}/`)) throw new Problem(0, "The page link leads to another server.");
    return this._asked(url.slice(this.base.length + 1));
  }

  /** Return what an operation answers. parameters: entries of Parameters.parameter; without them it is asked by GET. */
  operate(path, parameters) {
    if (!parameters) return this._asked(path);
    const body = JSON.stringify({ resourceType: "Parameters", parameter: parameters });
    return this._asked(path, { method: "POST", headers: { "Content-Type": JSON_TYPE }, body });
  }

  /** Store a resource; return it with its id. */
  create(resource) {
    return this._asked(resource.resourceType, { method: "POST", headers: { "Content-Type": JSON_TYPE }, body: JSON.stringify(resource) });
  }

  async _asked(path, { headers = {}, ...how } = {}) {
    const bearer = { Accept: JSON_TYPE, Authorization: `Bearer ${await this._token()}` };
    let answer, text;
    try {
      answer = await fetch(`${this.base}/${path}`, {
        ...how,
        headers: { ...bearer, ...headers },
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
      });
      text = await answer.text();
    } catch {
      throw new Problem(0);
    }
    if (!answer.ok) throw new Problem(answer.status, diagnosticsOf(text));
    return text ? parsed(text) : {};
  }
}

/** Return JSON with quantities as they are written: 36.50 stays 36.50 where the browser tells what it read. */
export function parsed(text) {
  return JSON.parse(text, (name, value, at) =>
    name === "value" && typeof value === "number" ? (at?.source ?? value) : value,
  );
}

/** Return what an OperationOutcome says, as sentences; "" for anything else. */
export function diagnosticsOf(text) {
  try {
    const issues = JSON.parse(text).issue ?? [];
    return issues.map((issue) => issue.diagnostics ?? issue.details?.text ?? "").filter(Boolean).join(" ");
  } catch {
    return "";
  }
}

/** Return the resources that a page of a search matched. */
export function matches(bundle) {
  return (bundle.entry ?? []).filter((each) => each.search?.mode !== "outcome").map((each) => each.resource);
}

export function nextOf(bundle) {
  return (bundle.link ?? []).find((each) => each.relation === "next")?.url ?? null;
}
