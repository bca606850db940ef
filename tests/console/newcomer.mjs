// What the first tutorial has its reader do in the console: find the rows, and mend a broken spec with what the page says. Times are printed.
import { ensure, equal, look, sql, until } from './browser.mjs';

const AGAIN = process.env.AGAIN;
const times = {};
let begun = performance.now();
const lap = (name) => {
  times[name] = `${Math.round(performance.now() - begun)} ms`;
  begun = performance.now();
};

await look(async ({ page, open, shot, accessible, text }) => {
  await open('');
  await page.getByRole('link', { name: 'Repos', exact: true }).click();
  await page.getByRole('link', { name: 'pushes', exact: true }).first().click();
  await page.getByRole('listbox', { name: 'Commits' }).getByRole('option').nth(1).waitFor();
  lap('the commits of the first pipeline are in the console');
  await page.getByRole('link', { name: 'SQL', exact: true }).click();
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+a');
  await page.keyboard.insertText('select id, who from pushes order by id');
  await page.keyboard.press('Control+Enter');
  const rows = await sql('select id, who from pushes order by id');
  const grid = page.getByRole('grid', { name: 'Result' });
  for (const { who } of rows) await grid.getByText(who, { exact: true }).waitFor();
  equal(rows.map(({ who }) => who), ['ann', 'cid', 'dee'], 'the rows');
  lap('and its rows');
  await page.getByRole('link', { name: 'Dead letters', exact: true }).click();
  await page.getByRole('link', { name: 'pushes', exact: true }).click();
  await page.getByRole('button', { name: 'json.syntax' }).waitFor();
  lap('and the line that is no JSON');

  // A spec that is refused: code, file, line, and what is meant; the line is marked.
  await page.getByRole('link', { name: 'Overview', exact: true }).click();
  await page.getByRole('link', { name: 'New pipeline' }).click();
  const written = page.getByLabel('Text of the new spec');
  await written.fill(AGAIN);
  await accessible('a new spec');
  await page.getByRole('button', { name: 'Create it' }).click();
  const alert = page.getByRole('alert');
  await alert.waitFor();
  const said = await alert.innerText();
  for (const part of ['E0104', 'new.yaml:4', 'jsn', 'did you mean `json`?', 'spout explain E0104']) ensure(said.includes(part), part, 'is not in', said);
  equal(await page.locator('.numbers .marked').innerText(), '4', 'the marked line');
  const [number, numbers, area] = await Promise.all(['.numbers .marked', '.numbers', '.spec textarea'].map((one) => page.locator(one).boundingBox()));
  ensure(numbers.height >= area.height - 2 && number.y > numbers.y && number.y + number.height < numbers.y + numbers.height, 'it is in sight', number, numbers, area);
  await shot('spec-refused');
  await accessible('a spec that is refused');
  lap('a spec is refused');
  await written.fill(AGAIN.replace('jsn', 'json'));
  await page.getByRole('button', { name: 'Create it' }).click();

  // One that fails as it starts: the handler, the column, and its line.
  const trouble = page.locator('[data-error="E0401"]');
  await trouble.waitFor();
  for (const part of ['knd', "Did you mean 'kind'?"]) ensure((await trouble.innerText()).includes(part), part, await trouble.innerText());
  await until('its line is marked', async () => (await page.locator('tr.marked').innerText()).includes("knd = 'push'"));
  ensure((await text('#spec-title')).endsWith('again.yaml:6'), await text('#spec-title'));
  await shot('spec-failing');
  lap('it fails where a column is not there');
  await page.getByRole('link', { name: 'Edit it' }).click();
  const spec = page.getByLabel('Text of the spec of again');
  await spec.waitFor();
  await shot('spec-edit');
  await spec.fill((await spec.inputValue()).replace('knd', 'kind'));
  await page.getByRole('button', { name: 'Change it' }).click();
  await until('the rows are there', async () => (await sql('select count(*) as n from again'))[0].n === rows.length);
  await until('the page says so', async () => ['running', 'idle'].includes(await text('h1 + .pill')));
  await until('nothing is wrong any more', async () => (await page.locator('[data-error]').count()) === 0);
  lap('mended, its rows are there');
});
console.log(JSON.stringify(times, undefined, 2));
