import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fieldsOf } from '../parts/exact';
import { heading } from '../parts/grid';
import { Answer, isQuery } from './answer';
import { asTime, drawing, likelyAcross, numeric } from './chart';
import { reposIn } from './tables';

test('columns keep the order that was described, and what a row leaves out is null', () => {
  const answer = new Answer([heading('a', 'Int64'), heading('b', 'Utf8'), heading('c', 'Decimal128(10, 2)')]);
  answer.take(fieldsOf('{"c":1.10}'));
  answer.take(fieldsOf('{"a":1,"late":"x"}'));
  answer.take(fieldsOf('{}'));
  assert.deepEqual(answer.columns.map(({ name, right }) => [name, right]), [['a', true], ['b', false], ['c', true], ['late', false]]);
  assert.deepEqual(answer.rows, [[null, null, '1.10'], ['1', null, null, 'x'], [null, null, null, null]]);
  assert.equal(answer.full(4), false);
  assert.equal(answer.full(3), true);
});

test('an answer is full once it is large', () => {
  const answer = new Answer();
  answer.take([{ name: 'a', cell: 'x'.repeat(33_000_000), kind: 'text' }]);
  assert.equal(answer.full(1000), true);
});

test('only queries are described', () => {
  for (const yes of ['select 1', ' -- why\n/* and\nhow */ WITH a as (select 1) select 1', '(select 1)', 'values (1)']) assert.equal(isQuery(yes), true, yes);
  for (const no of ['describe a', 'explain select 1', 'selec', '', '-- select']) assert.equal(isQuery(no), false, no);
});

test('the repos of a statement are found by their names', () => {
  const repos = ['events', 'events-v2', 'hot', 'Odd.Name', 'x'];
  const check = (statement: string, expected: string[]) => assert.deepEqual(reposIn(statement, repos), expected, statement);
  check('select * from events', ['events']);
  check('select * from events_v2 join "hot" using (a)', ['events-v2', 'hot']);
  check('select * from "events-v2"', ['events-v2']);
  check('select * from events_dead_letter', ['events']);
  check('select * from events_v2_clicks', ['events-v2']);
  check("select 'hot' -- from x\n from events /* hot */", ['events']);
  check('select * from "events@master~2"', []);
  check('select * from odd_name', ['Odd.Name']);
  check('select 1', []);
});

test('a result is drawn over time, over numbers, or over its rows', () => {
  const columns = ['at', 'n', 'who'].map((name) => heading(name));
  const rows = [
    ['2026-01-01T00:00:02Z', '2', 'b'],
    ['2026-01-01T00:00:01Z', '1', 'a'],
    [null, '3', null],
  ];
  assert.deepEqual(numeric(columns, rows), [1]);
  assert.equal(likelyAcross(columns, rows.slice(0, 2)), 0);
  assert.deepEqual(drawing(columns, rows, 0, [1]), { across: 'time', xs: [1767225601, 1767225602], names: [], lines: [{ name: 'n', values: [1, 2] }] });
  assert.deepEqual(drawing(columns, rows, 2, [1]), { across: 'place', xs: [0, 1, 2], names: ['b', 'a', 'null'], lines: [{ name: 'n', values: [2, 1, 3] }] });
  assert.deepEqual(drawing(columns, rows, 1, [1]).xs, [1, 2, 3]);
  assert.deepEqual(drawing(columns, rows, 1, [1], true).names, ['2', '1', '3']);
  assert.equal(asTime('2026-01-01 00:00:01.5'), 1767225601.5);
  assert.equal(asTime('2026-01-01'), 1767225600);
  assert.equal(asTime('12'), null);
});
