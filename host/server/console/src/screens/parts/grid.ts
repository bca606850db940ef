// Columns of a grid: which side they stand at, and how wide they are.

import type { Cell } from './exact';

/** A column of an answer. */
export interface Heading {
  name: string;
  /** Its Arrow type, where it is known. */
  type: string;
  /** Whether its values stand at the right, as numbers do. */
  right: boolean;
}

/** Whether values of an Arrow type are numbers. */
export function isNumber(type: string): boolean {
  return /^(U?Int\d+|Float\d+|Decimal\d*\()/.test(type);
}

/** The column of this name and type. */
export function heading(name: string, type = ''): Heading {
  return { name, type, right: isNumber(type) };
}

const SIGN = 7.9;
const PADDING = 22;

/** Pixels for each column, by what the first rows hold. */
export function widths(columns: Heading[], rows: Cell[][]): number[] {
  return columns.map(({ name }, column) => {
    let longest = name.length;
    for (const row of rows) longest = Math.max(longest, Math.min(60, (row[column] ?? 'null').length));
    return Math.round(Math.max(60, longest * SIGN + PADDING));
  });
}
