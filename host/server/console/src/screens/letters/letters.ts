// Dead letters of a repo: how they are counted, and which are shown.

import { literal, tableAt } from '../parts/names';

/** Letters of one stage, code and holding. */
export interface Group {
  stage: string;
  code: string;
  holds: string;
  letters: number;
  /** A reason of one of them. */
  reason: string;
}

/** The table of what was set aside. */
export function lettersAt(repo: string, at: string): string {
  return tableAt(repo, at, '/dead-letter');
}

/** How many there are, by stage, code and what they hold: the most first. */
export function counting(repo: string, at: string): string {
  return `select stage, code, holds, count(*) as letters, min(reason) as reason from ${lettersAt(repo, at)} group by stage, code, holds order by letters desc, stage, code, holds`;
}

/** What a group is, in a statement. */
export function within(group: Pick<Group, 'stage' | 'code' | 'holds'>): string {
  // Letters from before it was said what they hold.
  const holds = group.holds === '' ? 'holds is null' : `holds = ${literal(group.holds)}`;
  return `stage = ${literal(group.stage)} and code = ${literal(group.code)} and ${holds}`;
}

/** Some letters of a group, in the order of their places, without what they hold. */
export function listing(repo: string, at: string, group: Group, limit: number, skip: number): string {
  const columns = 'partition, "offset", reason, left(text(value), 120) as start';
  return `select ${columns} from ${lettersAt(repo, at)} where ${within(group)} order by partition, "offset", reason limit ${limit} offset ${skip}`;
}

/** One letter, whole. */
export function whole(repo: string, at: string, group: Group, partition: string, offset: string): string {
  return `select * from ${lettersAt(repo, at)} where ${within(group)} and partition = ${partition} and "offset" = ${offset}`;
}

/** The commands that give the letters of a pipeline to its spec once more. */
export function replaying(pipeline: string): { text: string; what: string; about: string }[] {
  return [
    {
      what: 'the command into a repo beside it',
      text: `spout deadletter replay ${pipeline}.yaml`,
      about: `Into the repo ${pipeline}-replayed, once for each letter; ${pipeline} may go on meanwhile.`,
    },
    {
      what: 'the command into the table itself',
      text: `spout stop pipeline ${pipeline}\nspout deadletter replay ${pipeline}.yaml --into-source\nspout start pipeline ${pipeline}`,
      about: 'Into the table that they would have gone into: only letters of stage decode that hold a whole message, and no handler with state. The pipeline has to be stopped.',
    },
  ];
}
