// Repos: what they show is what the API and SQL say of the same commits, at that moment; it goes on by itself; files can be looked at
// and taken away; tags are made, and refused.
import fs from 'node:fs';
import zlib from 'node:zlib';
import { api, ensure, equal, look, number, sql, until } from './browser.mjs';

const put = async (path, body) => {
  const response = await fetch(`${process.env.SPOUT_URL}/v1/repos/files/files/master${path}`, { method: 'PUT', body });
  ensure(response.ok, path, await response.text());
};

/** An image of 16 by 8 pixels. */
function image() {
  const chunk = (kind, data) => {
    const named = Buffer.concat([Buffer.from(kind), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc(named));
    return Buffer.concat([length, named, sum]);
  };
  const head = Buffer.from([0, 0, 0, 16, 0, 0, 0, 8, 8, 0, 0, 0, 0]);
  const pixels = zlib.deflateSync(Buffer.alloc(8 * 17, 0x80).map((byte, at) => (at % 17 === 0 ? 0 : byte)));
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', head), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]);
}
function crc(bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}

await look(async ({ page, open, shot, accessible, text }) => {
  const rows = page.getByRole('listbox', { name: 'Commits' }).getByRole('option');
  const figure = async (name) => number(await text(`[data-figure="${name}"]`));

  // All repos are listed.
  await open('repos');
  await page.getByRole('link', { name: 'bids', exact: true }).waitFor();
  const names = await page.locator('tbody tr td:first-child').allInnerTexts();
  equal([...names].sort(), (await api('GET', '/v1/repos')).map(({ name }) => name).sort(), 'the repos');
  await accessible('the repos');

  // Commits come by themselves.
  await page.getByRole('link', { name: 'bids', exact: true }).click();
  await rows.nth(3).waitFor();
  const before = await figure('timeline');
  await until('more commits come by themselves', async () => (await figure('timeline')) > before + 1);

  // What is said of a commit is what the API and SQL say of it.
  await rows.nth(2).click();
  const id = await until('the commit is in the address', () => new URLSearchParams(page.url().split('?')[1]).get('commit'));
  await until('the commit is shown', async () => (await text('article')).includes(id));
  const commit = await api('GET', `/v1/repos/bids/commits/${id}`);
  const [said] = await sql(`select messages, rows, filtered, bytes from commits('bids') where commit = '${id}'`);
  equal([await figure('messages'), await figure('rows'), await figure('filtered rows')], [said.messages, said.rows, said.filtered], 'figures of the commit, and SQL');
  equal([said.messages, said.rows], [commit.messages, commit.rows], 'SQL, and the API');
  for (const [partition, { offset }] of Object.entries(commit.marker)) equal(await figure(`offset ${partition}`), offset, `the marker of ${partition}`);
  ensure((await text('article')).includes(commit.plugins.redact.slice(7, 15)), 'the digest of a plugin');
  const shown = rows.filter({ hasText: id.slice(0, 8) });
  ensure((await shown.innerText()).includes(commit.rows.toLocaleString('en-US')), 'rows in the list');

  // Where it came from, and what was made from it.
  const made = await until('something is made from it', async () => {
    const after = await api('GET', '/v1/repos/hot/commits?limit=50');
    return after.find((one) => one.provenance.some((from) => from.commit === id));
  });
  await page.getByRole('button', { name: 'Look through the other repos' }).click();
  await page.getByRole('link', { name: `hot ${made.id.slice(0, 8)}` }).click();
  await until('that is shown', async () => (await text('h1')) === 'hot' && (await text('article')).includes(made.id));
  await page.getByRole('link', { name: `bids ${id.slice(0, 8)}` }).click();
  await until('and this again', async () => (await text('h1')) === 'bids' && (await text('article')).includes(id));
  await shot('repo-commits');
  await accessible('the commits');

  // By keyboard.
  await page.getByRole('listbox', { name: 'Commits' }).focus();
  await page.keyboard.press('End');
  const first = (await api('GET', `/v1/repos/bids/commits?at=${commit.id}&limit=${commit.number}`)).at(-1);
  await until('the first commit is chosen', async () => page.url().includes(first.id));

  // Two commits, compared: their files, and their rows.
  const old = (await api('GET', `/v1/repos/bids/commits?at=${id}~2&limit=1`))[0];
  await open(`repos/bids/${id}?view=compare&with=${old.id}`);
  const diff = await api('GET', `/v1/repos/bids/diff?new=bids@${id}&old=bids@${old.id}`);
  await until('the files are compared', async () => (await figure('changes')) === diff.changes.length);
  const [{ n }] = await sql(`select count(*) as n from diff('bids@${old.id}', 'bids@${id}', '/bids')`);
  equal(await text('[data-figure="rows more"]'), `+${n.toLocaleString('en-US')}`, 'rows more');
  await page.getByRole('button', { name: '/bids', exact: true }).click();
  await page.getByRole('grid', { name: 'Rows that differ in /bids' }).waitFor();
  const counted = n > 1000 ? 'The first 1,000 rows; there are more.' : `${n.toLocaleString('en-US')} rows.`;
  await page.getByText(counted, { exact: true }).waitFor();
  await shot('repo-compare');
  await accessible('a comparison');

  // Files of people: a directory of a thousand, an image, a text, bytes.
  await api('POST', '/v1/repos', { name: 'files' });
  const form = new FormData();
  for (let file = 0; file < 1000; file += 1) form.append(`/many/file-${String(file).padStart(4, '0')}.txt`, new Blob([`this is file ${file}\n`]));
  const sent = await fetch(`${process.env.SPOUT_URL}/v1/repos/files/files/master`, { method: 'POST', body: form });
  ensure(sent.ok, await sent.text());
  await put('/pic.png', image());
  await put('/bin', Buffer.from([0, 0xff, 0x41, 0x42]));
  await open('repos/files?view=files');
  const tree = page.getByRole('tree');
  await tree.getByRole('treeitem').nth(2).waitFor();
  await tree.focus();
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  await tree.getByRole('treeitem', { name: 'file-0003.txt' }).waitFor();
  const drawn = await tree.getByRole('treeitem').count();
  ensure(drawn < 100, `${drawn} rows are drawn of a thousand`);
  for (let step = 0; step < 3; step += 1) await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByText('this is file 2', { exact: false }).waitFor();
  ensure(page.url().endsWith('#/repos/files/master/many/file-0002.txt'), 'its address', page.url());
  await shot('repo-files');
  await accessible('the files');
  const waiting = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download' }).click();
  const download = await waiting;
  equal([download.suggestedFilename(), fs.readFileSync(await download.path(), 'utf8')], ['file-0002.txt', 'this is file 2\n'], 'the download');
  await open('repos/files/master/pic.png');
  await until('the image is shown', () => page.locator('img').evaluate((img) => img.naturalWidth === 16 && img.naturalHeight === 8));
  await open('repos/files/master/bin');
  await page.getByRole('region', { name: 'Bytes of /bin' }).getByText('00 ff 41 42').waitFor();
  await open('repos/files/master/nothing');
  await page.getByRole('alert').getByText('There is no file /nothing').waitFor();

  // Rows of a Parquet file are those of SQL.
  const [table] = commit.files;
  await open(`repos/bids/${id}${table.path}`);
  const grid = page.getByRole('grid', { name: `Rows of ${table.path}` });
  await grid.waitFor();
  const [row] = await sql(`select * from "bids@${id}:${table.path}" limit 1`);
  await until('the first row is that of SQL', async () => {
    const cells = await grid.locator('[aria-rowindex="2"] [role="gridcell"]').allInnerTexts();
    return JSON.stringify(cells) === JSON.stringify(Object.values(row).map(String));
  });
  await shot('repo-parquet');

  // A tag is made; once more it is refused, in the words of the server.
  await open(`repos/bids/${id}?view=refs`);
  const tag = async () => {
    await page.getByRole('button', { name: 'New tag' }).click();
    const dialog = page.locator('dialog[open]');
    await dialog.getByLabel('Name').fill('v1');
    await dialog.getByLabel('At the commit', { exact: false }).fill(id);
    await dialog.getByRole('button', { name: 'Create it' }).click();
    return dialog;
  };
  await tag();
  await page.getByRole('link', { name: 'v1', exact: true }).waitFor();
  equal((await api('GET', '/v1/repos/bids/tags')).map(({ name, commit }) => [name, commit]), [['v1', id]], 'the tags');
  const dialog = await tag();
  const refusal = await (await fetch(`${process.env.SPOUT_URL}/v1/repos/bids/tags`, { method: 'POST', body: JSON.stringify({ name: 'v1', head: id }) })).json();
  await dialog.getByRole('alert').waitFor();
  const words = await dialog.getByRole('alert').innerText();
  ensure(words.includes(refusal.code) && words.includes(refusal.message), refusal, 'is not', words);
  await page.keyboard.press('Escape');
  await accessible('branches and tags');
  await page.getByRole('button', { name: 'Delete tag v1' }).click();
  await page.locator('dialog[open]').getByRole('button', { name: 'Delete it' }).click();
  await until('the tag is gone', async () => (await api('GET', '/v1/repos/bids/tags')).length === 0);

  // What is not there is said.
  await open('repos/nobody');
  await page.getByRole('alert').getByText('E0510', { exact: true }).waitFor();
  await open('repos/bids/nothing');
  await page.getByRole('alert').getByText('E0511', { exact: true }).waitFor();
});

await look(
  async ({ page, open, shot, accessible }) => {
    await open('repos/bids');
    await page.getByRole('listbox', { name: 'Commits' }).getByRole('option').nth(1).click();
    await page.getByRole('heading', { name: 'Marker', exact: false }).waitFor();
    await shot('repo-dark');
    await accessible('the commits in the dark');
  },
  { scheme: 'dark' },
);
