/** For what moves as fast as a key that is held: what comes after a rest is done at once, and of all that follows faster only the last. */

/** How long it has to rest, in milliseconds. */
const REST = 120;

/** Does `work` of what was given last; `stop` forgets it. */
export class Resting {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last = -Infinity;

  do(work: () => void): void {
    this.stop();
    const now = performance.now();
    const rested = now - this.#last >= REST;
    this.#last = now;
    if (rested) work();
    else this.#timer = setTimeout(work, REST);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
