// Something that is done again and again, for as long as somebody looks at the page.

/** Does `work` now and every `ms`, one at a time, until the function that it gives is called. */
export function every(ms: number, work: (signal: AbortSignal) => Promise<void>): () => void {
  const stop = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const run = async () => {
    if (!document.hidden) await work(stop.signal);
    if (!stop.signal.aborted) timer = setTimeout(() => void run(), ms);
  };
  void run();
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}
