/** Works out where the parts of a graph are drawn, beside the page: that takes a while where there are many. */
import { Graph as Dagre, layout } from '@dagrejs/dagre';
import type { Edge, Graph, Node, Placed } from './graph';

const SIZES = { pipeline: [204, 66], repo: [150, 46], source: [212, 46], consumer: [212, 46] } as const;
/** Room for what is said at an edge. */
const LABEL = { width: 92, height: 30, labelpos: 'c' as const };
const BETWEEN = 18;

/** Parts that nothing joins are drawn one below the other, those with a failing pipeline first. */
function place(graph: Graph, bad: Set<string>): Placed {
  const all: Placed = { width: 1, height: 0, nodes: [], edges: [] };
  const parts = separate(graph).map((part) => ({ part, fails: part.nodes.some((node) => node.kind === 'pipeline' && bad.has(node.name)) }));
  parts.sort((one, other) => Number(other.fails) - Number(one.fails));
  for (const { part } of parts) {
    const placed = one(part, bad);
    all.nodes.push(...placed.nodes.map((node) => ({ ...node, y: node.y + all.height })));
    all.edges.push(...placed.edges.map((edge) => ({ ...edge, path: curve(edge.points, all.height), y: edge.y + all.height })));
    all.width = Math.max(all.width, placed.width);
    all.height += placed.height + BETWEEN;
  }
  return all;
}

function separate(graph: Graph): Graph[] {
  const of = new Map(graph.nodes.map((node) => [node.id, node.id]));
  const root = (id: string): string => {
    let at = id;
    for (let up = of.get(at)!; up !== at; up = of.get(at)!) {
      of.set(at, of.get(up)!);
      at = up;
    }
    return at;
  };
  const edges = graph.edges.filter((edge) => of.has(edge.from) && of.has(edge.to));
  for (const edge of edges) of.set(root(edge.from), root(edge.to));
  const parts = new Map<string, Graph>();
  const part = (id: string) => {
    const found = parts.get(root(id)) ?? { nodes: [], edges: [] };
    parts.set(root(id), found);
    return found;
  };
  for (const node of graph.nodes) part(node.id).nodes.push(node);
  for (const edge of edges) part(edge.from).edges.push(edge);
  return [...parts.values()];
}

interface Point {
  x: number;
  y: number;
}

function one(graph: Graph, bad: Set<string>): { width: number; height: number; nodes: Placed['nodes']; edges: (Edge & Point & { points: Point[] })[] } {
  const sheet = new Dagre({ multigraph: true });
  sheet.setGraph({ rankdir: 'LR', nodesep: BETWEEN, ranksep: 26, marginx: 4, marginy: 4 });
  const nodes: Node[] = [...graph.nodes].sort((one, other) => Number(bad.has(other.name)) - Number(bad.has(one.name)));
  for (const node of nodes) {
    const [width, height] = SIZES[node.kind] ?? SIZES.repo;
    sheet.setNode(node.id, { width, height });
  }
  graph.edges.forEach((edge, index) => sheet.setEdge(edge.from, edge.to, { ...LABEL }, String(index)));
  layout(sheet);
  const { width = 0, height = 0 } = sheet.graph() as { width?: number; height?: number };
  return {
    width,
    height,
    nodes: nodes.map((node) => {
      const at = sheet.node(node.id) as Point & { width: number; height: number };
      return { ...node, x: at.x - at.width / 2, y: at.y - at.height / 2, width: at.width, height: at.height };
    }),
    edges: graph.edges.map((edge, index) => {
      const { points, x, y } = sheet.edge(edge.from, edge.to, String(index)) as { points: Point[] } & Point;
      return { ...edge, points, x, y };
    }),
  };
}

/** A line through the points, so much further down, round where it turns. */
function curve(points: Point[], down: number): string {
  const [first, ...rest] = points.map(({ x, y }) => ({ x, y: y + down }));
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

/** A wish, with its number. */
export interface Wish {
  number: number;
  graph: Graph;
  bad: string[];
}

onmessage = ({ data }: MessageEvent<Wish>) => {
  postMessage({ number: data.number, placed: place(data.graph, new Set(data.bad)) });
};
