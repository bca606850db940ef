import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hexRows, unhex, wrongByte } from './hex';
import { fileRoute, literal, quoted, tableAt, tableOf } from './names';

test('names are quoted as SQL and addresses want them', () => {
  assert.equal(tableOf('events-v2'), 'events_v2');
  assert.equal(tableOf('2events'), '"2events"');
  assert.equal(quoted('Group "a"'), '"Group ""a"""');
  assert.equal(literal("it's"), "'it''s'");
  assert.equal(tableAt('events', 'master~2'), '"events@master~2"');
  assert.equal(tableAt('events', 'v1', '/a "b"'), '"events@v1:/a ""b"""');
  assert.equal(fileRoute('r', 'master~1', '/a b/c#?.txt'), '/v1/repos/r/files/master~1/a%20b/c%23%3F.txt');
});

test('bytes are shown with their places', () => {
  const bytes = unhex('7b626164ff000a'.repeat(3));
  assert.deepEqual(hexRows(bytes), [
    { at: '000000', digits: [...'7b 62 61 64 ff 00 0a 7b 62 61 64 ff 00 0a 7b 62'.split(' ')], signs: [...'{bad···{bad···{b'] },
    { at: '000010', digits: [...'61 64 ff 00 0a'.split(' ')], signs: [...'ad···'] },
  ]);
  assert.deepEqual(hexRows(new Uint8Array()), []);
  assert.equal(wrongByte('expected a string, at byte 12'), 12);
  assert.equal(wrongByte('nothing of that kind'), undefined);
});
