/** Who asks: the token, kept for as long as the tab is open, and whether the server is there. */

const KEY = 'spout-token';

class Session {
  token = $state(sessionStorage.getItem(KEY) ?? '');
  /** Why a token is wanted, while it is. */
  wanted = $state('');
  /** Whether the last request reached the server. */
  reached = $state(true);
}

/** The session of this tab. */
export const session = new Session();

let waiting: { promise: Promise<void>; go: () => void } | undefined;

/** Waits for a token. Whoever waits at the same time waits for the same one. */
export async function ask(why: string, signal?: AbortSignal): Promise<void> {
  if (!waiting) {
    let go = () => {};
    const promise = new Promise<void>((then) => (go = then));
    waiting = { promise, go };
  }
  session.wanted = why;
  const gone = new Promise<never>((_, fail) =>
    signal?.addEventListener('abort', () => fail(new DOMException('given up', 'AbortError')), { once: true }),
  );
  await (signal ? Promise.race([waiting.promise, gone]) : waiting.promise);
}

/** Takes a token, and lets those go on who wait for one. */
export function give(token: string): void {
  session.token = token.trim();
  sessionStorage.setItem(KEY, session.token);
  session.wanted = '';
  waiting?.go();
  waiting = undefined;
}

/** Forgets the token, unless there is another one meanwhile. */
export function forget(used: string = session.token): void {
  if (session.token !== used) return;
  session.token = '';
  sessionStorage.removeItem(KEY);
}
