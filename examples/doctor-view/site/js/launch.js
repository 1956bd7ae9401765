// Where the app starts: the EMR opens this page with iss and launch; without them a patient is picked after sign-in.
import { h, show } from "./dom.js";
import { sentence } from "./problems.js";
import { authorize, configuration } from "./smart.js";
import { language, saying } from "./words.js";

const spoken = language();
const say = saying(spoken);
document.documentElement.lang = spoken;
document.title = say("title");
const main = document.querySelector("main");
const given = new URLSearchParams(location.search);
show(main, h("p", { role: "status", text: say("loading") }));
try {
  await authorize(await configuration(), { iss: given.get("iss"), launch: given.get("launch") });
} catch (problem) {
  show(main, h("h1", { text: say("title") }), h("div", { class: "problem", role: "alert" }, h("p", { text: sentence(problem, say) })));
}
