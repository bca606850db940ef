// How long somebody who clicks or types has to wait for the page, and what the page works and holds meanwhile.

/** What measures `page`; its times are those of the page's own thread, so that others on the machine do not count. */
export async function waits(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const metrics = async () => Object.fromEntries((await devtools.send('Performance.getMetrics')).metrics.map((one) => [one.name, one.value]));

  /** Waits while `act` goes on, in milliseconds; seconds that it took and that the page worked; megabytes that the page holds, what is left over collected first if `collect`. */
  return async (act, collect = false) => {
    await page.evaluate(() => {
      window.waits = [];
      let last = performance.now();
      const turn = () => {
        const now = performance.now();
        window.waits.push(now - last - 10);
        last = now;
        window.turning = setTimeout(turn, 10);
      };
      turn();
    });
    const [before, begun] = [await metrics(), Date.now()];
    await act();
    const [after, seconds] = [await metrics(), (Date.now() - begun) / 1000];
    const all = await page.evaluate(() => (clearTimeout(window.turning), window.waits.sort((one, other) => one - other)));
    if (collect) await devtools.send('HeapProfiler.collectGarbage');
    const at = (share) => Math.round(all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? 0);
    const took = (name) => after[name] - before[name];
    return {
      seconds, worked: took('TaskDuration'), script: took('ScriptDuration'), layout: took('LayoutDuration'), style: took('RecalcStyleDuration'),
      wait_p50_ms: at(0.5), wait_p99_ms: at(0.99), wait_most_ms: at(1), heap_mb: Math.round((await metrics()).JSHeapUsedSize / 1e6),
    };
  };
}
