// In which language the app speaks, and how a word is said: Chinese first, English where it is asked for.
import { EN } from "./words-en.js";
import { ZH } from "./words-zh.js";

export const LANGUAGES = { "zh-CN": ZH, en: EN };
const CHOSEN = "doctor-view.language";

/** Return the language to speak: what the URL asks for, or was chosen in this tab, or the browser's, else Chinese. */
export function language() {
  const asked = new URLSearchParams(location.search).get("lang");
  const kept = sessionStorage.getItem(CHOSEN);
  const wish = asked ?? kept ?? navigator.language ?? "";
  const found = /^en\b/i.test(wish) ? "en" : "zh-CN";
  if (asked) choose(found);
  return found;
}

export function choose(language) {
  sessionStorage.setItem(CHOSEN, language);
}

/** Return a function that says a word in a language. A word that is not known is said as it is, without what is before
 * its dot: codes of records show as they are. */
export function saying(language) {
  const words = LANGUAGES[language];
  return (word, values = {}) =>
    (Object.hasOwn(words, word) ? words[word] : word.replace(/^\w+\./, "")).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
