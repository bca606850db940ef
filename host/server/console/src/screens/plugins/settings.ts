// Settings of a plugin: its JSON schema as fields of a form, and what was filled in as a piece of a spec.

/** A JSON schema, as far as a form reads it. */
export interface Schema {
  type?: string | string[];
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  minimum?: number;
  maximum?: number;
  additionalProperties?: unknown;
}

/** A field of the form. */
export interface FormField {
  name: string;
  about: string;
  required: boolean;
  kind: 'text' | 'integer' | 'number' | 'truth' | 'choice' | 'list' | 'json';
  choices: string[];
  /** What holds where nothing is filled in. */
  preset: string;
  minimum?: number;
  maximum?: number;
}

/** What a schema refers to, with what is said beside it. */
function resolved(schema: Schema, root: Schema): Schema {
  let here = schema;
  for (let steps = 0; here.$ref !== undefined && steps < 8; steps += 1) {
    const { $ref, ...beside } = here;
    here = { ...(root.$defs?.[$ref.split('/').pop() ?? ''] ?? {}), ...beside };
  }
  const options = here.anyOf ?? here.oneOf;
  const some = options?.filter((option) => option.type !== 'null');
  // An option that may be null is one that may be left out.
  if (some?.length === 1 && some[0] && options && options.length > 1) {
    const meant = resolved(some[0], root);
    return { ...meant, description: here.description ?? meant.description ?? '' };
  }
  if (here.allOf?.length === 1 && here.allOf[0]) {
    return { ...resolved(here.allOf[0], root), ...(here.description === undefined ? {} : { description: here.description }) };
  }
  return here;
}

function typeOf(schema: Schema): string {
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== 'null') : schema.type;
  return type ?? '';
}

function choicesOf(schema: Schema): string[] {
  if (schema.enum) return schema.enum.filter((one) => one !== null).map(String);
  const options = schema.oneOf ?? schema.anyOf ?? [];
  return options.length > 0 && options.every((option) => option.const !== undefined || option.enum !== undefined)
    ? options.flatMap((option) => (option.enum ?? [option.const]).map(String))
    : [];
}

function kindOf(schema: Schema, root: Schema): FormField['kind'] {
  if (choicesOf(schema).length > 0) return 'choice';
  switch (typeOf(schema)) {
    case 'string':
      return 'text';
    case 'integer':
      return 'integer';
    case 'number':
      return 'number';
    case 'boolean':
      return 'truth';
    case 'array':
      return schema.items && typeOf(resolved(schema.items, root)) === 'string' ? 'list' : 'json';
    default:
      return 'json';
  }
}

/** The fields of a schema, those first that have to be filled in. */
export function fields(schema: Schema): FormField[] {
  const required = new Set(schema.required ?? []);
  const all = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const here = resolved(property, schema);
    const field: FormField = {
      name,
      about: (property.description ?? here.description ?? '').replaceAll(/\s*\n\s*/g, ' '),
      required: required.has(name),
      kind: kindOf(here, schema),
      choices: choicesOf(here),
      preset: here.default === undefined || here.default === null ? '' : flat(here.default),
    };
    if (here.minimum !== undefined) field.minimum = here.minimum;
    if (here.maximum !== undefined) field.maximum = here.maximum;
    return field;
  });
  return all.sort((a, b) => Number(b.required) - Number(a.required));
}

function flat(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const PLAIN = /^[A-Za-z_][\w ./@*-]*$/;
const TAKEN = /^(true|false|null|yes|no|on|off|y|n)$/i;

/** A value on one line of YAML. */
export function yaml(value: unknown): string {
  if (typeof value === 'string') {
    return PLAIN.test(value) && !TAKEN.test(value) && value.trim() === value ? value : JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(yaml).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([name, inner]) => `${yaml(name)}: ${yaml(inner)}`);
    return `{${entries.join(', ')}}`;
  }
  return typeof value === 'bigint' ? value.toString() : JSON.stringify(value);
}

/** What was filled in for a field, as a spec has it (`value`) and as JSON has it (`plain`), or why it is no such value. Nothing filled in is
 * `undefined`. */
export function valueOf(field: FormField, text: string): { value?: string; plain?: unknown; wrong?: string } {
  const filled = text.trim();
  if (filled === '') return field.required ? { wrong: `\`${field.name}\` has to be filled in` } : {};
  switch (field.kind) {
    case 'integer':
      if (!/^-?(0|[1-9]\d*)$/.test(filled)) return { wrong: `\`${field.name}\` must be a whole number` };
      if (field.minimum !== undefined && BigInt(filled) < BigInt(Math.ceil(field.minimum))) {
        return { wrong: `\`${field.name}\` must be at least ${field.minimum}` };
      }
      if (field.maximum !== undefined && Number(filled) > field.maximum) {
        return { wrong: `\`${field.name}\` must be at most ${field.maximum}` };
      }
      return { value: filled, plain: filled };
    case 'number':
      return Number.isFinite(Number(filled)) ? { value: filled, plain: filled } : { wrong: `\`${field.name}\` must be a number` };
    case 'list': {
      const plain = filled.split(',').map((one) => one.trim()).filter((one) => one !== '');
      return { value: yaml(plain), plain };
    }
    case 'json':
      try {
        const plain: unknown = JSON.parse(filled);
        return { value: yaml(plain), plain };
      } catch {
        return { wrong: `\`${field.name}\` must be JSON, as in {"a": 1} or [1, 2]` };
      }
    case 'truth':
      return { value: filled, plain: filled };
    default:
      return { value: yaml(text), plain: text };
  }
}

/** What an offer of a plugin is used as. */
export type Interface = string;

/** What a plugin asks for. */
export interface Asks {
  dirs?: string[];
  net?: string[];
  listen?: number[];
  endpoints?: string[];
  secrets?: string[];
  env?: string[];
}

/** The settings that were filled in, in the order of the form. */
function settingsLine(values: Record<string, string>): string {
  const filled = Object.entries(values);
  return filled.length === 0 ? '' : `settings: {${filled.map(([name, value]) => `${yaml(name)}: ${value}`).join(', ')}}`;
}

/** The grants that a plugin asks for, to be filled in. */
export function grants(plugin: string, asks: Asks, topic = 'TOPIC'): string[] {
  const lines: string[] = [];
  const map = (names: string[], value: string) => `{${names.map((name) => `${name}: ${value}`).join(', ')}}`;
  const dirs = asks.dirs?.map((dir) => (dir === '{topic}' ? topic : dir)) ?? [];
  if (dirs.length) lines.push(`dirs: ${map(dirs, './DIRECTORY')}`);
  if (asks.net?.length) lines.push(`net: [${asks.net.map((one) => JSON.stringify(one === '*' ? 'HOST:PORT' : one)).join(', ')}]`);
  if (asks.endpoints?.length) lines.push(`endpoints: ${map(asks.endpoints, '{address: "HOST:PORT"}')}`);
  if (asks.secrets?.length) lines.push(`secrets: ${map(asks.secrets, '{env: NAME}')}`);
  if (asks.listen?.length) lines.push(`listen: [${asks.listen.join(', ')}]`);
  if (asks.env?.length) lines.push(`env: ${map(asks.env, 'VALUE')}`);
  return lines.length === 0 ? [] : ['grants:', `  ${plugin}:`, ...lines.map((line) => `    ${line}`)];
}

/** A piece of a spec that uses an offer of a plugin with these settings. */
export function fragment(plugin: string, kind: Interface, values: Record<string, string>, asks: Asks): string {
  const settings = settingsLine(values);
  const inner = (lines: string[], indent: string) => lines.filter((line) => line !== '').map((line) => indent + line);
  const stream = ['producer:', '  stream:', ...inner([`plugin: ${plugin}`, 'topic: TOPIC', settings], '    ')];
  const kinds: Record<string, string[]> = {
    handler: ['node:', ...inner([`- id: ${plugin}`, '  type: plugin', `  plugin: ${plugin}`, settings && `  ${settings}`], '  ')],
    decoder: ['producer:', '  decoder:', ...inner([`plugin: ${plugin}`, settings], '    ')],
    spout: ['transform:', ...inner([`plugin: ${plugin}`, settings], '  ')],
    'wasi:cli/run': ['transform:', ...inner([`plugin: ${plugin}`], '  ')],
    transformer: ['transform:', ...inner([`plugin: ${plugin}`, settings], '  '), 'input: {pfs: {repo: REPO, glob: "/*"}}'],
  };
  return [...(kinds[kind] ?? stream), ...grants(plugin, asks)].join('\n');
}
