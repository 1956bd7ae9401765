// How the patient's authorization towards the own institution stands, and asking for it.
import {
  CODE,
  LARGEST,
  PROOFS,
  SCANS,
  SCOPES,
  WAYS,
  asked,
  byCode,
  byScan,
  requestOf,
  scanOf,
  statusOf,
} from "./asking.js";
import { h, show } from "./dom.js";
import { alert } from "./problems.js";
import { base64, shown } from "./reading.js";

const EVERY = 10_000; // milliseconds between looks while the patient is to answer
const DAYS = [["day1", 1], ["days7", 7], ["days30", 30]];

export class AuthorizationView {
  /** page: {fhir, patient, user, say, changed, stands}. user: reference of the Practitioner. changed() is called when records
   * may have opened or closed, stands(state) when it is known how the authorization stands. */
  constructor(element, page) {
    Object.assign(this, { element, page, status: null, problem: null, asked: null, request: null, asking: false });
    this._turn = Promise.resolve();
    document.addEventListener("visibilitychange", () => (document.hidden || !this.element.isConnected ? this.watch() : this.load()));
  }

  /** Ask the server how it stands; show it if it is not what is shown. One look comes after the other. */
  load() {
    const turn = this._turn.then(() => this._load());
    this._turn = turn.catch(() => null);
    return turn;
  }

  async _load() {
    const [before, waited] = [this.status, this.request];
    if (!before) this.draw();
    this.problem = await this.failed(() => this.look());
    const states = [before?.state, this.status?.state];
    this.page.stands(states[1]);
    const opened = before && states[0] !== states[1] && states.includes("active");
    if (opened || (waited && !this.request && states[1] === "active")) this.page.changed();
    if (this.problem || this.seen !== this.drawn) this.draw();
    this.watch();
  }

  /** Learn the status, and the request that waits: the one made here, else the one that the status is of. */
  async look() {
    const { fhir, patient } = this.page;
    const status = statusOf(await fhir.operate(`Patient/${patient}/$authorization-status`));
    const read = async (reference) => (reference ? requestOf(await fhir.read(reference)) : null);
    const request = await read(this.asked ?? status.consent);
    Object.assign(this, { status, request: request?.waits ? request : null });
  }

  /** All that is shown, as one text. */
  get seen() {
    return JSON.stringify([this.status, this.request]);
  }

  /** While the patient is to answer, look again every few seconds, as long as the page is looked at. */
  watch() {
    clearTimeout(this.timer);
    if (!this.request || document.hidden || !this.element.isConnected) return;
    this.timer = setTimeout(() => this.load(), EVERY);
  }

  /** Return the problem that work met, null if it met none. */
  async failed(work) {
    try {
      await work();
      return null;
    } catch (problem) {
      return problem;
    }
  }

  draw() {
    const { say } = this.page;
    this.drawn = this.problem ? null : this.seen;
    show(
      this.element,
      h("h2", { text: say("authorization") }),
      this.problem && alert(this.problem, say, () => this.load()),
      this.status ? this.standing() : !this.problem && h("p", { role: "status", text: say("loading") }),
      this.request && this.waiting(),
      this.status && (this.asking ? this.form() : this.opener()),
    );
  }

  standing() {
    const { say } = this.page;
    const { state, until, opens } = this.status;
    const own = state === "active" && opens === "own";
    return h(
      "div",
      { class: `standing ${state}` },
      h("p", { class: "quiet", text: say("statusFor") }),
      h("p", { id: "state", class: "state", "data-state": state, text: say(`state.${state}`) }),
      until && h("p", { text: say("until", { date: shown(until) }) }),
      h("p", { id: "opens", "data-opens": opens, text: say(own ? "ownOpens" : `about.${state}`) }),
      h("button", { type: "button", class: "second", id: "refresh", text: say("refresh"), on: { click: () => this.load() } }),
    );
  }

  /** The request that waits for the patient: what the server said of it, and where the answer is entered. */
  waiting() {
    const { say } = this.page;
    const { way, said } = this.request;
    return h(
      "div",
      { class: "standing", id: "waiting" },
      h("p", { class: "quiet", text: say("way") }),
      h("p", { class: "told", text: say(`way.${way}`) }),
      h("p", { id: "said", text: said }),
      h("p", { class: "quiet", text: say("waiting") }),
      this.proof(),
    );
  }

  opener() {
    const { say } = this.page;
    const open = () => {
      this.asking = true;
      this.draw();
      this.element.querySelector("input[name=way]").focus();
    };
    const word = { none: "ask", active: "askMore" }[this.status.state] ?? "askAgain";
    return h("button", { type: "button", id: "ask", text: say(word), on: { click: open } });
  }

  form() {
    const { say } = this.page;
    const choice = (type, name, value, text, on) =>
      h("label", { class: "choice" }, h("input", { type, name, value, checked: on }), h("span", { text }));
    const kinds = Object.keys(SCOPES).map((kind) => choice("checkbox", "kind", kind, say(`kind.${kind}`), false));
    const some = h("div", { class: "kinds", hidden: true }, kinds);
    const extent = (event) => (some.hidden = event.target.value !== "some");
    return h(
      "form",
      { id: "request", novalidate: true, on: { submit: (event) => this.send(event) } },
      h("fieldset", {}, h("legend", { text: say("way") }), WAYS.map((way, at) => choice("radio", "way", way, say(`way.${way}`), !at))),
      h(
        "fieldset",
        { on: { change: extent } },
        h("legend", { text: say("scope") }),
        choice("radio", "extent", "all", say("everything"), true),
        choice("radio", "extent", "some", say("someTypes"), false),
      ),
      some,
      h("label", {}, say("since"), h("input", { type: "date", name: "since" })),
      h("fieldset", { class: "row" }, h("legend", { text: say("validity") }), DAYS.map(([word, days], at) => choice("radio", "days", days, say(word), at === 1))),
      h("p", { class: "quiet", text: say("purpose") }),
      h("button", { text: say("send") }),
    );
  }

  async send(event) {
    event.preventDefault();
    const said = new FormData(event.target);
    const kinds = said.get("extent") === "some" ? said.getAll("kind") : [];
    const { fhir, patient, say } = this.page;
    if (said.get("extent") === "some" && !kinds.length) return this.refuse(event.target, new Error(say("chooseType")));
    const form = { way: said.get("way"), kinds, since: said.get("since"), days: Number(said.get("days")) };
    return this.submit(event.target, async () => {
      const { id } = await fhir.operate(`Patient/${patient}/$request-authorization`, asked(form));
      Object.assign(this, { asked: `Consent/${id}`, asking: false });
    });
  }

  /** Ask for what the patient received, or signed. */
  proof() {
    const { say } = this.page;
    const proof = PROOFS[this.request.way];
    if (!proof) return null;
    const input =
      proof.mode === "file"
        ? h("input", { type: "file", name: "scan", accept: SCANS })
        : h("input", { type: "text", name: "code", inputmode: "numeric", autocomplete: "off", maxlength: 6 });
    const send = (event) => (proof.mode === "file" ? this.hand(event) : this.verify(event));
    return h(
      "form",
      { id: "verify", novalidate: true, on: { submit: send } },
      h("label", {}, say(proof.word), input),
      proof.mode === "file" && h("p", { class: "quiet", text: say("scanAbout") }),
      h("button", { text: say("verify") }),
    );
  }

  verify(event) {
    event.preventDefault();
    // Digits that a Chinese keyboard types wide are digits.
    const code = new FormData(event.target).get("code").normalize("NFKC").trim();
    if (!CODE.test(code)) return this.refuse(event.target, new Error(this.page.say("codeShape")));
    return this.submit(event.target, () => this.prove(byCode(code)));
  }

  /** File the scan of a signed form, and hand it in; the user has checked it. */
  hand(event) {
    event.preventDefault();
    const file = new FormData(event.target).get("scan");
    const { fhir, patient, say, user } = this.page;
    if (!file?.size || file.size > LARGEST) return this.refuse(event.target, new Error(say("scanShape")));
    return this.submit(event.target, async () => {
      const data = base64(new Uint8Array(await file.arrayBuffer()));
      const { id } = await fhir.create(scanOf(patient, { type: file.type, name: file.name, data }));
      return this.prove(byScan(`DocumentReference/${id}`, user));
    });
  }

  prove(parameters) {
    return this.page.fhir.operate(`Consent/${this.request.id}/$verify`, parameters);
  }

  /** Do what a form is for. If it fails, the form stays as it was filled in. */
  async submit(form, work) {
    const button = form.querySelector("button");
    button.disabled = true;
    const problem = await this.failed(work);
    button.disabled = false;
    if (problem) return this.refuse(form, problem);
    this.drawn = null;
    return this.load();
  }

  refuse(form, problem) {
    this.element.querySelectorAll(".problem").forEach((each) => each.remove());
    form.before(alert(problem, this.page.say));
  }
}
