import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { PipelineStatus } from '../parts/answers';
import { namesOf, partOf, together, usersOf, type Offer } from './about';
import { fields, fragment, valueOf, yaml, type Schema } from './settings';

const schema: Schema = {
  type: 'object',
  required: ['pattern'],
  properties: {
    follow: { type: 'boolean', default: true, description: 'Files\ngrow.' },
    framing: { $ref: '#/$defs/Framing', description: 'What a message is.' },
    rate: { type: ['integer', 'null'], minimum: 1, maximum: 100 },
    columns: { type: 'array', items: { type: 'string' } },
    nested: { type: 'object' },
    wait: { anyOf: [{ $ref: '#/$defs/Time' }, { type: 'null' }] },
    pattern: { type: 'string' },
  },
  $defs: { Framing: { oneOf: [{ const: 'lines' }, { const: 'csv' }] }, Time: { type: 'string', description: 'As in `5s`.' } },
};

test('a schema becomes a form', () => {
  const form = fields(schema);
  assert.deepEqual(form.map(({ name, kind }) => [name, kind]), [
    ['pattern', 'text'],
    ['follow', 'truth'],
    ['framing', 'choice'],
    ['rate', 'integer'],
    ['columns', 'list'],
    ['nested', 'json'],
    ['wait', 'text'],
  ]);
  assert.deepEqual(form[2]?.choices, ['lines', 'csv']);
  assert.equal(form[1]?.about, 'Files grow.');
  assert.equal(form[1]?.preset, 'true');
  assert.equal(form[6]?.about, 'As in `5s`.');
  assert.deepEqual(fields({}), []);
});

test('what is filled in is YAML, or is said to be wrong', () => {
  const form = new Map(fields(schema).map((field) => [field.name, field]));
  const check = (name: string, text: string, expected: object) => {
    const field = form.get(name);
    assert.ok(field);
    assert.deepEqual(valueOf(field, text), expected, `${name}: ${text}`);
  };
  check('pattern', '*.ndjson', { value: '"*.ndjson"', plain: '*.ndjson' });
  check('pattern', 'true', { value: '"true"', plain: 'true' });
  check('pattern', ' ', { wrong: '`pattern` has to be filled in' });
  check('rate', '', {});
  check('rate', '9007199254740993', { wrong: '`rate` must be at most 100' });
  check('rate', '0', { wrong: '`rate` must be at least 1' });
  check('rate', '1.5', { wrong: '`rate` must be a whole number' });
  check('rate', '007', { wrong: '`rate` must be a whole number' });
  check('columns', 'a, b c', { value: '[a, b c]', plain: ['a', 'b c'] });
  check('nested', '{"a": [1, "x: y"]}', { value: '{a: [1, "x: y"]}', plain: { a: [1, 'x: y'] } });
  check('nested', '{', { wrong: '`nested` must be JSON, as in {"a": 1} or [1, 2]' });
});

test('YAML means what was meant', () => {
  assert.deepEqual(['a', 'no', '1', '', 'a: b', '- x', 'x ', '#'].map(yaml), ['a', '"no"', '"1"', '""', '"a: b"', '"- x"', '"x "', '"#"']);
});

test('a piece of a spec has its place, and the grants that are asked for', () => {
  assert.equal(
    fragment('files', 'stream-consumer', { pattern: '"*.csv"' }, { dirs: ['{topic}'], net: ['*'] }),
    'producer:\n  stream:\n    plugin: files\n    topic: TOPIC\n    settings: {pattern: "*.csv"}\ngrants:\n  files:\n    dirs: {TOPIC: ./DIRECTORY}\n    net: ["HOST:PORT"]',
  );
  assert.equal(fragment('redact', 'handler', {}, {}), 'node:\n  - id: redact\n    type: plugin\n    plugin: redact');
  assert.equal(fragment('json', 'decoder', { a: '1' }, {}), 'producer:\n  decoder:\n    plugin: json\n    settings: {a: 1}');
  assert.equal(fragment('feed', 'spout', {}, {}), 'transform:\n  plugin: feed');
});

test('who uses a plugin is known by the pipelines', () => {
  const pipelines = [
    { name: 'b', condition: 'idle', plugins: { json: 'sha256:1' }, plugin_use: { json: { calls: 3 } } },
    { name: 'a', condition: 'running', plugins: { json: 'sha256:2' } },
    { name: 'c', condition: 'idle', plugins: {} },
  ] as unknown as PipelineStatus[];
  assert.deepEqual(usersOf('json', pipelines).map(({ pipeline, digest, use }) => [pipeline, digest, use?.calls]), [['a', 'sha256:2', undefined], ['b', 'sha256:1', 3]]);
  assert.deepEqual(namesOf([{ name: 'x' }], pipelines), ['json', 'x']);
});

test('what is used in the same way is offered once', () => {
  const offer = (kind: string, name: string, more: object = {}): Offer => ({ interface: kind, name, summary: '', asks: {}, settings: { type: 'object' }, ...more });
  const offers = [offer('partition-consumer', 'a'), offer('stream-consumer', 'a'), offer('stream-consumer', 'b'), offer('decoder', 'a'), offer('partition-consumer', 'b', { summary: 'another' })];
  assert.deepEqual(together(offers).map(({ interfaces, name }) => [interfaces, name]), [
    [['partition-consumer', 'stream-consumer'], 'a'],
    [['stream-consumer'], 'b'],
    [['decoder'], 'a'],
    [['partition-consumer'], 'b'],
  ]);
});

test('grants and limits are found in a spec', () => {
  const spec = 'pipeline: {name: a}\ngrants:\n  files:\n    dirs: {x: ./y}\n\n# more\nlimits: {call: 1s}\n---\npipeline:\n  name: b\ngrants: {files: {}}\n';
  assert.equal(partOf(spec, 'a', 'grants'), 'grants:\n  files:\n    dirs: {x: ./y}');
  assert.equal(partOf(spec, 'a', 'limits'), 'limits: {call: 1s}');
  assert.equal(partOf(spec, 'b', 'grants'), 'grants: {files: {}}');
  assert.equal(partOf(spec, 'b', 'limits'), '');
  assert.equal(partOf(spec, 'c', 'grants'), '');
});
