/** What the server says of a pipeline, as in `host/api/src/status.rs`, and what that comes to. */

export interface Partition {
  partition: number;
  producer?: string;
  label?: string;
  state: 'reading' | 'idle' | 'ended' | 'failing' | 'waiting';
  committed?: number | bigint;
  fetched?: number | bigint;
  end?: number | bigint;
  lag?: number | bigint;
  newest_ms?: number;
  time_lag_ms?: number;
  reader?: number;
  member?: string;
  error?: string;
  code?: string;
  retry_at_ms?: number;
}

export interface Counts {
  messages?: number;
  rows?: number;
  dead_letters?: number;
  dropped?: number;
  empty?: number;
  made?: number;
  kept?: Record<string, number>;
  bytes?: number;
  lag?: number | null;
  filtered?: Record<string, number>;
  late?: Record<string, number>;
  unknown?: { names: Record<string, number>; others: number };
  [more: string]: unknown;
}

export interface HandlerUse {
  handler: string;
  id: string;
  rows_in: number;
  rows_out: number;
  busy_ms: number;
  lane: boolean;
}

export interface PluginUse {
  instances?: number;
  calls?: number;
  busy_ms?: number;
  cpu_ms?: number;
  memory?: number;
  memory_limit?: number;
  traps?: number;
}

export interface Member {
  id: string;
  address: string;
  labels?: Record<string, string>;
  leads: boolean;
  leaves?: boolean;
  partitions: number;
  rows: number;
  bytes: number;
  plugin_memory: number;
  queue?: { bytes: number; capacity: number };
}

export interface Status {
  name: string;
  state: string;
  condition: string;
  since_ms: number;
  retry_at_ms?: number;
  address?: string;
  commits: number;
  head: string | null;
  last_commit?: { id: string; at_ms: number; reason: string; counts: Counts };
  error?: string;
  code?: string;
  plugins: Record<string, string>;
  counts: Counts;
  metrics?: Record<string, unknown>;
  lag: number | null;
  time_lag_ms: number | null;
  members?: Member[];
  readers: number;
  partition_count: number;
  partitions?: Partition[];
  handlers?: HandlerUse[];
  plugin_use?: Record<string, PluginUse>;
  queue?: { bytes: number; capacity: number };
  commit_ms?: { count: number; sum: number; last: number; p50: number; p99: number };
}

export type Tone = 'good' | 'warn' | 'bad' | 'calm';

const TONES: Record<string, Tone> = {
  failed: 'bad',
  failing: 'bad',
  'waiting-to-restart': 'bad',
  'catching-up': 'warn',
  running: 'good',
  idle: 'good',
  finished: 'good',
};

/** How good that is. */
export const tone = (status: { condition: string }): Tone => TONES[status.condition] ?? 'calm';

/** The condition in words. */
export const words = (status: { condition: string }): string => status.condition.replaceAll('-', ' ');

const ORDER: Tone[] = ['bad', 'warn', 'good', 'calm'];

/** Those that fail first, then those that are behind; then by name. */
export function worstFirst(one: Status, other: Status): number {
  return ORDER.indexOf(tone(one)) - ORDER.indexOf(tone(other)) || one.name.localeCompare(other.name);
}

/** Whether it was stopped, or has ended, so that it can be started. */
export const rests = (status: Status): boolean => ['paused', 'finished', 'failed', 'not-running'].includes(status.condition);

/** The sum of counts by name. */
export const sum = (by: Record<string, number> | undefined): number => Object.values(by ?? {}).reduce((all, one) => all + one, 0);
