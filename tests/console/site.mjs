// The docs site as a browser shows it, from a server that only sends files: no page reports an error, asks another server, or has to be
// scrolled to the side on a telephone. Some are pictured in light, dark and narrow.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const { SITE } = process.env;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json', '.xml': 'text/xml', '.png': 'image/png' };
/** Those that are looked at by people. */
const SHOWN = ['index.html', 'docs/tutorials/first-pipeline/index.html', 'docs/reference/handlers/index.html', 'docs/comparison/index.html'];

/** Each page reads the index of the search anew, which takes longer than the page; it is left out where all pages are looked at. */
const EMPTY = JSON.stringify({ config: { lang: ['en'], separator: '[\\s\\-]+', pipeline: [], fields: {} }, docs: [] });
let searched = false;
const BARE = /\/E\d\d\d[1-9]\//;

const server = http.createServer((request, response) => {
  const named = decodeURIComponent(new URL(request.url, 'http://x').pathname);
  if (named.endsWith('search_index.json') && !searched) return void response.writeHead(200, { 'content-type': 'application/json' }).end(EMPTY);
  // Pages of errors are many and alike: the scripts, which take longer than the page, are for one in ten of them.
  if (named.endsWith('.js') && BARE.test(request.headers.referer ?? '')) return void response.writeHead(200, { 'content-type': 'text/javascript' }).end();
  let file = path.join(SITE, path.normalize(named));
  if (file.endsWith('/') || (fs.existsSync(file) && fs.statSync(file).isDirectory())) file = path.join(file, 'index.html');
  if (!fs.existsSync(file)) return void response.writeHead(404).end();
  response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
  response.end(fs.readFileSync(file));
});
await new Promise((then) => server.listen(0, '127.0.0.1', then));
process.env.SPOUT_URL = `http://127.0.0.1:${server.address().port}`;
const { ensure, look } = await import('./browser.mjs');

fs.mkdirSync(process.env.SHOTS, { recursive: true });
const pages = fs.readdirSync(SITE, { recursive: true }).map(String).filter((name) => name.endsWith('.html')).sort();
const addresses = pages.map((name) => `${process.env.SPOUT_URL}/${name.replace(/index\.html$/, '')}`);
const name = (page) => page.replace(/\/?index\.html$/, '').replaceAll('/', '-') || 'home';
const picture = (page, of) => page.screenshot({ path: path.join(process.env.SHOTS, `site-${of}.png`) });
const narrow = { width: 360, height: 740 };
const wide = [];
const missing = [];
try {
  await look(
    async ({ page }) => {
      page.on('response', (response) => response.status() >= 400 && missing.push(`${response.status()} ${response.url()}`));
      for (const [at, address] of addresses.entries()) {
        await page.goto(address, { waitUntil: 'load' });
        // What sticks out, if anything does.
        const found = await page.evaluate((bare) => {
          // Without its scripts the theme does not fold its search; what is the page's own has to fit all the same.
          const whole = bare ? document.querySelector('.md-content') : document.documentElement;
          const room = whole.clientWidth;
          const over = whole.scrollWidth - room;
          if (over <= 0) return '';
          const out = [...document.querySelectorAll('article *')].find((one) => one.getBoundingClientRect().right > room + 1);
          return `${over} px: ${out?.outerHTML.slice(0, 200) ?? 'outside of the article'}`;
        }, BARE.test(address));
        if (found) wide.push(`${pages[at]} is too wide by ${found}`);
        if (SHOWN.includes(pages[at])) await picture(page, `${name(pages[at])}-narrow`);
      }
    },
    { viewport: narrow },
  );
  searched = true;
  for (const scheme of ['light', 'dark']) {
    await look(
      async ({ page, accessible }) => {
        for (const shown of SHOWN) {
          await page.goto(`${process.env.SPOUT_URL}/${shown.replace(/index\.html$/, '')}`, { waitUntil: 'load' });
          const back = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).map(Number));
          ensure((Math.max(...back) < 128) === (scheme === 'dark'), shown, 'has', back, 'in', scheme);
          await picture(page, `${name(shown)}-${scheme}`);
          await accessible(shown);
        }
      },
      { scheme },
    );
  }
} finally {
  server.close();
}
ensure(missing.length === 0, [...new Set(missing)].slice(0, 10).join('\n'));
ensure(wide.length === 0, `${wide.length} pages:\n${wide.slice(0, 12).join('\n')}`);
console.log(`${pages.length} pages`);
