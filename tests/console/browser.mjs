// A browser at a running server, and what is looked at in it. Tests in Rust start a server, and then node with one of the scripts
// beside this file, which calls `look`.
import fs from 'node:fs';
import path from 'node:path';

const { SPOUT_URL, PLAYWRIGHT, AXE, CHROMIUM, CHROMIUM_LIBRARIES, SHOTS } = process.env;
const { chromium } = await import(path.join(PLAYWRIGHT, 'index.mjs'));
const axe = fs.readFileSync(path.join(AXE, 'axe.min.js'), 'utf8');

/** Things of the server become so within this time. */
const PATIENCE = 60_000;

/** Fails, with what was seen, unless it holds. */
export function ensure(holds, ...seen) {
  if (!holds) throw new Error(seen.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join(' '));
}

/** Fails unless both are the same. */
export function equal(is, expected, about = '') {
  ensure(JSON.stringify(is) === JSON.stringify(expected), about, 'is', is, 'instead of', expected);
}

/** Tries `find` until it gives something that is not false; what it threw last is why it did not. */
export async function until(about, find, patience = PATIENCE) {
  const end = Date.now() + patience;
  let why = '';
  for (;;) {
    try {
      const found = await find();
      if (found) return found;
      why = '';
    } catch (error) {
      why = `: ${error.message}`;
    }
    if (Date.now() > end) throw new Error(`it does not come that ${about}${why}`);
    await new Promise((then) => setTimeout(then, 20));
  }
}

/** A number as the page writes it, `1,234`; as JSON it may be text. */
export const number = (text) => (/^[\d,]+$/.test(text.trim()) ? Number(text.replaceAll(',', '')) : text.trim());

/** What the API says, which has to be what was asked for, unless `refused` is given. */
export async function api(method, route, body, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(SPOUT_URL + route, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  ensure(response.ok, method, route, 'gives', response.status, text);
  return text === '' ? undefined : JSON.parse(text);
}

/** Rows of a query. */
export async function sql(query) {
  const response = await fetch(`${SPOUT_URL}/v1/sql`, { method: 'POST', body: JSON.stringify({ query }) });
  const text = await response.text();
  ensure(response.ok, query, 'gives', text);
  return text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
}

/** Opens a browser, has `then` look, and closes it. It fails where the page has reported an error of its own, asked another server, or
 * broken its policy. `then` gets: `page`; `open(address)`, which goes to `#/address`; `shot(name)`, a picture of it; `accessible(name)`,
 * which fails where axe finds anything serious; `text(selector)`. */
export async function look(then, { token, scheme = 'light', viewport = { width: 1280, height: 800 }, expected = [] } = {}) {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
    env: { ...process.env, ...(CHROMIUM_LIBRARIES ? { LD_LIBRARY_PATH: CHROMIUM_LIBRARIES } : {}) },
  });
  const wrong = [];
  try {
    const context = await browser.newContext({ viewport, colorScheme: scheme, reducedMotion: 'reduce', timezoneId: 'UTC', locale: 'en-US' });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    if (token) await page.addInitScript((token) => sessionStorage.setItem('spout-token', token), token);
    page.on('pageerror', (error) => wrong.push(`the page threw ${error.stack ?? error}`));
    page.on('console', (message) => {
      // A refused request is said there by the browser; scripts look at what the page says of it.
      const known = message.type() !== 'error' || message.text().startsWith('Failed to load resource');
      if (!known) wrong.push(`the page reported ${message.text()}`);
    });
    page.on('request', (request) => {
      const to = new URL(request.url());
      if (['http:', 'https:'].includes(to.protocol) && to.origin !== new URL(SPOUT_URL).origin) wrong.push(`the page asked ${to}`);
    });
    const shot = async (name) => {
      fs.mkdirSync(SHOTS, { recursive: true });
      // To hide the caret, Playwright would put a style into the editor that the page's policy forbids.
      await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: true, caret: 'initial' });
    };
    const accessible = async (name) => {
      // The page's policy keeps no debugger out.
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      const bad = violations.filter((one) => ['serious', 'critical'].includes(one.impact));
      const said = bad.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => `${node.html} (${node.failureSummary})`).join('; ')}`);
      ensure(bad.length === 0, `${name} is not accessible:\n${said.join('\n')}`);
    };
    const open = async (address) => {
      const url = `${SPOUT_URL}/#/${address}`;
      if (page.url().split('#')[0] === `${SPOUT_URL}/`) await page.evaluate((to) => (location.hash = to), `#/${address}`);
      else await page.goto(url);
    };
    const text = async (selector) => (await page.locator(selector).first().innerText()).trim();
    try {
      await then({ page, open, shot, accessible, text, wrong });
    } catch (error) {
      // What was to be seen when it failed.
      await shot(`failed-${path.basename(process.argv[1], '.mjs')}`).catch(() => {});
      throw new Error([error.stack, ...wrong].join('\n'));
    }
  } finally {
    await browser.close();
  }
  const unexpected = wrong.filter((one) => !expected.some((known) => one.includes(known)));
  ensure(unexpected.length === 0, unexpected.join('\n'));
}
