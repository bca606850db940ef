// Which repos a statement reads, as far as that can be seen without parsing it, and statements as of another commit.

/** A table of a repo, with its columns. */
export interface Known {
  /** How it is written in a statement. */
  table: string;
  repo: string;
  /** Where it is in the repo; the root is the repo itself. */
  path: string;
  columns: { name: string; type: string }[];
}

/** A statement without its comments and texts. */
function bare(statement: string): string {
  return statement.replace(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'/g, ' ');
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-.]/g, '_');

/** The repos that a statement names, in the order of `repos`. A table of a repo begins with its name: `events_clicks`. */
export function reposIn(statement: string, repos: string[]): string[] {
  const text = bare(statement);
  const words = new Set([...text.matchAll(/"((?:[^"]|"")*)"|([a-z_][\w]*)/gi)].map((found) => found[1] ?? found[2] ?? ''));
  // `"events@master~1:/clicks"` says itself which commit it means.
  const names = [...words].filter((word) => !word.includes('@')).map(plain);
  const found = new Set<string>();
  for (const name of names) {
    const exact = repos.filter((repo) => plain(repo) === name);
    // A table of a repo: of two that it may be of, the one with the longer name.
    const owners = repos.filter((repo) => name.startsWith(`${plain(repo)}_`)).sort((a, b) => b.length - a.length);
    for (const repo of exact.length > 0 ? exact : owners.slice(0, 1)) found.add(repo);
  }
  return repos.filter((repo) => found.has(repo));
}

/** A statement about a table, to begin with. */
export function firstLook(table: string): string {
  return `select * from ${table} limit 100`;
}
