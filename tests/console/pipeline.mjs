// A pipeline: its figures are those of the API and of SQL, they go on by themselves, it can be paused, resumed, flushed, moved and
// started again, and what the server refuses is said as it says it.
import { api, ensure, equal, look, number, sql, until } from './browser.mjs';

const status = () => api('GET', '/v1/pipelines/bids');
const log = (name) => api('GET', `/v1/repos/${name}/commits?limit=5`);

await look(async ({ page, open, shot, accessible, text }) => {
  const figure = async (name) => number(await page.locator(`[data-figure="${name}"]`).first().innerText());
  const button = (name) => page.getByRole('button', { name, exact: true });
  const confirm = async (name) => {
    await page.locator('dialog[open]').getByRole('button', { name, exact: true }).click();
    await page.locator('dialog[open]').waitFor({ state: 'hidden' });
  };
  await open('pipelines/bids');
  await page.locator('h1', { hasText: 'bids' }).waitFor();

  // Live: each figure lies between what the API said before and after it came on.
  for (const [name, of] of [['messages', (said) => said.counts.messages], ['rows', (said) => said.counts.rows], ['commits', (said) => said.commits],
    ['filtered.bids', (said) => said.counts.filtered.bids], ['committed.0', (said) => said.partitions[0].committed]]) {
    const before = of(await status());
    const shown = await until(`${name} goes on by itself`, async () => {
      const now = await figure(name);
      return now > before && now;
    });
    const after = of(await status());
    ensure(before < shown && shown <= after, name, before, shown, after);
  }
  await page.locator('.lines').getByText('committed').first().waitFor();
  await until('the newest commit of the API is on the page', async () => {
    const [newest] = await log('bids');
    return page.locator(`[data-commit="${newest.id}"]`).isVisible();
  });
  await until('the spec is there, with its lines', async () => (await text('section:has(#spec-title)')).includes('decoder'));
  await shot('pipeline');
  await accessible('a pipeline');

  // Flush: one more commit, for that reason.
  await button('Flush').click();
  await until('a commit was asked for', async () => (await log('bids')).some((commit) => /ask|force/.test(commit.reason)));

  // Pause, with a confirmation that can be refused.
  await button('Pause …').click();
  await page.keyboard.press('Escape');
  await page.locator('dialog[open]').waitFor({ state: 'hidden' });
  equal((await status()).state, 'running', 'after Escape it');
  await button('Pause …').click();
  await shot('pipeline-confirm');
  await accessible('a confirmation');
  await confirm('Pause');
  await until('it is paused', async () => (await status()).state === 'stopped');
  await button('Resume').waitFor();
  // What the page has seen may be a moment older than what was asked here.
  await until('the page says so', async () => (await text('h1 + .pill')) === 'paused');

  // At rest everything is exactly what the API and SQL say.
  const rest = await status();
  await until('the figures at rest are those of the API', async () => {
    equal(await figure('messages'), rest.counts.messages, 'messages');
    equal(await figure('rows'), rest.counts.rows, 'rows');
    equal(await figure('filtered.bids'), rest.counts.filtered.bids, 'filtered');
    equal(await figure('dead_letters'), rest.counts.dead_letters, 'dead letters');
    equal(await figure('commits'), rest.commits, 'commits');
    for (const one of rest.partitions) equal(await figure(`committed.${one.partition}`), one.committed, `partition ${one.partition}`);
    for (const one of rest.handlers ?? []) {
      for (const key of ['rows_in', 'rows_out']) {
        const shown = number(await page.locator(`[data-handler="${one.id}"] [data-figure="${key}"]`).innerText());
        equal(shown, one[key], `${one.id} ${key}`);
      }
    }
    return true;
  });
  const [{ n }] = await sql("select sum(rows) as n from commits('bids')");
  const [{ all }] = await sql('select count(*) as all from bids');
  equal(Number(n), all, 'rows of the commits and of the repo:');
  if (process.env.FRESH) equal(await figure('rows'), all, 'rows on the page, and in the repo:');

  // Seek to an offset, then resume: the first partition goes on there.
  await button('Seek …').click();
  await page.locator('dialog[open]').getByLabel('An offset', { exact: false }).first().check();
  await page.locator('dialog[open]').getByLabel('Offset', { exact: true }).fill('7');
  await page.locator('dialog[open]').getByLabel('Only these partitions', { exact: false }).fill('0');
  await page.locator('dialog[open]').getByLabel('Why', { exact: false }).fill('a test');
  await confirm('Seek');
  const marker = await api('GET', '/v1/repos/bids/marker?at=master');
  ensure(JSON.stringify(marker).includes('"offset":7'), 'the marker after a seek', marker);

  await button('Resume').click();
  await until('it runs again', async () => (await status()).state === 'running');
  await button('Restart …').click();
  const since = (await status()).since_ms;
  await confirm('Restart');
  await until('it was started again', async () => {
    const now = await status();
    return now.state === 'running' && now.since_ms > since;
  });

  // What the server refuses is said as it says it: code, what, where. This one is not the store's.
  await open('pipelines/hot');
  await page.locator('h1', { hasText: 'hot' }).waitFor();
  await button('Pause …').click();
  await page.locator('dialog[open]').getByRole('button', { name: 'Pause', exact: true }).click();
  const refused = page.locator('dialog[open] [role="alert"]');
  await refused.waitFor();
  const said = await (await fetch(`${process.env.SPOUT_URL}/v1/pipelines/hot/stop`, { method: 'POST' })).json();
  for (const part of [said.code, said.message, said.advice]) ensure((await refused.innerText()).includes(part), part, 'is not in', await refused.innerText());
  ensure(said.message.includes('a file that the server was given') && !said.message.includes('there is no pipeline'), said.message);
  await shot('pipeline-refused');
  await accessible('a refusal');
  await page.keyboard.press('Escape');

  // One that fails, and one that is not there.
  await open('pipelines/broken');
  await page.locator('[data-error="E0411"]').waitFor();
  ensure((await text('[data-error="E0411"]')).includes('Divide by zero'), await text('[data-error="E0411"]'));
  await shot('pipeline-failing');
  await accessible('a failing pipeline');
  await open('pipelines/nobody');
  await page.getByText('E0910', { exact: true }).waitFor();
});

await look(
  async ({ page, open, shot, accessible }) => {
    await open('pipelines/bids');
    await page.locator('h1', { hasText: 'bids' }).waitFor();
    await page.locator('.lines').getByText('committed').first().waitFor();
    await shot('pipeline-dark');
    await accessible('a pipeline in the dark');
  },
  { scheme: 'dark' },
);
