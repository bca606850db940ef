import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { CommitInfo, FileLine, Repo } from '../parts/answers';
import { directories, totals } from './changes';
import { madeFrom } from './downstream';
import { PAGE, Timeline, type Summary } from './summary';
import { above, isText, rowsOf, shownAs, type Listed } from './tree';

const commit = (number: number): Summary => ({ id: `c${number}`, number, at_ms: number, started_ms: number, messages: 1, rows: 1, bytes: 1, dead: 0, reason: 'rows', pipeline: 'p', tags: [], compaction: false });

/** A history of this many, of which `kept` were not collected. */
function history(count: number, kept = count) {
  const asked: number[] = [];
  const fetch = (skip: number, limit: number): Promise<Summary[]> => {
    asked.push(skip);
    const numbers = Array.from({ length: Math.max(0, Math.min(limit, kept - skip)) }, (_, place) => count - skip - place);
    return Promise.resolve(numbers.map(commit));
  };
  return { asked, line: new Timeline(count, fetch) };
}

test('of ten thousand commits those in sight are fetched, once', async () => {
  const { asked, line } = history(10_000);
  assert.equal(line.count, 10_000);
  assert.equal(await line.need(0, 30), true);
  assert.equal(await line.need(10, 40), false);
  await Promise.all([line.need(5_000, 5_030), line.need(5_010, 5_020)]);
  assert.deepEqual(asked, [0, 5_000]);
  assert.equal(line.at(0)?.number, 10_000);
  assert.equal(line.at(5_000)?.number, 5_000);
  assert.equal(line.at(200), undefined);
  for (let page = 0; page < 10_000 / PAGE; page += 1) await line.need(page * PAGE, page * PAGE);
  const held = Array.from({ length: 10_000 }, (_, index) => line.at(index)).filter(Boolean).length;
  assert.ok(held <= 61 * PAGE, `${held} are held`);
  assert.equal(line.at(0)?.number, 10_000, 'the newest are kept');
});

test('new commits come in front, each once, and nothing moves', async () => {
  const { line } = history(250);
  await line.need(0, 30);
  assert.equal(line.add(commit(250)), false);
  assert.equal(line.add(commit(251)), true);
  assert.equal(line.add(commit(252)), true);
  assert.equal(line.add(commit(251)), false);
  assert.deepEqual([0, 1, 2, 3].map((index) => line.at(index)?.number), [252, 251, 250, 249]);
  assert.equal(line.count, 252);
  assert.deepEqual(line.newest(3).map(({ number }) => number), [252, 251, 250]);
});

test('history that was collected is not there', async () => {
  const { line } = history(1000, 130);
  await line.need(0, 30);
  await line.need(90, 140);
  assert.equal(line.count, 130);
  assert.equal(line.at(129)?.number, 871);
  assert.equal(line.at(130), undefined);
});

test('what was made from a commit is found from its time on', async () => {
  const made = (number: number, from: string[]): CommitInfo => ({ ...commit(number), repo: 'down', branch: 'master', provenance: from.map((id) => ({ repo: 'up', commit: id })) }) as unknown as CommitInfo;
  const down = Array.from({ length: 300 }, (_, place) => made(place + 1, [`u${place + 1}`]));
  const asked: string[] = [];
  const ask = {
    repos: () => Promise.resolve([{ name: 'down', commits: 300 }, { name: 'up', commits: 9 }, { name: '_specs', commits: 9 }, { name: 'none', commits: 0 }] as Repo[]),
    commits: (repo: string, at: string, limit: number) => {
      asked.push(`${repo} ${at} ${limit}`);
      const back = Number(/~(\d+)$/.exec(at)?.[1] ?? 0);
      const head = at.includes('{') ? 149 : 300 - back;
      return Promise.resolve(down.slice(Math.max(0, head - limit), head).reverse());
    },
  };
  const of = { id: 'u150', repo: 'up', at_ms: 149_500 } as CommitInfo;
  const found = await madeFrom(of, ask);
  assert.deepEqual(found.made.map(({ repo, number }) => [repo, number]), [['down', 150]]);
  assert.deepEqual(found.cut, []);
  assert.ok(asked.every((line) => line.startsWith('down ')), 'neither itself nor the host’s own are looked through');
});

test('the tree shows what is open, in order', () => {
  const file = (path: string): FileLine => ({ path, type: 'file', size: 1 });
  const dir = (path: string): FileLine => ({ path, type: 'dir', size: 1 });
  const listed = new Map<string, Listed>([
    ['/', [dir('/a/'), file('/z')]],
    ['/a/', [dir('/a/b/'), file('/a/c')]],
    ['/a/b/', 'asked'],
  ]);
  const shown = (open: string[]) => rowsOf(listed, new Set(open)).map(({ path, depth, name, note }) => [path, depth, note ?? name]);
  assert.deepEqual(shown([]), [['/a/', 0, 'a/'], ['/z', 0, 'z']]);
  assert.deepEqual(shown(['/a/', '/a/b/']), [['/a/', 0, 'a/'], ['/a/b/', 1, 'b/'], ['/a/b/#', 2, 'reading…'], ['/a/c', 1, 'c'], ['/z', 0, 'z']]);
  assert.deepEqual(above('/a/b/c'), ['/', '/a/', '/a/b/']);
  assert.deepEqual(above('/z'), ['/']);
});

test('a file is shown as what it is', () => {
  assert.equal(shownAs({ path: '/a.parquet', format: 'parquet' }), 'table');
  assert.equal(shownAs({ path: '/a.PNG' }), 'image');
  assert.equal(shownAs({ path: '/a' }), 'text');
  const bytes = (...all: number[]) => new Uint8Array(all);
  assert.equal(isText(bytes(0x61, 0xc3, 0xa9)), true);
  assert.equal(isText(bytes(0x61, 0xc3)), false);
  assert.equal(isText(bytes(0x61, 0xc3), true), true, 'a beginning may end within a character');
  assert.equal(isText(bytes(0xff, 0xfe), true), false);
  assert.equal(isText(bytes(0x61, 0)), false);
});

test('a comparison is summed up', () => {
  const change = (path: string, sizes: [number | null, number | null], rows: [number | null, number | null]) => ({ path, change: '', size_before: sizes[0], size_after: sizes[1], rows_before: rows[0], rows_after: rows[1] });
  const changes = [change('/a/1', [null, 5], [null, 2]), change('/b/1', [4, null], [9, null]), change('/c', [1, 3], [null, null])];
  assert.deepEqual(totals(changes), { files: 3, added: 1, removed: 1, changed: 1, rows: -7, size: 3 });
  assert.deepEqual(directories(changes), ['/a', '/b']);
});
