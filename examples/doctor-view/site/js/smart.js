// SMART App Launch 2.2 for a public app: discovery, PKCE, the exchange of the code, refreshing, revoking.
// What is remembered is remembered in sessionStorage: for this tab, until it is closed.

const PENDING = "doctor-view.pending";
const SESSION = "doctor-view.session";
// Reading; asking for an authorization and entering the patient's answer; filing a signed form.
const ASKED = ["openid", "fhirUser", "online_access", "patient/*.rs", "patient/Consent.cu", "patient/DocumentReference.c"];
const MARGIN = 30_000; // milliseconds before its end from which on a token is not used any more

/** Something is wrong with a launch. The message is the name of the words that tell the user. */
export class LaunchProblem extends Error {
  /** told: what the server said of it. */
  constructor(word, told = "") {
    super(word);
    this.told = told;
  }
}

/** Return what this app was set up for: {clientId, servers: [FHIR base URLs]}. */
export async function configuration() {
  const answer = await fetch("config.json", { cache: "no-store", credentials: "omit" });
  if (!answer.ok) throw new LaunchProblem("noConfiguration");
  return answer.json();
}

/** Return {iss, launch} if the URL says that the app is to be launched, null otherwise. The EMR gives both; launch is empty where
 * the user begins. */
export function launched() {
  const said = new URLSearchParams(location.search);
  const begins = said.has("launch") || (said.has("iss") && !said.has("state"));
  return begins ? { iss: said.get("iss"), launch: said.get("launch") } : null;
}

/** Send the user to the authorization server of a FHIR server. iss, launch: as the EMR gave them. */
export async function authorize({ clientId, servers }, { iss, launch }) {
  sessionStorage.removeItem(SESSION);
  const base = trusted(servers, iss);
  const found = await discovered(base);
  const [state, nonce, verifier] = [secret(), secret(), secret()];
  const redirect = new URL("index.html", location.href).href;
  sessionStorage.setItem(PENDING, JSON.stringify({ base, state, nonce, verifier, redirect, clientId, ...found }));
  const query = new URLSearchParams({
    response_type: "code",
    client_id: clientId,
    redirect_uri: redirect,
    scope: [launch ? "launch" : "launch/patient", ...ASKED].join(" "),
    state,
    nonce,
    aud: base,
    code_challenge: await challenge(verifier),
    code_challenge_method: "S256",
    ...(launch ? { launch } : {}),
  });
  location.replace(`${found.authorizeUrl}?${query}`);
}

/** Return the FHIR base URL to go to. A launch by a server that this app was not set up for is refused: its sign-in page
 * could be anybody's. */
function trusted(servers, iss) {
  const known = servers.map(bare);
  if (iss && !known.includes(bare(iss))) throw new LaunchProblem("unknownServer");
  return iss ? bare(iss) : known[0];
}

const bare = (url) => url.replace(/\/+$/, "");

async function discovered(base) {
  let said;
  try {
    const answer = await fetch(`${base}/.well-known/smart-configuration`, { credentials: "omit", cache: "no-store" });
    said = await answer.json();
  } catch {
    throw new LaunchProblem("noServer");
  }
  if (!said.code_challenge_methods_supported?.includes("S256")) throw new LaunchProblem("noServer");
  const { authorization_endpoint, token_endpoint, revocation_endpoint = null, issuer = null } = said;
  return { authorizeUrl: authorization_endpoint, tokenUrl: token_endpoint, revokeUrl: revocation_endpoint, issuer };
}

/** Return the session of this tab: the one that the URL brings the code for, or the one that is under way; else null. */
export async function session() {
  const said = new URLSearchParams(location.search);
  if (said.has("state")) {
    const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
    sessionStorage.removeItem(PENDING);
    history.replaceState(null, "", location.pathname); // the code is nobody else's business
    return Session.begun(pending, said);
  }
  const kept = sessionStorage.getItem(SESSION);
  return kept ? new Session(JSON.parse(kept)) : null;
}

export class Session {
  /** kept: {base, clientId, tokenUrl, revokeUrl, access, refresh, until, patient, banner, user}. */
  constructor(kept) {
    this._kept = kept;
    this._refreshing = null;
  }

  static async begun(pending, said) {
    if (!pending || said.get("state") !== pending.state) throw new LaunchProblem("notOurs");
    if (said.has("error")) {
      const denied = said.get("error") === "access_denied";
      throw denied ? new LaunchProblem("denied") : new LaunchProblem("refused", said.get("error_description") ?? said.get("error"));
    }
    if (said.has("iss") && pending.issuer && said.get("iss") !== pending.issuer) throw new LaunchProblem("notOurs");
    const given = await exchanged(pending, {
      grant_type: "authorization_code",
      code: said.get("code") ?? "",
      redirect_uri: pending.redirect,
      code_verifier: pending.verifier,
    });
    const { base, clientId, tokenUrl, revokeUrl } = pending;
    const user = userOf(given.id_token, pending);
    const banner = given.need_patient_banner !== false;
    const made = new Session({ base, clientId, tokenUrl, revokeUrl, patient: given.patient ?? null, banner, user });
    made._take(given);
    return made;
  }

  get base() {
    return this._kept.base;
  }

  /** Id of the patient in context, null without one. */
  get patient() {
    return this._kept.patient;
  }

  /** Whether the app has to say whose records these are (need_patient_banner). */
  get banner() {
    return this._kept.banner;
  }

  /** Reference of who is signed in: "Practitioner/1". */
  get user() {
    return this._kept.user;
  }

  /** Return a promise of an access token that is good for some time yet. */
  async token() {
    if (Date.now() < this._kept.until - MARGIN) return this._kept.access;
    this._refreshing ??= this._refreshed().finally(() => (this._refreshing = null));
    return this._refreshing;
  }

  /** Forget everything, and have the server end what it granted. Returns whether the server has said so. */
  async end() {
    sessionStorage.removeItem(SESSION);
    const { revokeUrl, refresh, access, clientId } = this._kept;
    this._kept = { ...this._kept, access: null, refresh: null, until: 0 };
    if (!revokeUrl) return false;
    const body = new URLSearchParams({ token: refresh ?? access ?? "", client_id: clientId });
    const answer = await fetch(revokeUrl, { method: "POST", body, credentials: "omit", keepalive: true }).catch(() => null);
    return answer?.ok ?? false;
  }

  async _refreshed() {
    const { refresh } = this._kept;
    if (!refresh) throw new LaunchProblem("over");
    try {
      this._take(await exchanged(this._kept, { grant_type: "refresh_token", refresh_token: refresh }));
    } catch (problem) {
      if (problem.message !== "noServer") sessionStorage.removeItem(SESSION); // what was refused stays refused
      throw problem.message === "noServer" ? problem : new LaunchProblem("over");
    }
    return this._kept.access;
  }

  _take(given) {
    const until = Date.now() + (given.expires_in ?? 60) * 1000;
    const refresh = given.refresh_token ?? this._kept.refresh ?? null;
    this._kept = { ...this._kept, access: given.access_token, refresh, until };
    sessionStorage.setItem(SESSION, JSON.stringify(this._kept));
  }
}

async function exchanged({ tokenUrl, clientId }, fields) {
  const body = new URLSearchParams({ ...fields, client_id: clientId });
  let answer, said;
  try {
    answer = await fetch(tokenUrl, { method: "POST", body, credentials: "omit", cache: "no-store" });
    said = await answer.json();
  } catch {
    throw new LaunchProblem("noServer");
  }
  if (!answer.ok) throw new LaunchProblem("refused", said.error_description ?? said.error ?? "");
  return said;
}

/** Return who an id token names. It came from the token endpoint itself, which stands for its signature (OpenID Connect
 * Core 1.0, 3.1.3.7, 6). */
function userOf(idToken, { base, clientId, issuer, nonce }) {
  let claims;
  try {
    const middle = (idToken ?? "").split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(middle), (each) => each.charCodeAt(0))));
  } catch {
    throw new LaunchProblem("noUser");
  }
  const ours = [claims.aud].flat().includes(clientId) && claims.nonce === nonce && (!issuer || claims.iss === issuer);
  if (!ours || !claims.fhirUser) throw new LaunchProblem(ours ? "noUser" : "notOurs");
  return claims.fhirUser.replace(`${base}/`, "");
}

function secret() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** Return the S256 challenge of a verifier (RFC 7636, 4.2). */
async function challenge(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
