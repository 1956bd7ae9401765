// What went wrong, as sentences for the user: ours first, then what the server said of it.
import { h } from "./dom.js";
import { LaunchProblem } from "./smart.js";

/** Return the sentences for a problem. */
export function sentence(problem, say) {
  if (problem instanceof LaunchProblem) return [say(`launch.${problem.message}`), problem.told].filter(Boolean).join(" ");
  if (problem.status === undefined) return String(problem.message ?? problem);
  const known = [0, 400, 401, 403, 404, 409, 422, 429];
  const word = known.includes(problem.status) ? problem.status : problem.status >= 500 ? 500 : 400;
  const told = problem.status >= 500 ? "" : problem.diagnostics;
  return [say(`problem.${word}`), told].filter(Boolean).join(" ");
}

/** Return an element that tells of a problem; again: what a button "try again" does, if there is to be one. */
export function alert(problem, say, again) {
  const retry = again && h("button", { type: "button", class: "second", text: say("again"), on: { click: again } });
  return h("div", { class: "problem", role: "alert" }, h("p", { text: sentence(problem, say) }), retry);
}
