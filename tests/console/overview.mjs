// The overview: what it shows is what the API says, those that fail come first, it goes on by itself, and everybody can use it.
import { api, ensure, equal, look, number, until } from './browser.mjs';

const all = async () => Object.fromEntries((await api('GET', '/v1/pipelines')).map((status) => [status.name, status]));
const figure = (page, pipeline, name) => page.locator(`[data-pipeline="${pipeline}"] [data-figure="${name}"]`);

await look(async ({ page, open, shot, accessible }) => {
  await open('');
  await page.locator('[data-pipeline]').first().waitFor();

  // Failing ones first, with what the server says.
  await until('the failing one is first, with its error', async () => {
    const names = await page.locator('[data-pipeline]').evaluateAll((items) => items.map((item) => item.dataset.pipeline));
    const said = await page.locator('[data-pipeline="broken"]').innerText();
    return names[0] === 'broken' && said.includes('E0411') && said.includes('ratio');
  });
  await until('the head of the page counts it', async () => (await page.locator('.summary').innerText()).includes('1 failing'));

  // Figures of one that runs lie between what the API said before and after.
  for (const name of ['messages', 'rows']) {
    const before = (await all()).bids.counts[name];
    const shown = await until(`${name} go on by themselves`, async () => {
      const now = number((await figure(page, 'bids', name).innerText()).replace(/ .*/, ''));
      return now >= before && now;
    });
    const after = (await all()).bids.counts[name];
    ensure(before <= shown && shown <= after, name, before, shown, after);
  }

  // The graph has what there is, and links to it.
  const graph = await api('GET', '/v1/graph');
  const nodes = graph.nodes.filter((node) => !(node.kind === 'repo' && node.name.startsWith('_')));
  await until('all of it is drawn', async () => (await page.locator('svg .node').count()) === nodes.length);
  equal(await page.locator('svg path.edge').count(), graph.edges.length, 'edges');
  for (const node of nodes) {
    const screen = { pipeline: 'pipelines', repo: 'repos' }[node.kind];
    if (screen) ensure((await page.locator(`svg a[href="#/${screen}/${node.name}"]`).count()) === 1, 'the graph has no link to', node);
  }
  ensure(graph.edges.some((edge) => edge.from === 'bids' && edge.to === 'hot'), 'who follows whom', graph);
  await until('what flows into it is at the edge', async () => /msg\/s/.test(await page.locator('.sheet svg').textContent()));
  await shot('overview');
  await accessible('the overview');

  // By keyboard alone: from the top of the page to a pipeline.
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press('Tab');
  equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  for (let steps = 0; ; steps += 1) {
    ensure(steps < 40, 'no link to hot can be reached by Tab');
    await page.keyboard.press('Tab');
    if ((await page.evaluate(() => document.activeElement.getAttribute('href'))) === '#/pipelines/hot') break;
  }
  await page.keyboard.press('Enter');
  await page.locator('h1', { hasText: 'hot' }).waitFor();
  equal(new URL(page.url()).hash, '#/pipelines/hot');
  await page.goBack();
  await page.locator('h1', { hasText: 'Overview' }).waitFor();

  // A server that is gone is missed, and what it says counts again once it is back.
  await page.context().setOffline(true);
  await page.locator('.lost').waitFor();
  await page.getByText('the server does not answer').first().waitFor();
  await shot('overview-gone');
  await page.context().setOffline(false);
  await page.locator('.lost').waitFor({ state: 'detached' });
  const before = (await all()).bids.counts.messages;
  await until('figures go on', async () => number((await figure(page, 'bids', 'messages').innerText()).replace(/ .*/, '')) > before);
  await until('no failure is shown any more', async () => (await page.locator('[role="alert"]').count()) === 0);
});

await look(
  async ({ page, open, shot, accessible }) => {
    await open('');
    await page.locator('[data-pipeline]').first().waitFor();
    equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
    await until('the failing one is shown', () => page.locator('[data-pipeline="broken"] .error').isVisible());
    await shot('overview-dark');
    await accessible('the overview in the dark');
    await page.locator('header select').selectOption('light');
    equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
  },
  { scheme: 'dark', viewport: { width: 700, height: 900 } },
);
