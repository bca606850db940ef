// The rows of an answer, as they come, up to what a page can hold.

import type { Cell, Field } from '../parts/exact';
import type { Heading } from '../parts/grid';

/** Rows that are kept at most, unless somebody asks for more. */
export const MOST_ROWS = 10_000;
/** Characters that are kept at most. */
export const MOST_SIGNS = 32_000_000;

/** Rows with the columns that they have. */
export class Answer {
  readonly columns: Heading[] = [];
  readonly rows: Cell[][] = [];
  readonly #places = new Map<string, number>();
  #signs = 0;

  /** An answer that will have these columns, in this order, whatever its rows leave out. */
  constructor(columns: Heading[] = []) {
    for (const column of columns) this.#column(column);
  }

  #column(column: Heading): number {
    const place = this.columns.length;
    this.columns.push(column);
    this.#places.set(column.name, place);
    return place;
  }

  /** Takes a row in; a column that is not known is added. What a row leaves out is null. */
  take(fields: Field[]): void {
    const row: Cell[] = new Array<Cell>(this.columns.length).fill(null);
    for (const { name, cell, kind } of fields) {
      const place = this.#places.get(name) ?? this.#column({ name, type: '', right: kind === 'number' });
      while (row.length < place) row.push(null);
      row[place] = cell;
      this.#signs += cell?.length ?? 0;
    }
    this.rows.push(row);
  }

  /** Whether it is as large as it may be. */
  full(rows: number): boolean {
    return this.rows.length >= rows || this.#signs >= MOST_SIGNS;
  }
}

/** Whether a statement is a query that `describe` can be put in front of. */
export function isQuery(statement: string): boolean {
  const plain = statement.replace(/^(\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)+/, '');
  return /^(select|with|values|\()/i.test(plain);
}
