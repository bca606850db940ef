/** The address of a screen, behind the `#`, so that it can be shared: `#/pipelines/NAME`, `#/repos/REPO/BRANCH/...?name=value`. */
import { readable } from 'svelte/store';

/** Where we are. */
export interface Route {
  /** The names of the path, as they are. */
  path: string[];
  /** What stands behind the `?`. */
  query: Record<string, string>;
}

function read(): Route {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const plain = (text: string) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  };
  return {
    path: path.split('/').filter((name) => name !== '').map(plain),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** Where we are, now and after each change. */
export const route = readable<Route>(read(), (set) => {
  const changed = () => set(read());
  addEventListener('hashchange', changed);
  changed();
  return () => removeEventListener('hashchange', changed);
});

/** The address of a screen, for links. */
export function href(path: string[], query: Record<string, string | undefined> = {}): string {
  const names = path.map(encodeURIComponent).join('/');
  const said = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '');
  const asked = new URLSearchParams(said).toString();
  return `#/${names}${asked ? `?${asked}` : ''}`;
}

/** Goes to a screen; `replace` leaves no step back to where we were. */
export function go(path: string[], query: Record<string, string | undefined> = {}, replace = false): void {
  const to = href(path, query);
  if (to === location.hash) return;
  if (replace) {
    history.replaceState(null, '', to);
    dispatchEvent(new HashChangeEvent('hashchange'));
  } else location.hash = to;
}
