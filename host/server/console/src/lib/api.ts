/** Requests to the server, as any client makes them. Nothing else in the console speaks to it. */
import { ask, forget, session } from './session.svelte';

/** What the server says about what it has not done. */
export interface Problem {
  code: string;
  kind: string;
  message: string;
  causes?: string[];
  advice?: string;
}

/** A request that the server has refused, or that did not reach it. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.message);
    this.name = 'Refused';
  }
}

/** What a failure comes down to, whatever was thrown. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  const message = error instanceof Error ? error.message : String(error);
  return { code: '', kind: 'internal', message };
}

/** Whether somebody has given a request up, which is no failure. */
export function isAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

/** JSON whose integers are exact: those beyond 2^53 are `bigint`. */
export function parse(text: string): any {
  // Looking at each value is slow, and few texts have a number that is so long.
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  const exact = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && context?.source && /^-?\d+$/.test(context.source)
      ? BigInt(context.source)
      : value;
  return JSON.parse(text, exact as (key: string, value: unknown) => unknown);
}

async function refusal(response: Response): Promise<Refused> {
  const text = await response.text();
  try {
    const said = JSON.parse(text);
    if (typeof said?.message === 'string') return new Refused(response.status, { causes: [], ...said });
  } catch {
    // It is no problem of ours, so that its text has to do.
  }
  const message = text.trim().slice(0, 500) || `the server answered with status ${response.status}`;
  return new Refused(response.status, { code: '', kind: 'internal', message });
}

/** The answer to a request. A server that wants a token gets one, which is asked for. */
export async function raw(path: string, init: RequestInit = {}): Promise<Response> {
  for (;;) {
    const used = session.token;
    const headers = new Headers(init.headers);
    if (used) headers.set('Authorization', `Bearer ${used}`);
    let response: Response;
    try {
      response = await fetch(path, { ...init, headers, cache: 'no-store', redirect: 'error' });
    } catch (error) {
      if (isAborted(error)) throw error;
      session.reached = false;
      throw new Refused(0, {
        code: '',
        kind: 'unavailable',
        message: 'the server does not answer; it may have stopped, or the connection is gone',
      });
    }
    session.reached = true;
    if (response.ok) return response;
    const refused = await refusal(response);
    if (response.status !== 401) throw refused;
    forget(used);
    await ask(refused.problem.message, init.signal ?? undefined);
  }
}

async function json<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    const plain = body instanceof Blob || body instanceof ArrayBuffer || typeof body === 'string';
    init.body = plain ? (body as BodyInit) : JSON.stringify(body);
    if (!plain) init.headers = { 'Content-Type': 'application/json' };
  }
  const text = await (await raw(path, init)).text();
  return (text === '' ? undefined : parse(text)) as T;
}

/** What a route says. */
export const get = <T>(path: string, signal?: AbortSignal) => json<T>('GET', path, undefined, signal);
/** Has a route do something, with JSON or with bytes. */
export const post = <T>(path: string, body?: unknown, signal?: AbortSignal) => json<T>('POST', path, body, signal);
/** Puts JSON or bytes. */
export const put = <T>(path: string, body?: unknown, signal?: AbortSignal) => json<T>('PUT', path, body, signal);
/** Removes something. */
export const del = <T>(path: string, signal?: AbortSignal) => json<T>('DELETE', path, undefined, signal);

/** A name within a path. */
export const part = encodeURIComponent;

/** Lines of an answer, as they come: those of each piece together. */
async function* linesOf(response: Response): AsyncGenerator<string[]> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) break;
    const lines = (rest + value).split('\n');
    rest = lines.pop() ?? '';
    yield lines;
  }
  if (rest !== '') yield [rest];
}

/** Reads `path` for as long as anybody looks at the page: begins anew where it breaks off, and rests while the page is hidden, since
 * a browser has few connections for each server. */
function follow(path: () => string, each: (lines: AsyncGenerator<string[]>) => Promise<void>, fails: (error: unknown) => void) {
  let current: AbortController | undefined;
  let over = false;
  const run = async () => {
    let pause = 250;
    while (!over) {
      if (document.hidden) {
        await new Promise<void>((shown) => document.addEventListener('visibilitychange', () => shown(), { once: true }));
        continue;
      }
      current = new AbortController();
      try {
        const response = await raw(path(), { signal: current.signal });
        pause = 250;
        await each(linesOf(response));
      } catch (error) {
        if (over) return;
        if (error instanceof Refused && error.status >= 400 && error.status < 500) {
          fails(error);
          pause = 5000;
        }
      }
      if (!over && !document.hidden) await new Promise((then) => setTimeout(then, pause));
      pause = Math.min(pause * 2, 5000);
    }
  };
  const hidden = () => document.hidden && current?.abort();
  document.addEventListener('visibilitychange', hidden);
  void run();
  return () => {
    over = true;
    document.removeEventListener('visibilitychange', hidden);
    current?.abort();
  };
}

/** Server-sent events of a route, with what they carry, until the function that it gives is called. Each connection begins with an
 * event `open`: what happened before has to be asked for. */
export function events(
  path: string,
  onEvent: (name: string, data: any) => void,
  onFail: (error: unknown) => void = () => {},
): () => void {
  return texts(path, (name, text) => onEvent(name, parse(text)), onFail);
}

/** The same with the text of what they carry, for whoever needs to look at a few of them only. */
export function texts(
  path: string,
  onEvent: (name: string, text: string) => void,
  onFail: (error: unknown) => void = () => {},
): () => void {
  const each = async (lines: AsyncGenerator<string[]>) => {
    onEvent('open', '{}');
    let name = '';
    let data = '';
    for await (const some of lines) {
      for (const line of some) {
        if (line.startsWith('data:')) data += line.slice(5).trim();
        else if (line.startsWith('event:')) name = line.slice(6).trim();
        else if (line === '') {
          if (data !== '') onEvent(name || 'message', data);
          name = data = '';
        }
      }
    }
  };
  return follow(() => path, each, onFail);
}

/** Lines of JSON of a route that does not end, until the function that it gives is called. `onOpen` is called at each beginning. */
export function lines(
  path: string,
  onLine: (line: any) => void,
  onOpen: () => void = () => {},
  onFail: (error: unknown) => void = () => {},
): () => void {
  const each = async (found: AsyncGenerator<string[]>) => {
    onOpen();
    for await (const some of found) for (const line of some) if (line !== '') onLine(parse(line));
  };
  return follow(() => path, each, onFail);
}

/** Rows of a query. */
export interface Rows {
  columns: string[];
  rows: Record<string, any>[];
}

/** The rows of a query. Columns are those that have a value somewhere, in their order. */
export async function sql(query: string, signal?: AbortSignal): Promise<Rows> {
  const init: RequestInit = {
    method: 'POST',
    body: JSON.stringify({ query }),
    headers: { 'Content-Type': 'application/json' },
  };
  if (signal) init.signal = signal;
  const text = await (await raw('/v1/sql', init)).text();
  const rows = text.split('\n').filter((line) => line !== '').map(parse) as Record<string, any>[];
  const columns = new Set<string>();
  for (const row of rows) for (const name of Object.keys(row)) columns.add(name);
  return { columns: [...columns], rows };
}
