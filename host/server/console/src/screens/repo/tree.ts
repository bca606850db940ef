// The file tree, as the rows that are to be seen of it.

import type { FileLine } from '../parts/answers';

/** What is known of a directory: its entries, that they are on their way, or why they are not. */
export type Listed = FileLine[] | 'asked' | Error;

/** A row of the tree. */
export interface TreeRow {
  path: string;
  name: string;
  depth: number;
  kind: 'dir' | 'file' | 'note';
  line?: FileLine;
  open?: boolean;
  note?: string;
}

/** The rows of the tree below `/`: what is in the directories that are open, in order. */
export function rowsOf(listed: ReadonlyMap<string, Listed>, open: ReadonlySet<string>): TreeRow[] {
  const rows: TreeRow[] = [];
  const add = (directory: string, depth: number): void => {
    const entries = listed.get(directory);
    if (entries === undefined || entries === 'asked') {
      rows.push({ path: `${directory}#`, name: '', depth, kind: 'note', note: 'reading…' });
      return;
    }
    if (entries instanceof Error) {
      rows.push({ path: `${directory}#`, name: '', depth, kind: 'note', note: entries.message });
      return;
    }
    if (entries.length === 0) {
      rows.push({ path: `${directory}#`, name: '', depth, kind: 'note', note: 'no files' });
      return;
    }
    for (const line of entries) {
      const name = line.path.slice(directory.length);
      if (line.type === 'dir') {
        const isOpen = open.has(line.path);
        rows.push({ path: line.path, name, depth, kind: 'dir', line, open: isOpen });
        if (isOpen) add(line.path, depth + 1);
      } else {
        rows.push({ path: line.path, name, depth, kind: 'file', line });
      }
    }
  };
  add('/', 0);
  return rows;
}

/** The directories above a path, the root first: `/a/b/c` is in `/`, `/a/` and `/a/b/`. */
export function above(path: string): string[] {
  const parts = path.replace(/\/$/, '').split('/').slice(1, -1);
  const all = ['/'];
  for (const part of parts) all.push(`${all[all.length - 1] ?? '/'}${part}/`);
  return all;
}

/** How a file can be shown. */
export type Shown = 'table' | 'image' | 'text' | 'bytes';

const IMAGES: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  avif: 'image/avif',
  bmp: 'image/bmp',
  ico: 'image/x-icon',
  svg: 'image/svg+xml',
};

/** The media type of an image, by its name. */
export function imageType(path: string): string | undefined {
  return IMAGES[path.split('.').pop()?.toLowerCase() ?? ''];
}

/** How a file is shown at first: rows of a table, an image, or whatever its bytes are. */
export function shownAs(line: Pick<FileLine, 'path' | 'format'>): Exclude<Shown, 'bytes'> {
  if (line.format !== undefined) return 'table';
  return imageType(line.path) === undefined ? 'text' : 'image';
}

/** Whether bytes are a text in UTF-8; where they are only the beginning of a file, the last character may be cut off. */
export function isText(bytes: Uint8Array, beginning = false): boolean {
  if (bytes.includes(0)) return false;
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: beginning });
    return true;
  } catch {
    return false;
  }
}
