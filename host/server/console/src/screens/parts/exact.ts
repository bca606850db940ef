// A line of NDJSON as cells, with nothing altered: a number is the text that the server wrote, whatever its size, and what is nested stays
// as it was sent.

/** What a cell of an answer holds: its text, or null. */
export type Cell = string | null;

/** What kind of value a cell was. */
export type Kind = 'number' | 'text' | 'truth' | 'nested' | 'nothing';

/** A value of a line: its column, its text, and its kind. */
export interface Field {
  name: string;
  cell: Cell;
  kind: Kind;
}

const SPACE = /[ \t\r\n]/;

/** Where the string that begins at `from` ends: behind its quote. */
function endOfString(line: string, from: number): number {
  for (let at = from + 1; at < line.length; at += 1) {
    const char = line[at];
    if (char === '\\') at += 1;
    else if (char === '"') return at + 1;
  }
  throw new SyntaxError('a string without an end');
}

/** Where the value that begins at `from` ends. */
function endOfValue(line: string, from: number): number {
  const first = line[from];
  if (first === '"') return endOfString(line, from);
  if (first !== '{' && first !== '[') {
    let at = from;
    while (at < line.length && !',}]'.includes(line.charAt(at)) && !SPACE.test(line.charAt(at))) at += 1;
    return at;
  }
  let depth = 0;
  let at = from;
  while (at < line.length) {
    const char = line[at];
    if (char === '"') {
      at = endOfString(line, at);
      continue;
    }
    if (char === '{' || char === '[') depth += 1;
    if (char === '}' || char === ']') depth -= 1;
    at += 1;
    if (depth === 0) return at;
  }
  throw new SyntaxError('a value without an end');
}

function valueOf(name: string, raw: string): Field {
  switch (raw[0]) {
    case '"':
      return { name, cell: JSON.parse(raw) as string, kind: 'text' };
    case '{':
    case '[':
      return { name, cell: raw, kind: 'nested' };
    case 'n':
      return { name, cell: null, kind: 'nothing' };
    case 't':
    case 'f':
      return { name, cell: raw, kind: 'truth' };
    default:
      return { name, cell: raw, kind: 'number' };
  }
}

/** The fields of an object, in order. What is no object is an error. */
export function fieldsOf(line: string): Field[] {
  let at = 0;
  const skip = (): void => {
    while (at < line.length && SPACE.test(line.charAt(at))) at += 1;
  };
  const expect = (char: string): void => {
    skip();
    if (line[at] !== char) throw new SyntaxError(`expected ${char} at ${at} of ${line.slice(0, 80)}`);
    at += 1;
  };
  const fields: Field[] = [];
  expect('{');
  skip();
  if (line[at] === '}') return fields;
  for (;;) {
    skip();
    if (line[at] !== '"') throw new SyntaxError(`expected a name at ${at} of ${line.slice(0, 80)}`);
    const end = endOfString(line, at);
    const name = JSON.parse(line.slice(at, end)) as string;
    at = end;
    expect(':');
    skip();
    const last = endOfValue(line, at);
    if (last === at) throw new SyntaxError(`expected a value at ${at} of ${line.slice(0, 80)}`);
    fields.push(valueOf(name, line.slice(at, last)));
    at = last;
    skip();
    if (line[at] === '}') return fields;
    expect(',');
  }
}

/** Cuts text that arrives in pieces into lines. */
export class Lines {
  #rest = '';

  /** The lines that `text` completes. */
  push(text: string): string[] {
    const parts = (this.#rest + text).split('\n');
    this.#rest = parts.pop() ?? '';
    return parts.filter((line) => line.trim() !== '');
  }

  /** The last line, where it has no end. */
  end(): string[] {
    const rest = this.#rest;
    this.#rest = '';
    return rest.trim() === '' ? [] : [rest];
  }
}
