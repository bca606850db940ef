import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Lines, fieldsOf } from './exact';

const cells = (line: string) => fieldsOf(line).map(({ name, cell, kind }) => [name, cell, kind]);

test('numbers are the text that was sent', () => {
  const line = '{"a":9007199254740993,"b":18446744073709551615,"c":-170141183460469231731687303715884105728,"d":1.10,"e":1e400,"f":-0}';
  assert.deepEqual(cells(line), [
    ['a', '9007199254740993', 'number'],
    ['b', '18446744073709551615', 'number'],
    ['c', '-170141183460469231731687303715884105728', 'number'],
    ['d', '1.10', 'number'],
    ['e', '1e400', 'number'],
    ['f', '-0', 'number'],
  ]);
});

test('texts are what they mean, and what is nested stays as it is', () => {
  const line = String.raw`{ "a" : "x\"y\\" , "\u00e9": "\ud83d\ude00", "n": null, "t": true, "l": [1, {"b": "]}\""}], "o": {"k": 9007199254740993}, "e": "" }`;
  assert.deepEqual(cells(line), [
    ['a', 'x"y\\', 'text'],
    ['é', '😀', 'text'],
    ['n', null, 'nothing'],
    ['t', 'true', 'truth'],
    ['l', String.raw`[1, {"b": "]}\""}]`, 'nested'],
    ['o', '{"k": 9007199254740993}', 'nested'],
    ['e', '', 'text'],
  ]);
  assert.deepEqual(cells('{}'), []);
});

test('what is no object is an error', () => {
  for (const wrong of ['', '[]', '{"a"', '{"a":', '{"a":1', '{"a":1,}', '{"a":"x}', '{a:1}', '{"a":[1}', '{"a":}', '{"a" 1}']) {
    assert.throws(() => fieldsOf(wrong), SyntaxError, wrong);
  }
});

test('lines are put together whatever they arrive in', () => {
  const text = '{"a":1}\n{"a":2}\n\n{"a":3}';
  for (let size = 1; size <= text.length; size += 1) {
    const lines = new Lines();
    const found: string[] = [];
    for (let at = 0; at < text.length; at += size) found.push(...lines.push(text.slice(at, at + size)));
    assert.deepEqual([...found, ...lines.end()], ['{"a":1}', '{"a":2}', '{"a":3}'], `${size}`);
  }
});
