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
  const exact = repos.filter((repo) => names.includes(plain(repo)));
  const parts = names.flatMap((name) => {
    const owners = repos.filter((repo) => name.startsWith(`${plain(repo)}_`));
    const longest = owners.sort((a, b) => b.length - a.length)[0];
    return longest === undefined || names.some((other) => repos.some((repo) => plain(repo) === name) && other === name)
      ? []
      : [longest];
  });
  return repos.filter((repo) => exact.includes(repo) || parts.includes(repo));
}

/** A statement about a table, to begin with. */
export function firstLook(table: string): string {
  return `select * from ${table} limit 100`;
}
