// Has Node load TypeScript: without its types, and by names without their ends, as the sources have them.
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export async function resolve(name, context, next) {
  if (name.startsWith('.') && context.parentURL?.endsWith('.ts')) {
    const url = new URL(`${name}.ts`, context.parentURL);
    if (fs.existsSync(fileURLToPath(url))) return { url: url.href, shortCircuit: true };
  }
  return next(name, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true };
  const { outputText: source } = ts.transpileModule(fs.readFileSync(fileURLToPath(url), 'utf8'), { compilerOptions: options });
  return { format: 'module', source, shortCircuit: true };
}
