// The editor of statements, with completion of repos and columns. It is loaded when the screen is opened, since it is as large as all the rest.

import {
  acceptCompletion,
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
  type CompletionContext,
  type CompletionResult,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { SQLDialect, sql, type SQLNamespace } from '@codemirror/lang-sql';
import { HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { Compartment, EditorState, Prec } from '@codemirror/state';
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';

import type { Known } from './tables';

/** What the screen hears of the editor. */
export interface Told {
  changed: (text: string) => void;
  run: () => void;
}

/** An editor in a place of the page. */
export interface Editor {
  setText: (text: string) => void;
  /** Puts a text where the caret is. */
  insert: (text: string) => void;
  setTables: (tables: Known[]) => void;
  focus: () => void;
  destroy: () => void;
}

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--one)', fontWeight: '600' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--three)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--two)' },
  { tag: [tags.typeName, tags.standard(tags.name)], color: 'var(--four)' },
  { tag: [tags.lineComment, tags.blockComment], color: 'var(--quiet)', fontStyle: 'italic' },
]);

const look = EditorView.theme({
  '&': { backgroundColor: 'var(--card)', color: 'var(--text)', fontSize: '0.95rem', border: '1px solid var(--quiet)', borderRadius: '6px' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '1px' },
  '.cm-content': { fontFamily: 'var(--mono)', caretColor: 'var(--text)', minHeight: '7rem', padding: '0.4rem 0' },
  '.cm-scroller': { maxHeight: '22rem', overflow: 'auto' },
  '.cm-gutters': { backgroundColor: 'var(--soft)', color: 'var(--quiet)', border: 'none', borderRadius: '6px 0 0 6px' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--soft) 55%, transparent)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 30%, transparent)',
  },
  '.cm-placeholder': { color: 'var(--quiet)' },
  '.cm-matchingBracket': { backgroundColor: 'var(--soft)', outline: '1px solid var(--quiet)' },
  '.cm-tooltip': { backgroundColor: 'var(--card)', color: 'var(--text)', border: '1px solid var(--line)', borderRadius: '6px' },
  '.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-completionDetail': { color: 'inherit', opacity: '0.8', fontStyle: 'normal', marginLeft: '1em' },
});

/** Tables and columns as the completion knows them. */
function namespace(tables: Known[]): SQLNamespace {
  const all: Record<string, SQLNamespace> = {};
  for (const { table, repo, path, columns } of tables) {
    const children = columns.map(({ name, type }) => ({ label: name, type: 'property', detail: type, ...applied(name) }));
    const detail = path === '/' ? `repo ${repo}` : `${repo}:${path}`;
    all[table.replaceAll('"', '')] = { self: { label: table, type: 'type', detail, boost: 1 }, children };
  }
  return all;
}

/** A name with other than small letters is quoted. */
function applied(name: string): { apply?: string } {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? {} : { apply: `"${name.replaceAll('"', '""')}"` };
}

/** The words that queries are made of here. */
const dialect = SQLDialect.define({
  keywords:
    'all and any as asc between by case cast cross describe desc distinct else end escape except exists explain false fetch filter first following for from full group grouping having ilike in inner intersect interval is join last lateral left like limit natural not null nulls of offset on or order outer over partition preceding range right row rows select sets similar table then to true unbounded union unnest using values when where window with within',
  types: 'bigint binary boolean bytea char date decimal double float int integer numeric real smallint string text time timestamp timestamptz tinyint varchar',
  builtin:
    'abs arrow_typeof array_agg avg coalesce commits count date_bin date_part date_trunc diff encode floor length lower max median min now nullif regexp_like regexp_replace replace round row_number split_part stddev substr sum text to_timestamp trim upper',
});

/** Columns of all tables, also before the statement says which it reads. */
function columnsOf(tables: Known[]) {
  const columns = new Map(tables.flatMap(({ table, columns }) => columns.map(({ name, type }) => [name, `${type} of ${table}`] as const)));
  const options = [...columns].map(([label, detail]) => ({ label, detail, type: 'property', boost: 5, ...applied(label) }));
  return (context: CompletionContext): CompletionResult | null => {
    const word = context.matchBefore(/\w+/);
    const before = word ? context.state.sliceDoc(Math.max(0, word.from - 1), word.from) : '';
    return word && !['.', '"', "'"].includes(before) ? { from: word.from, options, validFor: /^\w*$/ } : null;
  };
}

function language(tables: Known[]) {
  return [sql({ dialect, schema: namespace(tables), upperCaseKeywords: false }), dialect.language.data.of({ autocomplete: columnsOf(tables) })];
}

/** What is typed over a selection is put there by the editor. A browser that did it would keep the looks of what was there, by a style that
 * the page's policy forbids. */
const typedOver = EditorView.domEventHandlers({
  beforeinput: (event, view) => {
    const { main, ranges } = view.state.selection;
    const text = event.inputType === 'insertText' ? event.data : null;
    if (!text || main.empty || ranges.length > 1 || event.isComposing || view.composing) return false;
    const insert = () => view.state.update(view.state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true });
    const handlers = view.state.facet(EditorView.inputHandler);
    if (!handlers.some((handler) => handler(view, main.from, main.to, text, insert))) view.dispatch(insert());
    event.preventDefault();
    return true;
  },
});

/** Puts an editor into `parent`, which it has for itself. It stands below a root of its own, since only there its styles are such as a strict
 * policy allows: no elements, but sheets that are adopted. */
export function editor(parent: HTMLElement, text: string, label: string, told: Told): Editor {
  const root = parent.shadowRoot ?? parent.attachShadow({ mode: 'open' });
  const tables = new Compartment();
  const run = () => {
    told.run();
    return true;
  };
  const view = new EditorView({
    parent: root,
    root,
    state: EditorState.create({
      doc: text,
      extensions: [
        Prec.highest(keymap.of([{ key: 'Mod-Enter', run, preventDefault: true }, { key: 'Tab', run: acceptCompletion }])),
        lineNumbers(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false }),
        typedOver,
        highlightActiveLine(),
        syntaxHighlighting(colours),
        placeholder('select * from …'),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap]),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false' }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) told.changed(update.state.doc.toString());
        }),
        tables.of(language([])),
        look,
      ],
    }),
  });
  return {
    setText: (now) => {
      const length = view.state.doc.length;
      if (view.state.doc.toString() !== now) view.dispatch({ changes: { from: 0, to: length, insert: now } });
    },
    insert: (piece) => {
      view.dispatch(view.state.replaceSelection(piece));
      view.focus();
    },
    setTables: (known) => view.dispatch({ effects: tables.reconfigure(language(known)) }),
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}

