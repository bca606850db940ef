/** The graph of pipelines and repos: what there is, and where each part of it is drawn. */
import type { Status } from './status';
import { tone } from './status';

export interface Node {
  id: string;
  kind: 'pipeline' | 'repo' | 'source' | 'consumer';
  name: string;
  label?: string;
}

export interface Edge {
  from: string;
  to: string;
  label?: string;
}

export interface Graph {
  nodes: Node[];
  edges: Edge[];
}

export interface Placed {
  width: number;
  height: number;
  nodes: (Node & { x: number; y: number; width: number; height: number })[];
  edges: (Edge & { path: string; x: number; y: number })[];
}

/** What can be said of a server that has no route for it: each pipeline fills its repo. */
export function plain(pipelines: Status[], repos: string[]): Graph {
  const nodes: Node[] = pipelines.map(({ name }) => ({ id: `pipeline:${name}`, kind: 'pipeline', name }));
  const others = repos.filter((name) => !name.startsWith('_'));
  nodes.push(...others.map((name): Node => ({ id: `repo:${name}`, kind: 'repo', name })));
  const filled = pipelines.filter(({ name }) => others.includes(name));
  return { nodes, edges: filled.map(({ name }) => ({ from: `pipeline:${name}`, to: `repo:${name}` })) };
}

/** The names of those that fail. */
export const failing = (pipelines: Status[]): string[] =>
  pipelines.filter((status) => tone(status) === 'bad').map((status) => status.name);
