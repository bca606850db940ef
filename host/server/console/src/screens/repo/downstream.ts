// What was made from a commit: commits of other repos name those that they were made from, and are looked through from its time on.

import type { CommitInfo, Repo } from '../parts/answers';

/** What is asked of the API, so that it can be tried without one. */
export interface Ask {
  repos: () => Promise<Repo[]>;
  /** A commit and those before it, newest first. */
  commits: (repo: string, at: string, limit: number) => Promise<CommitInfo[]>;
}

/** A commit that was made from another one. */
export interface Made {
  repo: string;
  branch: string;
  id: string;
  number: number;
  rows: number;
  at_ms: number;
}

/** What was found, and which repos were not looked through to their heads. */
export interface Found {
  made: Made[];
  cut: string[];
}

const PAGE = 100;
/** Commits that are looked through in each repo. */
const MOST = 500;

/** Whether a repo reads another one, by its newest commits. */
function reads(commits: CommitInfo[], repo: string): boolean {
  return commits.some((commit) => commit.provenance?.some((from) => from.repo === repo));
}

/** The commits of one repo that were made from `commit`, which is not newer than they are. */
async function inRepo(ask: Ask, repo: string, commit: CommitInfo): Promise<{ made: Made[]; cut: boolean }> {
  const newest = await ask.commits(repo, 'master', 5);
  const head = newest[0];
  if (!head || !reads(newest, commit.repo)) return { made: [], cut: false };
  // The newest commit at its time is the last that cannot be made from it.
  const before = await ask.commits(repo, `master{${new Date(commit.at_ms - 1).toISOString()}}`, 1).catch(() => []);
  const from = before[0]?.number ?? 0;
  const found: Made[] = [];
  let looked = from;
  while (looked < head.number && looked - from < MOST) {
    const upto = Math.min(head.number, looked + PAGE);
    const at = head.number === upto ? head.id : `${head.id}~${head.number - upto}`;
    const page = await ask.commits(repo, at, upto - looked);
    const made = page.filter((one) => one.provenance?.some((source) => source.commit === commit.id));
    for (const { id, branch, number, rows, at_ms } of made.reverse()) found.push({ repo, branch, id, number, rows, at_ms });
    // Commits are read in their order: once one was found, those behind it were made from later ones.
    if (found.length > 0 && made.length === 0) break;
    looked = upto;
  }
  return { made: found, cut: found.length === 0 && looked < head.number };
}

/** What was made from `commit` in all other repos that the caller sees. */
export async function madeFrom(commit: CommitInfo, ask: Ask): Promise<Found> {
  const all: Found = { made: [], cut: [] };
  const repos = (await ask.repos()).filter((repo) => repo.name !== commit.repo && repo.commits > 0 && !repo.name.startsWith('_'));
  const each = async ({ name }: Repo) => {
    const { made, cut } = await inRepo(ask, name, commit).catch(() => ({ made: [], cut: false }));
    all.made.push(...made);
    if (cut) all.cut.push(name);
  };
  // A few at a time.
  for (let at = 0; at < repos.length; at += 6) await Promise.all(repos.slice(at, at + 6).map(each));
  all.made.sort((a, b) => a.repo.localeCompare(b.repo) || a.number - b.number);
  return all;
}
