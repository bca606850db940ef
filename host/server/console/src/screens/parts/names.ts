// How repos, commits and paths are written, for the API and for SQL.

/** A name as it is written in SQL. */
export function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** A text as it is written in SQL. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** The table that a repo is in SQL: names have `_` for `-` and `.`. */
export function tableOf(repo: string): string {
  return quoted(repo.replaceAll(/[-.]/g, '_'));
}

/** A repo, a directory or a file at a commit, as SQL reads it. */
export function tableAt(repo: string, at: string, path?: string): string {
  return `"${`${repo}@${at}${path === undefined || path === '/' ? '' : `:${path}`}`.replaceAll('"', '""')}"`;
}

/** `path` in an address: its slashes stay. */
export function encodedPath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

/** The route of a repo. */
export function repoRoute(repo: string, rest = ''): string {
  return `/v1/repos/${encodeURIComponent(repo)}${rest}`;
}

/** The route of the bytes of a file. */
export function fileRoute(repo: string, at: string, path: string): string {
  return repoRoute(repo, `/files/${encodeURIComponent(at)}/${encodedPath(path.replace(/^\//, ''))}`);
}

/** A query of an address; what is not given is left out. */
export function query(values: Record<string, string | number | boolean | undefined>): string {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) asked.set(name, String(value));
  const text = asked.toString();
  return text === '' ? '' : `?${text}`;
}

/** Whether `text` is the id of a commit. */
export function isId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.replace(/\/$/, '').split('/').pop() ?? path;
}
