// SQL: cells are what the server sent, to the last digit; completion knows the columns; the slider goes back in time; an answer is drawn
// and exported; what is refused is said.
import fs from 'node:fs';
import { api, ensure, equal, look, sql, until } from './browser.mjs';

const ask = async (query, format, at = []) => {
  const response = await fetch(`${process.env.SPOUT_URL}/v1/sql?format=${format}`, { method: 'POST', body: JSON.stringify({ query, at }) });
  return { ok: response.ok, text: await response.text() };
};

await look(async ({ page, open, shot, accessible, text }) => {
  const grid = page.getByRole('grid', { name: 'Result' });
  const editor = page.locator('.cm-content');
  const cells = (row) => grid.locator(`[aria-rowindex="${row + 2}"] [role="gridcell"]`).allInnerTexts();
  const heads = () => grid.getByRole('columnheader').allInnerTexts();
  const write = async (statement) => {
    await editor.click();
    await page.keyboard.press('Control+a');
    await page.keyboard.insertText(statement);
  };
  const run = async (statement) => {
    await write(statement);
    await page.keyboard.press('Control+Enter');
  };
  const counted = (rows) => until(`${rows} rows are there`, async () => (await text('[data-figure="rows"]')) === rows.toLocaleString('en-US'));

  await open('sql');
  await editor.waitFor();

  // Numbers are not altered, nulls are no texts, and columns are there whatever rows leave out.
  const odd = "select 9007199254740993 as big, arrow_cast(18446744073709551615, 'UInt64') as most, cast(1.10 as decimal(38, 2)) as price, null as none, 'null' as word, [9007199254740993] as list, cast('170141183460469231731.68730371588410573' as decimal(38, 17)) as wide";
  await run(odd);
  await counted(1);
  equal(await heads(), ['big', 'most', 'price', 'none', 'word', 'list', 'wide'], 'the columns');
  const sent = (await ask(odd, 'ndjson')).text;
  const shown = await cells(0);
  equal(shown.slice(0, 3), ['9007199254740993', '18446744073709551615', '1.10'], 'the numbers');
  for (const cell of [shown[0], shown[1], shown[2], shown[5], shown[6]]) ensure(sent.includes(`:${cell}`), cell, 'is not in', sent);
  equal([shown[3], shown[4]], ['null', 'null'], 'a null and a word');
  const [none, word] = [grid.locator('[aria-colindex="4"][role="gridcell"]'), grid.locator('[aria-colindex="5"][role="gridcell"]')];
  ensure((await none.getAttribute('class')).includes('null') && !(await word.getAttribute('class')).includes('null'), 'a null looks like a text');

  // The completion knows repos and columns.
  await write('select auc');
  await page.locator('.cm-tooltip-autocomplete').getByText('auction').first().waitFor();
  await page.keyboard.press('Escape');
  await write('');
  await page.keyboard.type('select * from bi');
  await page.locator('.cm-tooltip-autocomplete').getByText('bids').first().waitFor();
  await page.keyboard.press('Escape');

  // Rows are those of the same commit.
  const head = await until('there are two commits', async () => {
    const newest = await api('GET', '/v1/repos/bids/commits/master');
    return newest.number > 1 && newest;
  });
  const top = `select auction, count(*) as n, max(price) as most from "bids@${head.id}" group by 1 order by 2 desc, 1 limit 20`;
  await run(top);
  await counted(20);
  const rows = await sql(top);
  for (const [index, row] of rows.slice(0, 10).entries()) equal(await cells(index), Object.values(row).map(String), `row ${index}`);
  await shot('sql');
  await accessible('a result');
  equal(new URLSearchParams(page.url().split('?')[1]).get('q'), top, 'the address');

  // By keyboard: a cell, and a row whole.
  await grid.focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  const active = await grid.getAttribute('aria-activedescendant');
  equal(await page.locator(`[id="${active}"]`).innerText(), String(rows[1].n), 'the active cell');
  await page.keyboard.press('Enter');
  await page.locator('dialog[open]').getByText(String(rows[1].most), { exact: true }).first().waitFor();
  await page.keyboard.press('Escape');

  // It is drawn, and exported as the server writes it.
  await page.getByRole('button', { name: 'Chart' }).click();
  await page.getByRole('img', { name: 'Chart of n by auction, 20 points' }).waitFor();
  await page.locator('canvas').waitFor();
  await page.getByRole('combobox', { name: 'As' }).selectOption('bars');
  await page.getByLabel('most', { exact: true }).check();
  await page.getByRole('img', { name: 'Chart of n, most by auction' }).waitFor();
  await shot('sql-chart');
  await accessible('a chart');
  await page.getByRole('button', { name: 'Rows', exact: true }).click();
  for (const format of ['csv', 'ndjson']) {
    const waiting = page.waitForEvent('download');
    await page.getByRole('combobox', { name: 'Export' }).selectOption(format);
    const download = await waiting;
    equal([download.suggestedFilename(), fs.readFileSync(await download.path(), 'utf8')], [`answer.${format}`, (await ask(top, format)).text], format);
  }

  // Back in time, by the slider.
  const count = 'select count(*) as n, sum(price) as all from bids';
  await run(count);
  await counted(1);
  const slider = page.getByRole('slider');
  await slider.focus();
  await page.keyboard.press('Home');
  const pinned = await until('the first commit is in the address', () => (new URLSearchParams(page.url().split('?')[1]).get('at') ?? '').split('@')[1]);
  const then = await api('GET', `/v1/repos/bids/commits/${pinned}`);
  equal(then.number, 1, 'its number');
  const was = JSON.parse((await ask(count, 'ndjson', [`bids@${pinned}`])).text);
  await until('the rows are those of then', async () => JSON.stringify(await cells(0)) === JSON.stringify([String(was.n), String(was.all)]));
  equal(was.n, then.rows, 'rows of then');
  await page.keyboard.press('ArrowRight');
  await until('the next commit', async () => JSON.stringify(await cells(0)) !== JSON.stringify([String(was.n), String(was.all)]));
  const second = new URLSearchParams(page.url().split('?')[1]).get('at').split('@')[1];
  const next = JSON.parse((await ask(count, 'ndjson', [`bids@${second}`])).text);
  await until('the rows are those of that', async () => (await cells(0))[0] === String(next.n));
  await shot('sql-travel');
  await page.getByRole('button', { name: 'Back to now' }).click();
  await until('the head again', () => !page.url().includes('at='));

  // More than is wanted is not read, and that is said.
  await page.getByRole('combobox', { name: 'Rows at most' }).selectOption('1000');
  await run('select a.price from bids as a join bids as b on a.auction = b.auction');
  await counted(1000);
  await page.getByText('the rest was not read', { exact: false }).waitFor();
  const drawn = await grid.getByRole('row').count();
  ensure(drawn < 80, `${drawn} rows are drawn of a thousand`);
  await grid.focus();
  await page.keyboard.press('Control+End');
  await grid.locator('[aria-rowindex="1001"]').waitFor();

  // A refusal is said as the server says it.
  const wrong = 'select nothing from bids';
  await run(wrong);
  const refusal = JSON.parse((await ask(wrong, 'ndjson')).text);
  const alert = page.getByRole('alert');
  await alert.waitFor();
  const flat = (words) => words.replaceAll(/\s+/g, ' ');
  const words = flat(await alert.innerText());
  for (const part of [refusal.code, refusal.message, ...refusal.causes]) ensure(words.includes(flat(part)), part, 'is not in', words);
  await shot('sql-refused');
  await accessible('a refused statement');
});

// An address that somebody shared shows the same, at the commits that it names.
await look(
  async ({ page, open, accessible, shot, text }) => {
    const [first] = await api('GET', '/v1/repos/bids/commits?at=master~1&limit=1');
    const cell = page.getByRole('grid', { name: 'Result' }).locator('[aria-rowindex="2"] [role="gridcell"]');
    const [{ n }] = await sql(`select count(*) as n from "bids@${first.id}"`);
    await open(`sql?q=${encodeURIComponent('select count(*) as n from bids')}&at=bids@${first.id}`);
    await until('the rows are those of that commit', async () => (await cell.first().innerText()) === String(n));
    await page.getByText(first.id.slice(0, 8)).waitFor();
    ensure(page.url().includes(first.id), 'the address goes on to name it', page.url());
    await page.goto('about:blank');
    await open(`sql?repo=bids&at=${first.id}`);
    await until('a link from its repo', () => page.url().includes(`bids%40${first.id}`) || page.url().includes(`bids@${first.id}`));
    await page.goto('about:blank');
    await open(`sql?q=${encodeURIComponent('select 1 as one union all select 2 order by 1')}`);
    await until('both rows', async () => (await text('[data-figure="rows"]')) === '2');
    await page.locator('.cm-content').waitFor();
    await shot('sql-dark');
    await accessible('a statement in the dark');
  },
  { scheme: 'dark' },
);
