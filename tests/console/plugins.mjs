// Plugins: what the store keeps and who uses it, a form of what a plugin says that it takes, and what becomes of one that is put.
import { api, ensure, equal, look, number, until } from './browser.mjs';

await look(async ({ page, open, shot, accessible, text }) => {
  const kept = await until('the plugins are kept', async () => {
    const all = await api('GET', '/v1/plugins');
    return ['files', 'nexmark', 'redact'].every((name) => all.some((one) => one.name === name)) && all;
  });
  await open('plugins');
  for (const { name, versions } of kept) await until(`${name} is listed`, async () => number(await text(`[data-figure="versions of ${name}"]`)) === versions.length);
  const line = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'nexmark', exact: true }) });
  await line.getByRole('link', { name: 'bids' }).waitFor();
  await shot('plugins');
  await accessible('the plugins');

  // What it says of itself, as a form, and the piece of a spec that comes of it.
  await page.getByRole('link', { name: 'files', exact: true }).click();
  const about = await api('GET', '/v1/plugins/files/about');
  const form = page.getByRole('region', { name: 'partition-consumer, stream-consumer files' });
  await form.waitFor();
  const offer = about.offers.find((one) => one.interface === 'stream-consumer');
  const fields = await form.locator('form .name').allInnerTexts();
  equal(fields.map((name) => name.replace(' (required)', '')).sort(), Object.keys(offer.settings.properties).sort(), 'the settings');
  const piece = form.locator('[data-figure="fragment"]');
  ensure((await piece.innerText()).includes('grants:\n  files:\n    dirs: {TOPIC: ./DIRECTORY}'), 'the grants it asks for');
  await form.getByLabel('pattern', { exact: true }).fill('*.csv');
  await form.getByLabel('framing', { exact: true }).selectOption('csv');
  await form.getByLabel('maxLine', { exact: true }).fill('1.5');
  await form.getByText('`maxLine` must be a whole number.', { exact: false }).first().waitFor();
  await form.getByLabel('maxLine', { exact: true }).fill('4096');
  ensure((await piece.innerText()).includes('settings: {framing: csv, maxLine: 4096, pattern: "*.csv"}'), await piece.innerText());
  const use = page.getByRole('region', { name: 'Who uses it' });
  await use.getByRole('link', { name: 'pushes' }).waitFor();
  const status = await api('GET', '/v1/pipelines/pushes');
  ensure((await text('[aria-label="Versions"]')).includes(status.plugins.files.slice(0, 19)), 'its digest');
  // Where the server says what plugins take, the page says it, too.
  if (status.plugin_use?.files) await use.getByText('of 64.0 MiB', { exact: false }).or(use.getByText('Memory')).first().waitFor();
  if ((await fetch(`${process.env.SPOUT_URL}/v1/pipelines/pushes/spec`)).ok) await use.getByText('grants:', { exact: false }).first().waitFor();
  await shot('plugin');
  await accessible('a plugin');

  // One that is put is kept; what is no plugin is refused, in the words of the server.
  await open('plugins');
  const dialog = page.locator('dialog[open]');
  const put = async (file) => {
    await page.getByRole('button', { name: 'Put a plugin' }).click();
    await dialog.getByLabel('Its component').setInputFiles(file);
    await dialog.getByLabel('Name').fill('mine');
    await dialog.getByRole('button', { name: 'Put it' }).click();
  };
  await put({ name: 'mine.wasm', mimeType: 'application/wasm', buffer: Buffer.from('no plugin') });
  const refusal = await (await fetch(`${process.env.SPOUT_URL}/v1/plugins/mine`, { method: 'PUT', body: 'no plugin' })).json();
  await dialog.getByRole('alert').waitFor();
  const words = await dialog.getByRole('alert').innerText();
  ensure(words.includes(refusal.code) && words.includes(refusal.message), refusal, 'is not', words);
  await shot('plugin-refused');
  await page.keyboard.press('Escape');
  await put(process.env.PLUGIN);
  await page.getByRole('heading', { name: 'mine', exact: true }).waitFor();
  const mine = await api('GET', '/v1/plugins/mine');
  await until('its digest is shown', async () => (await text('[aria-label="Versions"]')).includes(mine.newest.slice(0, 19)));
  await page.getByRole('region', { name: 'handler redact' }).waitFor();

  // Deleted; one that a pipeline uses is not.
  await page.getByRole('button', { name: 'Delete all' }).click();
  await dialog.getByRole('button', { name: 'Delete them' }).click();
  await until('it is gone', async () => !(await api('GET', '/v1/plugins')).some(({ name }) => name === 'mine'));
  await page.getByRole('heading', { name: 'Plugins', exact: true }).waitFor();
  await open('plugins/nobody');
  await page.getByText('The store keeps no version of nobody').waitFor();
});

await look(
  async ({ page, open, shot, accessible }) => {
    await open('plugins/redact');
    await page.getByRole('region', { name: 'handler redact' }).waitFor();
    await shot('plugin-dark');
    await accessible('a plugin in the dark');
  },
  { scheme: 'dark' },
);
