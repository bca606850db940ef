// Much data, from a server that only pretends: 10,000 commits, to which ten come each second, a directory of 1,000 files, and an answer of
// 200,000 rows. How long the page lets somebody wait and what it holds is printed; the limits are those that would be a fault on any machine.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const { DIST } = process.env;
const COMMITS = 10_000;
const FILES = 1000;
const ROWS = 200_000;
const HELD = 300;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

let made = COMMITS;
/** How often one commit was asked for. */
let details = 0;
const id = (number) => number.toString(16).padStart(32, '0');
const blob = { place: 'inline', size: 6676, sha256: 'ab'.repeat(32) };
const commit = (number) => ({ id: id(number), repo: 'big', branch: 'master', number, parent: number > 1 ? id(number - 1) : null, tags: [], started_ms: number * 100, at_ms: number * 100 + 70, sequence: number, epoch: 1,
  pipeline: 'big', spec_digest: 'sha256:00', plugins: { json: 'sha256:01' }, reason: 'time', messages: 503, rows: 463, dead_letters: 0, dropped: 0, empty: 0, made: 0, filtered: { bids: 40 }, late: {}, removed: [], global: id(number),
  files: [{ path: `/bids/${number}.parquet`, how: 'append', blob, table: { rows: 463, columns: Array.from({ length: 20 }, (_, column) => ({ name: `column ${column}`, min: 1, max: 9, nulls: 0 })) } }],
  marker: Object.fromEntries(Array.from({ length: 8 }, (_, of) => [of, { label: `shard ${of}`, offset: number * 60 }])), state: { 'so-far/snapshot': blob } });
const branch = () => ({ name: 'master', head: id(made), finished_ms: made * 100, commits: made, epoch: 1, pipeline: 'big' });

/** The number of a commit, as in `master` or `ID~20`. */
function numbered(at) {
  const [of, back] = at.split('~');
  return (of === 'master' ? made : Number.parseInt(of, 16)) - Number(back ?? 0);
}

function answer(url) {
  const asked = url.searchParams;
  if (url.pathname === '/v1/repos') return [{ name: 'big', description: '', created_ms: 1, branches: 1, commits: made }];
  if (url.pathname === '/v1/repos/big') return { name: 'big', description: '', created_ms: 1, retention: {}, branches: [branch()], tags: [], started: [] };
  if (url.pathname === '/v1/repos/big/branches/master') return { ...branch(), tables: [{ table: '/bids', files: 1, rows: 1, columns: [{ name: 'n', type: 'Int64', nullable: false }] }] };
  if (url.pathname.startsWith('/v1/repos/big/commits/')) {
    details += 1;
    return commit(numbered(decodeURIComponent(url.pathname.split('/').pop())));
  }
  if (url.pathname === '/v1/repos/big/commits') {
    const newest = numbered(asked.get('at'));
    return Array.from({ length: Math.max(0, Math.min(Number(asked.get('limit')), newest)) }, (_, of) => commit(newest - of));
  }
  if (url.pathname === '/v1/repos/big/files') {
    const names = asked.get('path') ? Array.from({ length: FILES }, (_, of) => `/many/file-${String(of).padStart(4, '0')}`) : [];
    return { repo: 'big', branch: 'master', commit: id(made), files: names.length ? names.map((path) => ({ path, type: 'file', size: 9 })) : [{ path: '/many/', type: 'dir', size: 9 * FILES }] };
  }
  return undefined;
}

const streams = new Set();
const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://x');
  if (url.pathname.endsWith('/events')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('\n');
    streams.add(response);
    response.on('close', () => streams.delete(response));
    return;
  }
  if (url.pathname === '/v1/sql') {
    let body = '';
    for await (const part of request) body += part;
    response.writeHead(200, { 'content-type': 'application/x-ndjson' }).setMaxListeners(0);
    if (JSON.parse(body).query.startsWith('describe')) return void response.end('{"column_name":"n","data_type":"Int64","is_nullable":"NO"}\n{"column_name":"word","data_type":"Utf8","is_nullable":"NO"}\n');
    for (let row = 0; row < ROWS && !response.destroyed; row += 1000) {
      const text = Array.from({ length: 1000 }, (_, of) => `{"n":${row + of},"word":"a word of some length, number ${row + of}"}\n`).join('');
      if (!response.write(text)) await new Promise((then) => response.once('drain', then).once('close', then));
    }
    return void response.end();
  }
  const said = answer(url);
  if (said !== undefined) {
    response.writeHead(200, { 'content-type': 'application/json' });
    return void response.end(JSON.stringify(said));
  }
  const file = path.join(DIST, url.pathname === '/' ? 'index.html' : url.pathname);
  if (!fs.existsSync(file)) return void response.writeHead(404).end('{"code":"E0904","kind":"spec","message":"there is no such thing"}');
  response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
  response.end(fs.readFileSync(file));
});
await new Promise((then) => server.listen(0, '127.0.0.1', then));
process.env.SPOUT_URL = `http://127.0.0.1:${server.address().port}`;
const { ensure, look, until } = await import('./browser.mjs');
const { hold, waits } = await import('./waits.mjs');
const timer = setInterval(() => {
  made += 1;
  for (const stream of streams) stream.write(`id: ${id(made)}\nevent: commit\ndata: ${JSON.stringify(commit(made))}\n\n`);
}, 100);

const figures = {};
try {
  await look(async ({ page, open, shot }) => {
    const meanwhile = await waits(page);
    const measure = async (name, act) => {
      const { worked, wait_p50_ms, wait_p99_ms, wait_most_ms, react_most_ms, heap_mb } = await meanwhile(act, true);
      figures[name] = { worked_ms: Math.round(worked * 1000), wait_p50_ms, wait_p99_ms, wait_most_ms, react_most_ms, heap_mb };
    };
    const drawn = async (rows, what) => ensure((await rows.count()) < 100, what, 'that are drawn:', await rows.count());

    await open('repos/big');
    const list = page.getByRole('listbox', { name: 'Commits' });
    await list.getByRole('option').nth(3).waitFor();
    await list.focus();
    await measure('10,000 commits', async () => {
      await hold(page, 'PageDown', 20);
      await page.keyboard.press('End');
      await until('the first commit is there', async () => page.url().includes(id(1)));
      await page.keyboard.press('Home');
      await until('and the newest', async () => Number.parseInt(new URLSearchParams(page.url().split('?')[1]).get('commit'), 16) > COMMITS - 100);
    });
    await drawn(list.getByRole('option'), 'commits');
    await shot('load-commits');
    // A key that is held moves what is chosen at once; its address and what the server knows of it follow once that rests.
    const asked = details;
    await hold(page, 'ArrowDown', HELD);
    await until('what is chosen follows a held key', async () => (await list.locator('[aria-selected="true"]').getAttribute('aria-posinset')) > HELD);
    const chosen = await list.locator('[aria-selected="true"]').innerText();
    await until('what is chosen is shown', async () => chosen.includes((await page.locator('article h2').innerText()).match(/Commit ([\d,]+)/)[1]));
    ensure(details - asked < HELD / 4, 'commits that were asked for on the way:', details - asked);

    await open('repos/big?view=files');
    const tree = page.getByRole('tree');
    await tree.getByRole('treeitem').first().click();
    await tree.getByRole('treeitem', { name: 'file-0003' }).waitFor();
    await tree.focus();
    await measure('1,000 files', async () => {
      await hold(page, 'PageDown', 20);
      await page.keyboard.press('End');
      await tree.getByRole('treeitem', { name: `file-0${FILES - 1}` }).waitFor();
    });
    await drawn(tree.getByRole('treeitem'), 'files');

    await open('sql');
    await page.locator('.cm-content').waitFor();
    await page.getByRole('combobox', { name: 'Rows at most' }).selectOption('500000');
    await page.locator('.cm-content').click();
    await page.keyboard.insertText('select * from big');
    const grid = page.getByRole('grid', { name: 'Result' });
    await measure('200,000 rows', async () => {
      await page.keyboard.press('Control+Enter');
      await page.locator('[data-figure="rows"]').getByText(ROWS.toLocaleString('en-US'), { exact: true }).waitFor();
      await grid.focus();
      await hold(page, 'PageDown', 20);
      await page.keyboard.press('Control+End');
      await grid.getByText(`number ${ROWS - 1}`).waitFor();
    });
    await drawn(grid.getByRole('row'), 'rows');
    await shot('load-rows');
  });
} finally {
  clearInterval(timer);
  for (const stream of streams) stream.destroy();
  server.close();
}
console.log(JSON.stringify(figures, undefined, 2));
for (const [name, { worked_ms, heap_mb }] of Object.entries(figures)) {
  ensure(worked_ms < 30_000, name, 'take', worked_ms, 'ms');
  ensure(heap_mb < 150, name, 'hold', heap_mb, 'MB');
}
