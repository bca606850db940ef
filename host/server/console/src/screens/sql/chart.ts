// A result as points: one column across, numbers above it.

import type { Cell } from '../parts/exact';
import type { Heading } from '../parts/grid';

/** What is drawn. */
export interface Drawing {
  /** What the horizontal axis means. */
  across: 'time' | 'number' | 'place';
  xs: number[];
  /** Names below the axis, where it is no number. */
  names: string[];
  lines: { name: string; values: (number | null)[] }[];
}

/** A cell as a number; a figure is drawn, so that what is lost beyond 2^53 is less than a pixel. */
export function asNumber(cell: Cell | undefined): number | null {
  if (cell === null || cell === undefined || cell === '') return null;
  const value = Number(cell);
  return Number.isFinite(value) ? value : null;
}

const TIME = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/;

/** A cell as a moment, in seconds; without a zone it is UTC, as the server's are. */
export function asTime(cell: Cell | undefined): number | null {
  if (cell === null || cell === undefined || !TIME.test(cell)) return null;
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(cell) || !/[T ]/.test(cell);
  const value = Date.parse(zoned ? cell.replace(' ', 'T') : `${cell.replace(' ', 'T')}Z`);
  return Number.isNaN(value) ? null : value / 1000;
}

/** Which columns can be drawn: those that hold numbers. */
export function numeric(columns: Heading[], rows: Cell[][]): number[] {
  const sample = rows.slice(0, 200);
  return columns
    .map((_, column) => column)
    .filter((column) => {
      const held = sample.map((row) => row[column]).filter((cell) => cell !== null && cell !== undefined);
      return held.length > 0 && held.every((cell) => asNumber(cell) !== null) && columns[column]?.type !== 'Utf8';
    });
}

/** The column to put across: one of moments, else one that is no number, else the first number. */
export function likelyAcross(columns: Heading[], rows: Cell[][]): number {
  const sample = rows.slice(0, 50);
  const moments = columns.findIndex((_, column) => sample.length > 0 && sample.every((row) => asTime(row[column]) !== null));
  if (moments >= 0) return moments;
  const figures = numeric(columns, rows);
  const other = columns.findIndex((_, column) => !figures.includes(column));
  return other >= 0 ? other : (figures[0] ?? 0);
}

/** The drawing of `lines` over `across`, in the order of `across` where that is a number or a moment; where `apart`, a number is a name too,
 * as of bars that stand beside each other. */
export function drawing(columns: Heading[], rows: Cell[][], across: number, lines: number[], apart = false): Drawing {
  const sample = rows.slice(0, 200);
  const times = sample.length > 0 && sample.every((row) => row[across] === null || asTime(row[across]) !== null);
  const numbers = !times && !apart && numeric(columns, rows).includes(across);
  const kind = times ? 'time' : numbers ? 'number' : 'place';
  let points = rows.map((row, place) => ({
    x: kind === 'time' ? asTime(row[across]) : kind === 'number' ? asNumber(row[across]) : place,
    row,
  }));
  if (kind !== 'place') {
    points = points.filter((point) => point.x !== null).sort((a, b) => (a.x ?? 0) - (b.x ?? 0));
  }
  return {
    across: kind,
    xs: points.map((point) => point.x ?? 0),
    names: kind === 'place' ? points.map((point) => point.row[across] ?? 'null') : [],
    lines: lines.map((column) => ({
      name: columns[column]?.name ?? '',
      values: points.map((point) => asNumber(point.row[column])),
    })),
  };
}
