"""Rows into rows."""

from . import types
from .errors import ConfigError
from .kernels import Column
from .plugin import Plugin


class Rows:
    """The rows of a call. `rows["size"]` is a column as a list; only the columns that are asked for are copied."""

    def __init__(self, count, columns, read, hold):
        """`columns` are the types by name; `read` gives the stored values of one, `hold` the column where it is."""
        self._count, self.columns, self._read, self._hold, self._known = count, columns, read, hold, {}

    def __len__(self):
        return self._count

    def __contains__(self, name):
        return name in self.columns

    def held(self, name):
        """The column where the host holds it, for `spout.kernels`; nothing is copied."""
        return Column(self._hold(self._sure(name)))

    def _sure(self, name):
        if name not in self.columns:
            raise ConfigError(f"there is no column `{name}`; there are {', '.join(self.columns)}")
        return name

    def __getitem__(self, name):
        self._sure(name)
        if name not in self._known:
            kind = self.columns[name]
            self._known[name] = [types.python(kind, value) for value in self._read(name)]
        return self._known[name]


class Answer:
    """What a handler answers, ready to be handed over."""

    def __init__(self, case, value=None):
        self.case, self.value = case, value


def take(indices):
    """These rows, in this order, each at most once."""
    return Answer("taken", list(indices))


def add(**columns):
    """All rows, with these columns added or replaced: lists, whose types are in the handler's `columns`; or columns that the host holds,
    which have their types."""
    held = sum(isinstance(column, Column) for column in columns.values())
    if held in (0, len(columns)):
        return Answer("hold" if held else "add", columns)
    raise ValueError("some of these columns are lists and some are the host's; `cast` and lists do not mix")


def new(rows):
    """New rows, as dicts of the handler's `columns`."""
    return Answer("new", list(rows))


class Handler(Plugin):
    """Rows into rows; what it answers depends on the rows it has seen, never on how they were cut into calls.

    `columns` declares what `add` and `new` make. State is `self.state`, a keyed map, and small things in `snapshot`.
    """

    columns = {}
    #: "add" or "new", where every answer is that, with all of `columns`: what it makes is then known before any row.
    answers = None
    #: The keyed state; None in a spec with `stateless: true`.
    state = None

    def process(self, rows):
        """Which rows go on: True for all, a list of one truth a row, a column of booleans that the host holds, `take`, `add` or `new`;
        None or False for none."""
        raise NotImplementedError

    def tick(self, watermark_ms):
        """Every row before this event time was processed. The rows it releases, as dicts of `columns`; or them and the
        time at which there is something to do even if no row comes."""
        return []

    def finish(self):
        """The rows still held back, as dicts, once no more come."""
        return []

    def snapshot(self):
        """What is not in `state`, as bytes: equal states give equal bytes (`spout.state.canonical` makes them)."""
        return b""

    def restore(self, snapshot):
        """Resumes from what `snapshot` returned."""
        if snapshot:
            raise ConfigError("there is a snapshot, and this handler cannot resume from it")

    def answer(self, rows):
        """`process` with its answer checked: an `Answer` with stored columns."""
        answer = self.process(rows)
        if answer is None or answer is False:
            return None
        if answer is True or answer is rows:
            return Answer("all")
        if isinstance(answer, Column):
            return Answer("selected", answer._own)
        if isinstance(answer, Answer):
            if answer.case == "hold":
                return Answer("hold", [(name, column._own) for name, column in answer.value.items()])
            if answer.case == "add":
                return Answer("add", self._columns(answer.value, len(rows)))
            return Answer("new", self.stored(answer.value)) if answer.case == "new" else answer
        mask = list(answer)
        if len(mask) != len(rows):
            raise ValueError(f"{len(mask)} answers for {len(rows)} rows; return one truth a row, or take, add or new")
        return Answer("masked", [bool(keep) for keep in mask])

    def output(self, columns):
        """The types of every answer to rows with `columns`, which are types by name; None where `answers` does not say."""
        if self.answers is None:
            return None
        if self.answers not in ("add", "new"):
            raise ConfigError(f"`answers` of {type(self).__name__} is {self.answers!r}; write 'add' or 'new', or leave it out")
        made = types.columns(self.columns)
        return {**columns, **made} if self.answers == "add" else made

    def stored(self, rows):
        """Types and stored values, by column, of dicts."""
        kinds = types.columns(self.columns)
        for row in rows:
            if unknown := row.keys() - kinds.keys():
                raise ValueError(f"a row has `{sorted(unknown)[0]}`, which `columns` does not declare")
        return kinds, {name: self._stored(name, kind, [row.get(name) for row in rows]) for name, kind in kinds.items()}

    def ticked(self, watermark_ms):
        """`tick` with its answer checked: types and stored values, and the next time."""
        answer = self.tick(watermark_ms)
        rows, following = answer if isinstance(answer, tuple) else (answer, None)
        return (self.stored(rows) if rows else None), following

    def _columns(self, values, count):
        kinds = {}
        for name, column in values.items():
            if name not in self.columns:
                raise ValueError(f"the column `{name}` is not declared in `columns`")
            if len(column) != count:
                raise ValueError(f"the column `{name}` has {len(column)} values for {count} rows")
            kinds[name] = types.parse(self.columns[name])
        return kinds, {name: self._stored(name, kind, values[name]) for name, kind in kinds.items()}

    @staticmethod
    def _stored(name, kind, values):
        try:
            return [types.stored(kind, value) for value in values]
        except ValueError as error:
            raise ValueError(f"column `{name}`: {error}") from None
