// Bytes as they are looked at: their place, their digits, and what of them can be printed.

/** A row of sixteen bytes. */
export interface HexRow {
  at: string;
  digits: string[];
  signs: string[];
}

/** Bytes of their hexadecimal digits. */
export function unhex(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor(text.length / 2));
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = Number.parseInt(text.slice(at * 2, at * 2 + 2), 16);
  return bytes;
}

/** Rows `first` up to `last` of bytes. */
export function hexRows(bytes: Uint8Array, first = 0, last = Math.ceil(bytes.length / 16)): HexRow[] {
  const rows: HexRow[] = [];
  for (let row = first; row < Math.min(last, Math.ceil(bytes.length / 16)); row += 1) {
    const part = [...bytes.subarray(row * 16, row * 16 + 16)];
    rows.push({
      at: (row * 16).toString(16).padStart(6, '0'),
      digits: part.map((byte) => byte.toString(16).padStart(2, '0')),
      signs: part.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·')),
    });
  }
  return rows;
}

/** The byte that a reason says was wrong, as in `expected a string, at byte 1`. */
export function wrongByte(reason: string): number | undefined {
  const found = /\bat byte (\d+)/.exec(reason);
  return found?.[1] === undefined ? undefined : Number(found[1]);
}
