/** The graph of pipelines and repos: what there is, and where each part of it is drawn. */
import { Graph as Dagre, layout as arrange } from '@dagrejs/dagre';
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

const SIZES = { pipeline: [204, 66], repo: [150, 44], source: [150, 44], consumer: [150, 44] } as const;
/** Room for what is said at an edge. */
const LABEL = { width: 92, height: 30, labelpos: 'c' as const };

/** Where everything is drawn. Those that fail are given first, so that they are further up. */
export function place(graph: Graph, pipelines: Status[]): Placed {
  const bad = new Set(pipelines.filter((status) => tone(status) === 'bad').map((status) => status.name));
  const known = new Set(graph.nodes.map((node) => node.id));
  const sheet = new Dagre({ multigraph: true });
  sheet.setGraph({ rankdir: 'LR', nodesep: 18, ranksep: 26, marginx: 8, marginy: 8 });
  const nodes = [...graph.nodes].sort((one, other) => Number(bad.has(other.name)) - Number(bad.has(one.name)));
  for (const node of nodes) {
    const [width, height] = SIZES[node.kind] ?? SIZES.repo;
    sheet.setNode(node.id, { width, height });
  }
  const edges = graph.edges.filter((edge) => known.has(edge.from) && known.has(edge.to));
  edges.forEach((edge, index) => sheet.setEdge(edge.from, edge.to, { ...LABEL }, String(index)));
  arrange(sheet);
  const { width = 0, height = 0 } = sheet.graph() as { width?: number; height?: number };
  return {
    width: Math.max(width, 1),
    height: Math.max(height, 1),
    nodes: nodes.map((node) => {
      const at = sheet.node(node.id) as { x: number; y: number; width: number; height: number };
      return { ...node, x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height };
    }),
    edges: edges.map((edge, index) => {
      const drawn = sheet.edge(edge.from, edge.to, String(index)) as { points: { x: number; y: number }[]; x: number; y: number };
      return { ...edge, path: curve(drawn.points), x: drawn.x, y: drawn.y };
    }),
  };
}

/** A line through the points, round where it turns. */
function curve(points: { x: number; y: number }[]): string {
  const [first, ...rest] = points;
  const last = rest.at(-1);
  if (!first || !last) return '';
  let path = `M${first.x},${first.y}`;
  for (let index = 0; index < rest.length - 1; index += 1) {
    const [at, next] = [rest[index]!, rest[index + 1]!];
    const end = index === rest.length - 2 ? last : { x: (at.x + next.x) / 2, y: (at.y + next.y) / 2 };
    path += `Q${at.x},${at.y} ${end.x},${end.y}`;
  }
  return rest.length === 1 ? `${path}L${last.x},${last.y}` : path;
}
