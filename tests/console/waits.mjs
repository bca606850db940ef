// How long somebody who clicks or types has to wait for the page, and what the page works and holds meanwhile. `wait` is how late a timer
// of the page runs, whatever it works at; `react` is the time from a key or click to the picture that answers it, as the browser measures it.

/** What measures `page`; its times are those of the page's own thread, so that others on the machine do not count. */
export async function waits(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const metrics = async () => Object.fromEntries((await devtools.send('Performance.getMetrics')).metrics.map((one) => [one.name, one.value]));

  /** Waits while `act` goes on, in milliseconds; seconds that it took and that the page worked; megabytes that the page holds, what is left over collected first if `collect`. */
  return async (act, collect = false) => {
    await page.evaluate(() => {
      window.waits = [];
      window.reacted = [];
      // What takes less than 16 ms is not told of.
      const tell = (list) => window.reacted.push(...list.getEntries().filter((one) => one.interactionId).map((one) => one.duration));
      window.watching = new PerformanceObserver(tell);
      window.watching.observe({ type: 'event', durationThreshold: 16 });
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
    const [all, reacted] = await page.evaluate(async () => {
      clearTimeout(window.turning);
      // What the last key has led to is told of after the frame that shows it.
      for (let frame = 0; frame < 3; frame += 1) await new Promise((then) => requestAnimationFrame(() => setTimeout(then)));
      const late = window.watching.takeRecords().filter((one) => one.interactionId).map((one) => one.duration);
      window.watching.disconnect();
      return [window.waits.sort((one, other) => one - other), [...window.reacted, ...late]];
    });
    if (collect) await devtools.send('HeapProfiler.collectGarbage');
    const at = (share) => Math.round(all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? 0);
    const took = (name) => after[name] - before[name];
    return {
      seconds, worked: took('TaskDuration'), script: took('ScriptDuration'), layout: took('LayoutDuration'), style: took('RecalcStyleDuration'),
      wait_p50_ms: at(0.5), wait_p99_ms: at(0.99), wait_most_ms: at(1), react_most_ms: Math.max(16, ...reacted), heap_mb: Math.round((await metrics()).JSHeapUsedSize / 1e6),
    };
  };
}

/** Holds a key down: each press after the picture that answers the one before, as a keyboard repeats it no faster than pictures come. */
export async function hold(page, key, times) {
  for (let press = 0; press < times; press += 1) {
    await page.keyboard.press(key);
    await page.evaluate(() => new Promise((then) => requestAnimationFrame(() => setTimeout(then))));
  }
}
