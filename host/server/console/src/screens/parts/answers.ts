// What the API answers with, as far as these screens read it.

/** A repo in a list. */
export interface Repo {
  name: string;
  description: string;
  created_ms: number;
  branches: number;
  commits: number;
}

export interface Column {
  name: string;
  type: string;
  nullable: boolean;
}

export interface Branch {
  name: string;
  head: string | null;
  finished_ms: number | null;
  commits: number;
  epoch: number;
  pipeline: string;
  settled?: Column[] | null;
}

export interface Table {
  table: string;
  files: number;
  rows: number;
  columns: Column[];
  mixed?: string;
}

export interface BranchInfo extends Branch {
  tables: Table[];
}

export interface Started {
  repo: string;
  branch: string;
  commit: string;
  at_ms: number;
}

export interface RepoInfo {
  name: string;
  description: string;
  created_ms: number;
  retention: Record<string, unknown>;
  branches: Branch[];
  tags: { name: string; commit: string }[];
  started: Started[];
}

export interface Blob {
  place: unknown;
  size: number;
  sha256: string;
}

export interface FilePut {
  path: string;
  how: string;
  blob: Blob;
  table?: { rows?: number; format?: string; columns?: { name: string; nulls?: number; min?: unknown; max?: unknown }[] };
}

export interface Place {
  label?: string;
  offset: number;
  [more: string]: unknown;
}

export interface Upstream {
  repo: string;
  branch?: string;
  commit: string;
  [more: string]: unknown;
}

export interface CommitInfo {
  id: string;
  repo: string;
  branch: string;
  number: number;
  parent: string | null;
  base?: string;
  tags: string[];
  started_ms: number;
  at_ms: number;
  sequence: number;
  epoch: number;
  pipeline: string;
  spec_digest: string;
  plugins: Record<string, string>;
  reason: string;
  compaction?: boolean;
  messages: number;
  rows: number;
  dead_letters: number;
  dropped: number;
  empty: number;
  made: number;
  filtered: Record<string, number>;
  late: Record<string, number>;
  unknown?: { names: Record<string, number>; others: number };
  files: FilePut[];
  removed: string[];
  marker: Record<string, Place>;
  state: Record<string, Blob>;
  provenance?: Upstream[];
  global: string;
  advance?: Record<string, unknown>;
}

export interface FileLine {
  path: string;
  type: 'file' | 'dir';
  size: number;
  rows?: number;
  format?: string;
  sha256?: string;
}

export interface Files {
  repo: string;
  branch: string;
  commit: string;
  files: FileLine[];
}

export interface FileInfo {
  repo: string;
  commit: string;
  path: string;
  type: 'file' | 'dir';
  files: number;
  size: number;
  rows: number | null;
  format?: string;
  sha256?: string;
  columns?: Column[];
  pieces?: { size: number; rows: number | null; sha256: string; where: string }[];
}

export interface Changed {
  path: string;
  change: string;
  size_before: number | null;
  size_after: number | null;
  rows_before: number | null;
  rows_after: number | null;
}

export interface Differences {
  repo: string;
  commit: string;
  older: { repo: string; commit: string } | null;
  changes: Changed[];
}

/** What a pipeline does, as far as these screens read it. */
export interface PipelineStatus {
  name: string;
  state: string;
  condition: string;
  plugins: Record<string, string>;
  plugin_use?: Record<string, PluginUse>;
}

export interface PluginUse {
  instances: number;
  calls: number;
  busy_ms: number;
  cpu_ms?: number;
  memory: number;
  memory_limit: number;
  traps: number;
}

export interface KeptPlugin {
  name: string;
  newest: string | null;
  versions: { digest: string; size: number }[];
}

export interface PluginPut {
  name: string;
  digest: string;
  size: number;
  worlds: string[];
}
