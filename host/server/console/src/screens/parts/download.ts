// Bytes of the server as a file of the reader's: with the token, which a plain link would not send.

import { raw } from '../../lib/api';

/** Has the browser keep `blob` as a file. */
export function keep(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Has the browser keep what a route sends. */
export async function download(path: string, name: string, init: RequestInit = {}): Promise<void> {
  keep(await (await raw(path, init)).blob(), name);
}
