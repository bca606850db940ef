// What is tried on request: the tests of a spec, and the promises of a plugin, check by check as the command line says them.
import { api, ensure, equal, look, until } from './browser.mjs';

const lines = (text) => text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
const [tests, kept, broken] = [process.env.TESTS, process.env.KEPT, process.env.BROKEN].map(lines);
ensure(tests.length === 3 && tests.some((one) => !one.passed), tests);
ensure(kept.length > 5 && kept.every((one) => one.kept) && broken.some((one) => !one.kept), kept, broken);

await look(async ({ page, open, shot, accessible, text }) => {
  await open('pipelines/bids');
  await page.getByRole('button', { name: 'Run the tests' }).click();
  await page.locator('[data-figure="tests"]').waitFor();
  const passed = tests.filter((one) => one.passed).length;
  equal(await text('[data-figure="tests"]'), `${tests.length - passed} of ${tests.length} tests failed`, 'the verdict');
  for (const one of tests) {
    const shown = await page.locator(`[data-test="${one.test}"]`).innerText();
    ensure(shown.startsWith(one.passed ? 'ok' : 'FAILED'), one, shown);
    for (const { what } of one.problems) ensure(shown.includes(what), what, 'is not in', shown);
  }
  // The rows that differ are there.
  ensure(/^- .*2/m.test(await page.locator('[data-test="prices are doubled"] pre').innerText()), 'the row that is missing');
  await page.locator('section:has(#tests-title)').scrollIntoViewIfNeeded();
  await shot('pipeline-tests');
  await accessible('tests of a spec');
  await open('pipelines/untested');
  await page.getByRole('button', { name: 'Run the tests' }).click();
  await page.getByText('The spec has none.', { exact: false }).waitFor();

  await until('the plugin is kept', async () => (await api('GET', '/v1/plugins')).some(({ name }) => name === 'redact'));
  await open('plugins/redact');
  const form = page.getByRole('region', { name: 'handler redact' });
  await form.getByText('Does it keep its promises?').click();
  const report = async (columns, expected) => {
    await form.getByLabel('columns', { exact: false }).first().fill(columns);
    await form.getByLabel('Rows', { exact: true }).fill(process.env.ROWS);
    await form.getByRole('button', { name: 'Try it' }).click();
    const count = expected.filter((one) => !one.kept).length;
    const words = count > 0 ? `${count} of ${expected.length} promises broken` : `${expected.length} promises kept`;
    await form.getByText(words, { exact: true }).waitFor();
    equal(await form.locator('[data-promise]').count(), expected.length, 'promises');
    const shown = await form.locator('[data-promise]').allInnerTexts();
    for (const [at, one] of expected.entries()) {
      ensure(shown[at].startsWith(one.kept ? 'ok' : 'BROKEN') && shown[at].includes(one.promise) && shown[at].replaceAll(/\s+/g, ' ').includes(one.seen.replaceAll(/\s+/g, ' ')), one, 'is shown as', shown[at]);
    }
  };
  await report('channel', kept);
  await shot('plugin-promises');
  await accessible('promises of a plugin');
  await report('nobody', broken);
  // What the server refuses is said as it says it.
  await form.getByLabel('Rows', { exact: true }).fill('no rows');
  await form.getByRole('button', { name: 'Try it' }).click();
  const alert = form.getByRole('alert');
  await alert.waitFor();
  const asked = { settings: { columns: ['nobody'] }, input: 'no rows', table: 'ndjson' };
  const said = await (await fetch(`${process.env.SPOUT_URL}/v1/plugins/redact/test`, { method: 'POST', body: JSON.stringify(asked) })).json();
  ensure((await alert.innerText()).includes(said.code) && (await alert.innerText()).includes(said.message), said, await alert.innerText());

  // A source has a topic, and none of its messages differs when they are read again.
  await open('plugins/nexmark');
  await page.getByText('Does it keep its promises?').first().click();
  await page.getByRole('button', { name: 'Try it' }).first().click();
  await page.locator('[data-figure="promises"]').first().waitFor();
  ensure((await text('[data-figure="promises"]')).endsWith('promises kept'), await text('[data-figure="promises"]'));
});

await look(
  async ({ page, open, shot, accessible }) => {
    await open('pipelines/bids');
    await page.getByRole('button', { name: 'Run the tests' }).click();
    await page.locator('[data-figure="tests"]').waitFor();
    await accessible('tests in the dark');
    await shot('pipeline-tests-dark');
  },
  { scheme: 'dark' },
);
