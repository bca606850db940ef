// A server that asks for tokens: the page asks for one, keeps it in its tab alone, and says what it does not allow.
import { ensure, equal, look, until } from './browser.mjs';

const { READER, RUNNER } = process.env;

await look(async ({ page, open, shot, accessible }) => {
  const dialog = page.locator('dialog[open]', { hasText: 'asks for a token' });
  const give = async (token) => {
    await dialog.getByLabel('Token').fill(token);
    await page.keyboard.press('Enter');
  };
  await open('');
  await dialog.waitFor();
  await shot('token');
  await accessible('the question for a token');
  // It cannot be closed, since there is nothing behind it.
  await page.keyboard.press('Escape');
  ensure(await dialog.isVisible(), 'it is still asked for');
  await give('spout_0_0');
  await until('a wrong one is refused, as the server says it', async () => (await dialog.isVisible()) && (await dialog.innerText()).includes('token') && (await dialog.getByLabel('Token').inputValue()) === '');
  await give(READER);
  await page.locator('[data-pipeline="bids"]').waitFor();
  const kept = await page.evaluate(() => ({ session: { ...sessionStorage }, local: JSON.stringify({ ...localStorage }), cookie: document.cookie }));
  equal(kept.session['spout-token'], READER);
  ensure(!kept.local.includes(READER) && kept.cookie === '', 'it is kept elsewhere, too', kept);
  ensure(!page.url().includes(READER) && !(await page.content()).includes(READER), 'the page has it in its address or text');

  // Events come with the token: figures go on.
  const messages = page.locator('[data-pipeline="bids"] [data-figure="messages"]');
  const before = await messages.innerText();
  await until('figures go on', async () => (await messages.innerText()) !== before);

  // It may read, and nothing else.
  await open('pipelines/bids');
  await page.getByRole('button', { name: 'Flush', exact: true }).click();
  await page.locator('.toast.error', { hasText: 'E0902' }).waitFor();
  const said = await page.locator('.toast.error').innerText();
  ensure(said.includes('run:bids') && said.includes('spout explain E0902'), said);
  await shot('token-refused');
  await accessible('a message of a refusal');
  await page.getByRole('button', { name: /^Close: / }).click();
  await page.locator('.toast').waitFor({ state: 'detached' });

  // Another one is taken after the first is forgotten.
  await page.getByRole('button', { name: 'Forget token' }).click();
  await dialog.waitFor();
  await give(RUNNER);
  await page.getByRole('button', { name: 'Flush', exact: true }).click();
  await page.locator('.toast.done').waitFor();
});
