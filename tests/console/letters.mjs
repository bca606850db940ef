// Dead letters: groups are those of SQL, bytes are those that arrived, new ones are announced, and replaying is explained.
import fs from 'node:fs';
import { api, ensure, equal, look, number, sql, until } from './browser.mjs';

const grouped = (at) => sql(`select stage, code, holds, count(*) as letters from "pushes@${at}:/dead-letter" group by 1, 2, 3 order by letters desc, stage, code, holds`);

await look(async ({ page, open, shot, accessible, text }) => {
  const figure = async (name) => number(await text(`[data-figure="${name}"]`));

  await open('deadletters');
  const [{ n }] = await until('letters are there', () => sql('select count(*) as n from pushes_dead_letter').catch(() => undefined));
  await until('the repo has them', async () => (await figure('letters of pushes')) === n);
  equal(await page.locator('tbody tr').count(), 1, 'repos with letters');
  await accessible('the repos with letters');

  await page.getByRole('link', { name: 'pushes' }).click();
  await page.getByRole('button', { name: 'json.type' }).waitFor();
  const groups = await grouped('master');
  equal(await figure('letters'), n, 'all letters');
  for (const group of groups) equal(await figure(`letters ${group.stage} ${group.code}`), group.letters, group.code);

  // One of them, whole.
  await page.getByRole('button', { name: 'json.syntax' }).click();
  await page.locator('.letter').first().click();
  const [letter] = await sql("select * from pushes_dead_letter where code = 'json.syntax' order by \"offset\" limit 1");
  await until('its reason is there', async () => (await text('[data-figure="reason"]')) === letter.reason);
  equal(await text('[data-figure="text"]'), Buffer.from(letter.value, 'hex').toString(), 'its text');
  const digits = await page.getByRole('region', { name: 'Bytes of the message' }).locator('.digits').allInnerTexts();
  equal(digits.join('').replaceAll(/\s/g, ''), letter.value, 'its bytes');
  const byte = Number(/at byte (\d+)/.exec(letter.reason)[1]);
  equal(await page.locator('.digits .wrong').allInnerTexts(), [letter.value.slice(byte * 2, byte * 2 + 2)], 'the byte that was wrong');
  const waiting = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download' }).click();
  equal(fs.readFileSync(await (await waiting).path()).toString('hex'), letter.value, 'the download');
  await shot('deadletters');
  await accessible('a letter');
  ensure((await text('[aria-label="Replay"]')).includes('spout deadletter replay pushes.yaml'), 'how they are replayed');

  // The address leads to the letter.
  const address = page.url().split('#/')[1];
  await open('deadletters');
  await page.getByRole('link', { name: 'pushes' }).waitFor();
  await open(address);
  await until('it is the same letter', async () => (await text('[data-figure="reason"]')) === letter.reason);

  // More are announced, and shown when they are wanted.
  fs.appendFileSync(process.env.EVENTS, '{"id":"y"}\n{worse\n');
  await page.getByText('2 more were set aside').waitFor();
  await page.getByRole('button', { name: 'Show them' }).click();
  await until('they are counted', async () => (await figure('letters')) === n + 2);
  const after = await grouped('master');
  for (const group of after) equal(await figure(`letters ${group.stage} ${group.code}`), group.letters, group.code);

  // Where the server can replay them, it does: each goes through the spec once more, and is set aside once more.
  const { paths } = await api('GET', '/openapi.json');
  if (paths['/v1/pipelines/{name}/deadletters/replay']) {
    await page.getByRole('button', { name: 'Replay the letters of pushes' }).click();
    await page.locator('dialog[open]').getByRole('button', { name: 'Replay them' }).click();
    await page.getByRole('heading', { name: 'pushes-replayed' }).waitFor();
    await until('all are read', async () => (await api('GET', '/v1/pipelines/pushes-replayed')).counts.messages === n + 2);
  }

  // A repo without any, and one that is not there.
  await open('deadletters/bids');
  await page.getByText('Nothing was set aside in bids').waitFor();
  await open('deadletters/nobody');
  await page.getByRole('alert').getByText('E0510', { exact: true }).waitFor();
  await accessible('a repo that is not there');
  equal((await api('GET', '/v1/repos')).some(({ name }) => name === 'nobody'), false);
});

await look(
  async ({ page, open, shot, accessible }) => {
    await open('deadletters/pushes?stage=decode&code=json.type&holds=message');
    await page.locator('.letter').first().click();
    await page.getByRole('heading', { name: 'The message as it arrived' }).waitFor();
    await shot('deadletters-dark');
    await accessible('a letter in the dark');
  },
  { scheme: 'dark' },
);
