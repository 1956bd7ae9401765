// A headless Chromium that does what lines of JSON on standard input say, and answers each with a line of JSON.
// With the argument --unpack it only unpacks the browser into TMPDIR. The browser reaches nothing but this machine.
import { createInterface } from "node:readline";
import bundled from "@sparticuz/chromium";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", // there may be no other user to run as; what it shows is our own
  "--no-zygote",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-domain-reliability",
  "--disable-sync",
  "--no-pings",
  "--no-proxy-server",
  "--font-render-hinting=none",
  "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];
const PATIENCE = 30_000; // milliseconds for one step

const executablePath = await bundled.executablePath();
if (process.argv[2] === "--unpack") process.exit(0); // that was it
const browser = await chromium.launch({ executablePath, args: FLAGS, headless: true });
let context, page, told;

const deeds = {
  // A new visitor with nothing remembered. width and height: of the view, in CSS pixels.
  async visit({ width, height, locale }) {
    await context?.close();
    context = await browser.newContext({ viewport: { width, height }, locale, isMobile: width < 500 });
    context.setDefaultTimeout(PATIENCE);
    page = await context.newPage();
    told = [];
    page.on("console", (message) => told.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => told.push(`error: ${error.message}`));
  },
  async goto({ url }) {
    const answer = await page.goto(url);
    return answer?.status() ?? null;
  },
  fill: ({ selector, text }) => page.fill(selector, text),
  check: ({ selector }) => page.check(selector),
  uncheck: ({ selector }) => page.uncheck(selector),
  click: ({ selector }) => page.click(selector),
  press: ({ key }) => page.keyboard.press(key),
  text: ({ selector }) => page.innerText(selector),
  count: ({ selector }) => page.locator(selector).count(),
  url: () => page.url(),
  wait: ({ selector }) => page.waitForSelector(selector, { state: "attached" }).then(() => null),
  evaluate: ({ script }) => page.evaluate(script),
  cookies: () => context.cookies(),
  screenshot: ({ path }) => page.screenshot({ path, fullPage: true }).then(() => null),
  told: () => told,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { does, ...how } = JSON.parse(line);
  const said = await Promise.resolve(how)
    .then(deeds[does])
    .then(
      (value) => ({ value: value ?? null }),
      (error) => ({ failed: String(error.message) }),
    );
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
await browser.close();
