// What is known of plugins: what the store keeps, what they say of themselves, and who uses them.

import type { PipelineStatus, PluginUse } from '../parts/answers';
import type { Asks, Schema } from './settings';

/** What a plugin says about itself. */
export interface About {
  name: string;
  digest: string;
  size: number;
  worlds: string[];
  offers: Offer[];
  manifest?: { name?: string; version?: string; sdk?: string; asks?: Asks };
}

export interface Offer {
  interface: string;
  name: string;
  summary: string;
  asks: Asks;
  settings: Schema | string;
}

/** Offers that differ in nothing but what they are used as, which a spec does not say either, as one. */
export function together(offers: Offer[]): (Offer & { interfaces: string[] })[] {
  const stream = (kind: string) => ['partition-consumer', 'stream-consumer'].includes(kind);
  const all = new Map<string, Offer & { interfaces: string[] }>();
  for (const offer of offers) {
    const { interface: kind, ...rest } = offer;
    const key = JSON.stringify([stream(kind) ? 'stream' : kind, rest]);
    const known = all.get(key);
    if (known) known.interfaces.push(kind);
    else all.set(key, { ...offer, interfaces: [kind] });
  }
  return [...all.values()];
}

/** A pipeline that runs a plugin. */
export interface User {
  pipeline: string;
  condition: string;
  digest: string;
  use?: PluginUse;
}

/** The pipelines that run a plugin, by name. */
export function usersOf(plugin: string, pipelines: PipelineStatus[]): User[] {
  return pipelines
    .filter((one) => one.plugins[plugin] !== undefined)
    .map(({ name, condition, plugins, plugin_use }) => {
      const user: User = { pipeline: name, condition, digest: plugins[plugin] ?? '' };
      const use = plugin_use?.[plugin];
      return use ? { ...user, use } : user;
    })
    .sort((a, b) => a.pipeline.localeCompare(b.pipeline));
}

/** All plugins that somebody keeps or runs, by name. */
export function namesOf(kept: { name: string }[], pipelines: PipelineStatus[]): string[] {
  return [...new Set([...kept.map(({ name }) => name), ...pipelines.flatMap(({ plugins }) => Object.keys(plugins))])].sort();
}

/** The part of a spec below a key of its first level, as it is written; empty where it has none. */
export function partOf(spec: string, pipeline: string, key: string): string {
  const documents = spec.split(/^---.*$/m);
  const named = (text: string) => new RegExp(`^\\s*(pipeline:\\s*\\{\\s*)?name:\\s*["']?${pipeline.replaceAll(/[.*+?^\${}()|[\]\\]/g, '\\$&')}["']?\\s*([,}#].*)?$`, 'm').test(text) || text.includes(`name: ${pipeline}}`);
  const text = documents.length === 1 ? spec : (documents.find(named) ?? '');
  const lines = text.split('\n');
  const first = lines.findIndex((line) => line.startsWith(`${key}:`));
  if (first < 0) return '';
  const next = lines.findIndex((line, at) => at > first && /^[^\s#}\]]/.test(line));
  const part = lines.slice(first, next < 0 ? lines.length : next);
  // What stands behind it is said of what comes next.
  while (part.length > 1 && /^\s*(#.*)?$/.test(part[part.length - 1] ?? '')) part.pop();
  return part.join('\n');
}
