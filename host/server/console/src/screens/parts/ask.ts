// A statement sent to the server, and its rows read as they come.

import { raw } from '../../lib/api';
import { Answer, isQuery } from '../sql/answer';
import { Lines, fieldsOf } from './exact';
import { heading, type Heading } from './grid';

/** A statement, and the commits that repos are read at. */
export interface Question {
  statement: string;
  /** As in `events@ID`. */
  at?: string[];
}

/** What is told while rows come. */
export interface Progress {
  answer: Answer;
  /** Whether rows were left out, since there was no room for more. */
  cut: boolean;
}

/** How long rows are read, in milliseconds, before the page may do something else. */
const STRETCH = 16;

/** Lets the page react. */
function rest(): Promise<void> {
  return new Promise((then) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      then();
    };
    channel.port2.postMessage(0);
  });
}

/** Sends a statement. */
export function send({ statement, at = [] }: Question, format: string, signal?: AbortSignal): Promise<Response> {
  return raw(`/v1/sql?format=${format}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ query: statement, at }),
    ...(signal ? { signal } : {}),
  });
}

/** The columns of a query, as the server describes them; none where it does not. */
async function columnsOf(question: Question, signal?: AbortSignal): Promise<Heading[]> {
  if (!isQuery(question.statement)) return [];
  try {
    const statement = `describe ${question.statement.trim().replace(/;\s*$/, '')}`;
    const text = await (await send({ ...question, statement }, 'ndjson', signal)).text();
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => new Map(fieldsOf(line).map(({ name, cell }) => [name, cell])))
      .map((row) => heading(row.get('column_name') ?? '', row.get('data_type') ?? ''));
  } catch (error) {
    // What is wrong with the statement is said when it is run.
    if (signal?.aborted) throw error;
    return [];
  }
}

/** Reads the rows of a statement, at most `most`; `tell` is called while they come, and at the end. */
export async function ask(question: Question, most: number, tell: (progress: Progress) => void, signal: AbortSignal): Promise<Progress> {
  const answer = new Answer(await columnsOf(question, signal));
  const stop = new AbortController();
  const onAbort = () => stop.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const response = await send(question, 'ndjson', stop.signal);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const lines = new Lines();
    let told = 0;
    let worked = performance.now();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      const found = done ? lines.end() : lines.push(value ?? '');
      for (const line of found) {
        if (answer.full(most)) {
          // One more than there is room for: the rest is not read.
          stop.abort();
          return { answer, cut: true };
        }
        answer.take(fieldsOf(line));
        if (answer.rows.length % 256 === 0 && performance.now() - worked > STRETCH) {
          const now = performance.now();
          if (now - told > 150) {
            told = now;
            tell({ answer, cut: false });
          }
          await rest();
          if (signal.aborted) throw signal.reason;
          worked = performance.now();
        }
      }
      if (done) return { answer, cut: false };
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
