// What a comparison comes to.

import type { Changed } from '../parts/answers';

/** Sums over the files that differ. */
export interface Totals {
  files: number;
  added: number;
  removed: number;
  changed: number;
  /** Rows and bytes that there are more. */
  rows: number;
  size: number;
}

/** What all changes come to. */
export function totals(changes: Changed[]): Totals {
  const all: Totals = { files: changes.length, added: 0, removed: 0, changed: 0, rows: 0, size: 0 };
  for (const change of changes) {
    if (change.size_before === null) all.added += 1;
    else if (change.size_after === null) all.removed += 1;
    else all.changed += 1;
    all.rows += (change.rows_after ?? 0) - (change.rows_before ?? 0);
    all.size += (change.size_after ?? 0) - (change.size_before ?? 0);
  }
  return all;
}

/** The directories of tables among the changes: their rows can be compared. */
export function directories(changes: Changed[]): string[] {
  const found = new Set<string>();
  for (const { path, rows_before, rows_after } of changes) {
    if (rows_before === null && rows_after === null) continue;
    found.add(`/${path.split('/')[1] ?? ''}`);
  }
  return [...found].sort();
}
