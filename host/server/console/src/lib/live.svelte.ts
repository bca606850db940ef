/** What the pipelines of the server are doing, as it is said: by events, and by the whole status every two seconds. */
import { get, isAborted, parse, texts } from './api';
import type { Counts, Status } from './status';

/** What was so at a moment. */
export interface Sample {
  at: number;
  messages: number;
  rows: number;
  bytes: number;
  commits: number;
  lag: number | null;
  timeLag: number | null;
}

/** What happens in a second. */
export interface Rates {
  messages: number;
  rows: number;
  bytes: number;
  commits: number;
}

/** How often the whole status is asked for. */
const POLL_MS = 2000;
/** What events say is shown so often, however many there are, and less often where there are many pipelines. */
const SHOW_MS = 250;
const SHOW_MANY_MS = 1000;
const MANY = 50;
/** Samples are taken so often, and kept so long. */
const SAMPLE_MS = 1000;
const SAMPLES = 900;
/** Rates are over this time. */
const RATE_MS = 5000;

const histories = new Map<string, Sample[]>();

class Live {
  /** In the order of their names. */
  pipelines = $state.raw<Status[]>([]);
  rates = $state.raw<Record<string, Rates>>({});
  /** Whether the server was heard at all. */
  loaded = $state(false);
  /** What is in the way. */
  error = $state.raw<unknown>();
  /** Rises with each sample that was taken. */
  samples = $state(0);
  /** The time of the newest figures. */
  at = $state(0);
  /** The time, for what is said as `3 s ago`. */
  now = $state(Date.now());
}

export const live = new Live();

/** Functions that are called with what a pipeline has said, other than how far it is. */
const listeners = new Set<(name: string, data: any) => void>();

/** Calls `then` with what pipelines do from now on; the function that it gives ends that. */
export function onEvent(then: (name: string, data: any) => void): () => void {
  listeners.add(then);
  return () => listeners.delete(then);
}

/** What was so lately, oldest first. */
export const history = (name: string): Sample[] => histories.get(name) ?? [];

function sample(status: Status, now: number): void {
  const all = histories.get(status.name) ?? [];
  const { messages = 0, rows = 0, bytes = 0 } = status.counts;
  const last = all.at(-1);
  if (last && now - last.at < SAMPLE_MS - 50) return;
  // It was started again: what it had done before is over.
  if (last && messages < last.messages) all.length = 0;
  all.push({ at: now, messages, rows, bytes, commits: status.commits, lag: status.lag ?? null, timeLag: status.time_lag_ms ?? null });
  if (all.length > SAMPLES) all.splice(0, all.length - SAMPLES);
  histories.set(status.name, all);
}

function rates(status: Status, now: number): Rates | undefined {
  const all = history(status.name);
  const last = all.at(-1);
  let first = last;
  for (let index = all.length - 1; index >= 0 && now - all[index]!.at <= RATE_MS + SAMPLE_MS; index -= 1) first = all[index];
  if (!last || !first || last.at === first.at) return undefined;
  const seconds = (last.at - first.at) / 1000;
  const each = (key: 'messages' | 'rows' | 'bytes' | 'commits') => Math.max(0, last[key] - first[key]) / seconds;
  return { messages: each('messages'), rows: each('rows'), bytes: each('bytes'), commits: each('commits') };
}

function show(all: Status[]): void {
  const now = Date.now();
  const found: Record<string, Rates> = {};
  for (const status of all) {
    sample(status, now);
    const rate = rates(status, now);
    if (rate) found[status.name] = rate;
  }
  live.pipelines = all;
  live.rates = found;
  live.at = live.now = now;
  live.samples += 1;
}

/** What pipelines that have said how far they are since it was shown have said last: only that is looked into. */
const progress = new Map<string, string>();
const PIPELINE = /"pipeline":"((?:[^"\\]|\\.)*)"/;
let showing: ReturnType<typeof setTimeout> | undefined;
let asking: ReturnType<typeof setTimeout> | undefined;
let askingAt = 0;
/** Whether something has happened while an answer was on its way. */
let isStale = false;
let asked: AbortController | undefined;

/** How far a pipeline is, where it has said that. */
function countsOf(name: string): Counts | undefined {
  const text = progress.get(name);
  if (text === undefined) return undefined;
  const { event: _, pipeline: __, ...counts } = parse(text);
  return counts;
}

function showSoon(): void {
  showing ??= setTimeout(() => {
    showing = undefined;
    if (progress.size === 0) return;
    const all = live.pipelines.map((status) => {
      const counts = countsOf(status.name);
      return counts ? { ...status, counts } : status;
    });
    progress.clear();
    show(all);
  }, live.pipelines.length > MANY ? SHOW_MANY_MS : SHOW_MS);
}

async function refresh(): Promise<void> {
  clearTimeout(asking);
  asking = undefined;
  if (asked) {
    isStale = true;
    return;
  }
  isStale = false;
  asked = new AbortController();
  try {
    if (!document.hidden) {
      progress.clear();
      const all = await get<Status[]>('/v1/pipelines', asked.signal);
      // What was said while the answer was on its way is newer.
      show(all.map((status) => ({ ...status, counts: countsOf(status.name) ?? status.counts })));
      progress.clear();
      live.loaded = true;
      live.error = undefined;
    }
  } catch (error) {
    if (!isAborted(error)) live.error = error;
  } finally {
    asked = undefined;
    if (users > 0) refreshSoon(isStale ? 0 : POLL_MS);
  }
}

/** Asks for the whole status at once, or as soon as an answer on its way is there. */
export function refreshSoon(ms = 100): void {
  const at = Date.now() + ms;
  // What is to be asked for earlier stays so: events that do not end must not put it off.
  if (asking !== undefined && askingAt <= at) return;
  clearTimeout(asking);
  askingAt = at;
  asking = setTimeout(refresh, ms);
}

function heard(name: string, text: string): void {
  if (name === 'progress') {
    const found = PIPELINE.exec(text)?.[1];
    if (found === undefined) return;
    progress.set(found.includes('\\') ? JSON.parse(`"${found}"`) : found, text);
    showSoon();
    return;
  }
  const data = parse(text);
  for (const listener of listeners) listener(name, data);
  // A state is another one, or there is one more commit.
  refreshSoon(name === 'committed' ? 300 : 100);
}

let users = 0;
let stop = () => {};

/** Listens for as long as somebody looks; the function that it gives ends that. */
export function look(): () => void {
  users += 1;
  if (users === 1) {
    void refresh();
    const end = texts('/v1/events', heard, (error) => (live.error = error));
    const shown = () => !document.hidden && refreshSoon(0);
    document.addEventListener('visibilitychange', shown);
    const clock = setInterval(() => (live.now = Date.now()), 1000);
    stop = () => {
      end();
      clearInterval(clock);
      document.removeEventListener('visibilitychange', shown);
    };
  }
  return () => {
    users -= 1;
    if (users > 0) return;
    stop();
    clearTimeout(asking);
    clearTimeout(showing);
    asking = showing = undefined;
    asked?.abort();
  };
}
