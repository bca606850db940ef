"""Runs plugin logic in plain Python: `decode`, `process`, `fetch`."""

from . import types
from .handler import Rows
from .imitation import Imitation
from .repo import Repo  # noqa: F401 (a spout under test has one)
from .source import Limits
from .state import Memory, State
from .transformer import InputFile, Output


def open(plugin, **settings):
    """The plugin as the host would open it; settings are written as in a spec."""
    text = {True: "true", False: "false"}
    opened = plugin([(name, text.get(value, str(value)) if isinstance(value, bool) else str(value))
                     for name, value in settings.items()])
    if hasattr(opened, "process"):
        opened.state = State(Memory())
    opened.open()
    return opened


def decode(decoder, *messages):
    """The rows of messages, and the reasons of those that have none, by message."""
    values, origins, faults = decoder.decode_batch(messages)
    rows = [{name: types.python(kind, values[name][at]) for name, kind in decoder.types().items()}
            for at in range(len(origins))]
    return rows, {at: reason for at, _, reason in faults}


def process(handler, columns, rows):
    """The rows that a handler passes on of `rows`, dicts of `columns`."""
    kinds = types.columns(columns)
    values = {name: [types.stored(kind, row.get(name)) for row in rows] for name, kind in kinds.items()}
    hold = lambda name: Imitation(types.python(kinds[name], value) for value in values[name])  # noqa: E731
    answer = handler.answer(Rows(len(rows), kinds, values.__getitem__, hold))
    handler.state.write_back()
    match answer and answer.case:
        case None:
            return []
        case "all":
            return list(rows)
        case "masked":
            return [row for row, keep in zip(rows, answer.value) if keep]
        case "taken":
            return [rows[at] for at in answer.value]
        case "selected":
            return [row for row, keep in zip(rows, answer.value.truths()) if keep]
        case "hold":
            return [row | {name: own.values[at] for name, own in answer.value} for at, row in enumerate(rows)]
        case case:
            made = as_dicts(*answer.value)
            return [row | more for row, more in zip(rows, made)] if case == "add" else made


def as_dicts(kinds, values):
    """Stored columns as dicts."""
    count = len(next(iter(values.values()), []))
    return [{name: types.python(kind, values[name][at]) for name, kind in kinds.items()} for at in range(count)]


def fetch(source, partition=0, start=0, messages=100):
    """One fetch."""
    return source.fetch(partition, start, Limits(messages, 1 << 20))


def transform(transformer, path, data):
    """The repo with what a transformer makes of a file, and nothing else."""
    repo = Repo()
    commit = repo.begin()
    transformer.transform(InputFile(_Whole(path, bytes(data))), Output(commit))
    commit.finish()
    return repo


class _Whole:
    def __init__(self, path, data):
        self.path, self.size, self._data = path, len(data), data

    def read(self, start, length):
        return self._data[start:start + length]
