// Runs the tests of all `*.test.ts` below `src` by Node alone: `node src/testing/run.mjs`. Types are left out; svelte-check has looked at them.
import fs from 'node:fs';
import { register } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

register('./typescript.mjs', import.meta.url);
const src = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const tests = fs.readdirSync(src, { recursive: true }).filter((name) => name.endsWith('.test.ts')).sort();
if (tests.length === 0) throw new Error(`there are no tests below ${src}`);
for (const name of tests) await import(pathToFileURL(path.join(src, name)).href);
