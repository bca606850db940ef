// Commits as the timeline shows them, a page at a time, so that ten thousand cost no more than those that were looked at.

import type { CommitInfo } from '../parts/answers';

/** What the timeline shows of a commit. */
export interface Summary {
  id: string;
  number: number;
  at_ms: number;
  started_ms: number;
  messages: number;
  rows: number;
  bytes: number;
  dead: number;
  reason: string;
  pipeline: string;
  tags: string[];
  compaction: boolean;
}

/** The summary of a commit. */
export function summary(commit: CommitInfo): Summary {
  return {
    id: commit.id,
    number: commit.number,
    at_ms: commit.at_ms,
    started_ms: commit.started_ms,
    messages: commit.messages,
    rows: commit.rows,
    bytes: commit.files.reduce((sum, file) => sum + file.blob.size, 0),
    dead: commit.dead_letters,
    reason: commit.reason,
    pipeline: commit.pipeline,
    tags: commit.tags,
    compaction: commit.compaction ?? false,
  };
}

/** Gives `limit` commits behind the first `skip` of them. */
export type Fetch = (skip: number, limit: number) => Promise<Summary[]>;

/** Commits that are asked for at once. */
export const PAGE = 50;
/** Pages that are kept. */
const KEPT = 60;

/** The commits before a head that does not move, and those made since. */
export class Timeline {
  /** Made since the head was pinned, newest first. */
  readonly fresh: Summary[] = [];
  readonly #fetch: Fetch;
  readonly #pages = new Map<number, Summary[]>();
  readonly #asked = new Set<number>();
  #count: number;

  constructor(count: number, fetch: Fetch) {
    this.#count = count;
    this.#fetch = fetch;
  }

  /** How many there are. */
  get count(): number {
    return this.fresh.length + this.#count;
  }

  /** The commit in this place, newest first, if it was fetched. */
  at(index: number): Summary | undefined {
    if (index < this.fresh.length) return this.fresh[index];
    const place = index - this.fresh.length;
    return this.#pages.get(Math.floor(place / PAGE))?.[place % PAGE];
  }

  /** Those that are there of the newest `most`. */
  newest(most: number): Summary[] {
    const found: Summary[] = [];
    for (let index = 0; index < Math.min(most, this.count); index += 1) {
      const commit = this.at(index);
      if (commit) found.push(commit);
    }
    return found;
  }

  /** Puts a commit that was just made in front; false for one that is there. */
  add(commit: Summary): boolean {
    const newest = this.fresh[0] ?? this.#pages.get(0)?.[0];
    if (newest && commit.number <= newest.number) return false;
    this.fresh.unshift(commit);
    return true;
  }

  /** Fetches what is missing between two places; true if anything came. */
  async need(first: number, last: number): Promise<boolean> {
    const from = Math.max(0, Math.floor((first - this.fresh.length) / PAGE));
    const to = Math.floor((Math.min(last, this.count - 1) - this.fresh.length) / PAGE);
    const wanted: number[] = [];
    for (let page = from; page <= to; page += 1) {
      if (!this.#pages.has(page) && !this.#asked.has(page)) wanted.push(page);
    }
    await Promise.all(wanted.map((page) => this.#page(page)));
    return wanted.length > 0;
  }

  async #page(page: number): Promise<void> {
    this.#asked.add(page);
    try {
      const commits = await this.#fetch(page * PAGE, PAGE);
      this.#pages.set(page, commits);
      // History that was collected is no longer there, though it counts.
      if (commits.length < PAGE) this.#count = Math.min(this.#count, page * PAGE + commits.length);
      for (const old of this.#pages.keys()) {
        if (this.#pages.size <= KEPT) break;
        if (old !== page && old !== 0) this.#pages.delete(old);
      }
    } finally {
      this.#asked.delete(page);
    }
  }
}
