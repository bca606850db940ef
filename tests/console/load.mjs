// Much of everything, from a server that only pretends: 300 pipelines, one of 500 partitions, and 10 MB of events a second. How soon
// the page reacts and what memory it takes is printed; the limits are those that would be a fault on any machine.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const { DIST } = process.env;
const PIPELINES = 300;
const PARTITIONS = 500;
const BYTES = 10_000_000;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

let beat = 0;
const counts = (of) => ({ messages: 1_000_000 + beat * 50 + of, rows: 900_000 + beat * 45, dead_letters: of % 7 === 0 ? 3 : 0, dropped: 0, empty: 0, made: 0, bytes: beat * 5000,
  lag: 17, filtered: { bids: beat * 5 }, late: {}, unknown: { names: {}, others: 0 } });
const status = (of) => ({ name: `p${of}`, state: of % 50 === 3 ? 'failed' : 'running', condition: of % 50 === 3 ? 'failed' : of % 11 === 0 ? 'catching-up' : 'running', since_ms: 1,
  commits: 10_000 + beat, head: 'a'.repeat(32), error: of % 50 === 3 ? `pipeline p${of} stopped: it has met a wall` : undefined, code: of % 50 === 3 ? 'E0411' : undefined,
  plugins: { nexmark: 'sha256:00' }, counts: counts(of), lag: 17, time_lag_ms: 1200, readers: 2, partition_count: PARTITIONS });
const partitions = () => Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, label: `shard-${partition}`, state: 'reading', committed: beat * 10 + partition,
  fetched: beat * 10 + partition + 5, end: beat * 10 + partition + 22, lag: 17, newest_ms: 1_767_225_600_000 + beat, time_lag_ms: 1200 + partition, reader: partition % 2 }));
const graph = () => ({ nodes: Array.from({ length: PIPELINES }, (_, of) => [{ id: `pipeline:p${of}`, kind: 'pipeline', name: `p${of}` }, { id: `repo:p${of}`, kind: 'repo', name: `p${of}` }]).flat(),
  edges: Array.from({ length: PIPELINES }, (_, of) => [{ from: `pipeline:p${of}`, to: `repo:p${of}` }, ...(of % 3 ? [{ from: `repo:p${of - 1}`, to: `pipeline:p${of}` }] : [])]).flat() });
const commit = (of) => ({ id: of.toString(16).padStart(32, '0'), number: of, branch: 'master', started_ms: of * 10, at_ms: of * 10 + 7, reason: 'time', messages: 10, rows: 9, dead_letters: 0, files: [{ blob: { size: 100 } }] });

function answer(url) {
  if (url.pathname === '/v1/pipelines') return Array.from({ length: PIPELINES }, (_, of) => status(of));
  if (url.pathname === '/v1/pipelines/p0') return { ...status(0), partitions: partitions(), handlers: [{ handler: 'filter', id: 'bids', rows_in: beat * 50, rows_out: beat * 45, busy_ms: beat, lane: true }],
    plugin_use: { nexmark: { instances: 2, calls: beat, busy_ms: beat, cpu_ms: beat, memory: 30 << 20, memory_limit: 64 << 20, traps: 0 } }, queue: { bytes: 3 << 20, capacity: 48 << 20 },
    commit_ms: { count: 1000, sum: 5000, last: 4, p50: 5, p99: 12 } };
  if (url.pathname === '/v1/pipelines/p0/spec') return { text: Array.from({ length: 400 }, (_, line) => `# line ${line}`).join('\n') };
  if (url.pathname === '/v1/repos') return Array.from({ length: PIPELINES }, (_, of) => ({ name: `p${of}`, commits: 10_000 + beat }));
  if (url.pathname === '/v1/graph') return graph();
  if (/^\/v1\/repos\/p\d+\/commits$/.test(url.pathname)) return Array.from({ length: 12 }, (_, of) => commit(10_000 + beat - of));
  return undefined;
}

const streams = new Set();
const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://x');
  if (url.pathname === '/v1/events' || url.pathname.endsWith('/log')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('\n');
    if (url.pathname === '/v1/events') streams.add(response);
    response.on('close', () => streams.delete(response));
    return;
  }
  const said = answer(url);
  if (said !== undefined) {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(said));
    return;
  }
  const file = path.join(DIST, url.pathname === '/' ? 'index.html' : url.pathname);
  if (!fs.existsSync(file)) return void response.writeHead(404).end('{}');
  response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
  response.end(fs.readFileSync(file));
});
await new Promise((then) => server.listen(0, '127.0.0.1', then));
process.env.SPOUT_URL = `http://127.0.0.1:${server.address().port}`;
const { ensure, look, until } = await import('./browser.mjs');
const { hold, waits } = await import('./waits.mjs');

// Ten times a second, all that fits; whoever reads slower than that is sent less.
let sent = 0;
const timer = setInterval(() => {
  beat += 1;
  let text = '';
  for (let of = 0; text.length < BYTES / 10; of = (of + 1) % PIPELINES) {
    text += `event: progress\ndata: ${JSON.stringify({ event: 'progress', pipeline: `p${of}`, ...counts(of) })}\n\n`;
  }
  text += `event: committed\ndata: ${JSON.stringify({ event: 'committed', pipeline: 'p0', commit: commit(beat).id })}\n\n`;
  for (const stream of streams) {
    if (stream.writableLength > BYTES) continue;
    stream.write(text);
    sent += text.length;
  }
}, 100);

const figures = {};
try {
  await look(async ({ page, open, shot }) => {
    const meanwhile = await waits(page);
    /** Over some seconds, with shares of a processor. */
    const measure = async (name, act) => {
      const before = sent;
      const { seconds, worked, script, layout, style, ...rest } = await meanwhile(async () => {
        await act();
        await page.waitForTimeout(4000);
      });
      const share = (of) => Math.round((of / seconds) * 1000) / 1000;
      const events_mb_s = Math.round((sent - before) / seconds / 1e5) / 10;
      figures[name] = { ...rest, busy: share(worked), script: share(script), layout: share(layout), style: share(style), events_mb_s };
    };
    await open('');
    await page.locator('[data-pipeline="p0"]').waitFor();
    await until('the graph is drawn', async () => (await page.locator('svg .node').count()) === 2 * PIPELINES);
    await measure('overview', async () => {});
    await shot('load-overview');
    await open('pipelines/p0');
    const grid = page.getByRole('region', { name: 'Partitions', exact: true });
    await grid.waitFor();
    await measure('pipeline', async () => {
      await grid.focus();
      await hold(page, 'PageDown', 8);
      await page.getByLabel('Order').selectOption('worst');
    });
    await grid.focus();
    await page.keyboard.press('Home');
    await until('the one furthest behind is first', async () => (await grid.getByRole('row').nth(1).innerText()).includes('shard-499'));
    // Those in sight are drawn, and no others.
    const drawn = await grid.getByRole('row').count();
    ensure(drawn < 60, 'rows that are drawn:', drawn);
    await shot('load-pipeline');
  });
} finally {
  clearInterval(timer);
  for (const stream of streams) stream.destroy();
  server.close();
}
console.log(JSON.stringify(figures, undefined, 2));
for (const [name, { busy, heap_mb }] of Object.entries(figures)) {
  ensure(busy < 0.9, name, 'takes', busy, 'of a processor');
  ensure(heap_mb < 150, name, 'holds', heap_mb, 'MB');
}
