// The app: whose records, who looks at them, and the three screens.
import { AuthorizationView } from "./authorization-view.js";
import { h, show } from "./dom.js";
import { Fhir } from "./fhir.js";
import { watchIdle } from "./idle.js";
import { alert } from "./problems.js";
import { begins, personName } from "./reading.js";
import { LaunchProblem, authorize, configuration, launched, session } from "./smart.js";
import { Sources } from "./sources.js";
import { TimelineView } from "./timeline-view.js";
import { Timeline } from "./timeline.js";
import { TrendsView } from "./trends-view.js";
import { mark } from "./watermark.js";
import { choose, language, saying } from "./words.js";

const SCREENS = ["timeline", "trends", "authorization"];
const YEAR = 365.2425 * 86_400_000;

const spoken = language();
const say = saying(spoken);
const [header, main] = [document.querySelector("header"), document.querySelector("main")];
document.documentElement.lang = spoken;
document.title = say("title");
document.querySelector(".skip").textContent = say("skip");

async function run() {
  top();
  show(main, h("p", { role: "status", text: say("loading") }));
  const asked = launched();
  if (asked) return authorize(await configuration(), asked);
  const under = await session();
  if (!under) return closed("noSession");
  if (!under.patient) throw new LaunchProblem("noPatient");
  const fhir = new Fhir(under.base, () => under.token());
  const [user, patient] = await Promise.all([fhir.read(under.user), fhir.read(`Patient/${under.patient}`)]);
  const name = personName([user.name ?? []].flat()) || user.practitioner?.display || under.user;
  mark(name); // before anything of the records
  const stop = watchIdle(() => end(under, "idle"));
  const leave = () => {
    stop();
    end(under, "signedOut");
  };
  top(name, leave);
  const sources = new Sources(fhir);
  await sources.learnOwn(under.user);
  const practitioner = under.user.startsWith("Practitioner/") ? under.user : user.practitioner?.reference;
  return opened({ fhir, sources, patient, user: practitioner, banner: under.banner });
}

/** Show the three screens. The timeline and the status load at once, trends when they are opened. Whoever comes back to the page
 * is told how the authorization stands by then. */
function opened({ fhir, sources, patient, user, banner }) {
  const sections = Object.fromEntries(SCREENS.map((screen) => [screen, h("section", { id: screen, hidden: true, tabindex: -1 })]));
  const views = {};
  const note = h("span", { class: "note" });
  const page = {
    fhir,
    sources,
    say,
    patient: patient.id,
    user,
    trend: (name) => {
      go("trends");
      views.trends.open(name);
    },
    changed: () => begin(),
    stands: (state) => (note.textContent = state ? say(`state.${state}`) : ""),
  };
  const begin = () => {
    page.timeline = new Timeline(fhir, patient.id);
    views.timeline = new TimelineView(sections.timeline, page);
    views.trends = new TrendsView(sections.trends, page);
    views.timeline.load().then(() => views.trends.draw());
  };
  const tabs = SCREENS.map((screen) => h("button", { type: "button", "data-screen": screen, text: say(screen), on: { click: () => go(screen) } }));
  tabs[SCREENS.indexOf("authorization")].append(note);
  const go = (chosen) => {
    for (const screen of SCREENS) sections[screen].hidden = screen !== chosen;
    for (const tab of tabs) tab.setAttribute("aria-current", tab.dataset.screen === chosen ? "page" : "false");
    if (chosen === "trends") views.trends.load();
    if (chosen === "authorization") views.authorization.load();
  };
  const above = h("div", { class: "above" }, banner && whose(patient), h("nav", { class: "tabs", "aria-label": say("title") }, tabs));
  show(main, above, Object.values(sections));
  views.authorization = new AuthorizationView(sections.authorization, page);
  views.authorization.load();
  begin();
  go("timeline");
}

function whose(patient) {
  const born = patient.birthDate;
  const age = born && Math.floor((Date.now() - begins(born)) / YEAR);
  const facts = [say(patient.gender ?? "unknown"), born && say("born", { date: born }), born && say("age", { count: age })];
  return h("div", { class: "banner", role: "region", "aria-label": say("patient") }, h("h1", { id: "patient", text: personName(patient.name) }), h("p", { text: facts.filter(Boolean).join(" · ") }));
}

/** Show what stands above everything. leave: signs out. */
function top(name, leave) {
  const other = spoken === "en" ? "zh-CN" : "en";
  const speak = () => {
    choose(other);
    history.replaceState(null, "", location.pathname);
    location.reload();
  };
  show(
    header,
    h("span", { class: "site", text: say("title") }),
    name && h("span", { id: "user", text: name }),
    h("button", { type: "button", class: "plain", lang: other, text: say("language"), on: { click: speak } }),
    leave && h("button", { type: "button", class: "plain", id: "sign-out", text: say("signOut"), on: { click: leave } }),
  );
}

function closed(word) {
  show(main, h("h1", { text: say("title") }), h("p", { role: "status", text: say(word) }), start());
}

/** A way to sign in and pick a patient, without an EMR. */
function start() {
  return h("a", { class: "button", href: "index.html?launch=", text: say("start") });
}

/** End the session: what is shown goes first. */
async function end(under, word) {
  show(main, h("p", { role: "status", text: say("loading") }));
  top();
  document.querySelector(".watermark")?.remove();
  closed((await under.end()) ? word : "notEnded");
}

run().catch((problem) => {
  show(main, h("h1", { text: say("title") }), alert(problem, say), start());
});
