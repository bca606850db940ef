// Tables of the store with their columns, for the list beside the editor and for its completion.

import { get } from '../../lib/api';
import type { BranchInfo, Column, Repo } from '../parts/answers';
import { quoted, repoRoute, tableOf } from '../parts/names';
import type { Known } from './tables';

/** The letters of `/dead-letter` are a table of their own. */
const LETTERS = '/dead-letter';

const plain = (columns: Column[]) => columns.map(({ name, type }) => ({ name, type }));

/** The tables of a repo: all its rows, and each of its directories. */
function tables(repo: string, info: BranchInfo): Known[] {
  const directories = info.tables.filter((table) => table.table !== '/');
  const main = directories.filter((table) => table.table !== LETTERS && table.columns.length > 0);
  const whole = main[0] ?? info.tables[0];
  const all: Known[] = [];
  if (whole && whole.table !== LETTERS) all.push({ table: tableOf(repo), repo, path: '/', columns: plain(whole.columns) });
  const parts = main.length > 1 ? directories : directories.filter((table) => table.table === LETTERS);
  for (const { table, columns } of parts) {
    const name = `${repo}${table.replaceAll('/', '_')}`.replaceAll(/[-.=]/g, '_');
    all.push({ table: quoted(name), repo, path: table, columns: plain(columns) });
  }
  return all;
}

/** All tables of all repos, at the heads of their masters. A repo that cannot be read has none. */
export async function known(repos: Repo[], signal: AbortSignal): Promise<Known[]> {
  const found = new Map<string, Known[]>();
  const wanted = repos.filter((repo) => repo.commits > 0 && !repo.name.startsWith('_'));
  const next = wanted.values();
  const worker = async () => {
    for (const { name } of next) {
      if (signal.aborted) return;
      const info = await get<BranchInfo>(repoRoute(name, '/branches/master'), signal).catch(() => undefined);
      if (info) found.set(name, tables(name, info));
    }
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  return wanted.flatMap(({ name }) => found.get(name) ?? []);
}
