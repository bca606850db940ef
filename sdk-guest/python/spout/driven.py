"""A source that drives itself, and its output repo."""

from dataclasses import dataclass

from . import types
from .plugin import Plugin


class Spout(Plugin):
    """A source that drives itself: it decides what belongs into a commit, and when one is made.

    After a crash or a restart it is run again, with what is committed unchanged and what was not finished gone: one that
    continues where `pfs.marker()` says commits everything exactly once. The directory NAME that a spec grants is at `/NAME`;
    `asks` names those that the plugin needs.
    """

    asks = ()

    def run(self, pfs):
        """Runs until there is nothing more to produce, or `draining()` is true; wait with `pause`."""
        raise NotImplementedError


@dataclass
class File:
    """A file of the newest commit; `rows` for a table."""

    path: str
    size: int
    sha256: str = ""
    rows: int | None = None


class Pfs:
    """The output repo of a spout: what it commits, and what it has committed."""

    def __init__(self, repo):
        self._repo = repo

    def marker(self):
        """The marker that the newest finished commit left, as bytes; None before the first."""
        return self._repo.marker()

    def begin(self):
        """Begins a commit. Several may be open at once; they come in the order in which they are finished.

        `with pfs.begin() as commit:` finishes it at the end of the block, or aborts it if the block raises.
        """
        return Commit(self._repo.begin())

    def list(self, below="/"):
        """The files of the newest commit below a directory."""
        after = None
        while files := self._repo.list(below, after, 1000):
            yield from files
            after = files[-1].path

    def inspect(self, path):
        """A file of the newest commit; None if there is none."""
        return self._repo.inspect(path)

    def read(self, path, start=0, length=None):
        """Bytes of a file of the newest commit: all of them, or `length` from `start` on."""
        parts, left = [], length
        while left is None or left > 0:
            part = self._repo.read(path, start, 1 << 20 if left is None else min(left, 1 << 20))
            if not part:
                break
            parts.append(part)
            start += len(part)
            left = None if left is None else left - len(part)
        return b"".join(parts)


def _bytes(data):
    return data.encode() if isinstance(data, str) else bytes(data)


def _table(columns, rows):
    """The types and the stored values of rows, dicts of `columns`."""
    kinds = types.columns(columns)
    rows = list(rows)
    return kinds, {name: [types.stored(kind, row.get(name)) for row in rows] for name, kind in kinds.items()}


class Commit:
    """One atomic commit: files, rows and marker become visible together or not at all."""

    def __init__(self, commit):
        self._commit = commit

    def put(self, path, data):
        """Puts a file; `spout.overwrite` of the spec says what becomes of one that is there."""
        self._commit.put_file(path, None, _bytes(data))

    def append(self, path, data):
        """Puts bytes behind those that a file has."""
        self._commit.put_file(path, "append", _bytes(data))

    def overwrite(self, path, data):
        """Puts bytes in the place of those that a file has."""
        self._commit.put_file(path, "overwrite", _bytes(data))

    def open_file(self, path, how=None):
        """Begins a file that is written piece by piece; `how` is "append", "overwrite" or what the spec says."""
        return Writer(self._commit.open_file(path, how))

    def put_rows(self, columns, rows):
        """Puts rows of the pipeline, dicts of `columns`: they pass the handlers and consumers of the spec."""
        self._put_batch(None, None, columns, rows)

    def put_table(self, path, columns, rows, how=None):
        """Puts rows as a file, in the format that its name says: .parquet, .arrow, .ndjson or .csv."""
        self._put_batch(path, how, columns, rows)

    def _put_batch(self, path, how, columns, rows):
        self._commit.put_batch(path, how, *_table(columns, rows))

    def delete_file(self, path):
        """Deletes a file that the newest commit has, or takes back what this one has put there."""
        self._commit.delete_file(path)

    def set_marker(self, marker):
        """What `pfs.marker()` returns once this commit is finished: bytes, or a text; a mebibyte at most."""
        self._commit.set_marker(_bytes(marker))

    def finish(self):
        """Makes the commit and returns its id when it is durable; that of the newest one, if this has nothing in it."""
        return self._commit.finish()

    def abort(self):
        """Ends the commit without making it."""
        self._commit.abort()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.abort() if kind else self.finish()


class Writer:
    """A file on its way into a commit, which has it once it is closed.

    `with commit.open_file(…) as file:` closes it at the end of the block, or abandons it if the block raises.
    """

    def __init__(self, writer):
        self._writer = writer

    def write(self, data):
        """Adds bytes to the file."""
        data = _bytes(data)
        for start in range(0, len(data), 1 << 20):
            self._writer.write(data[start:start + (1 << 20)])
        return len(data)

    def close(self):
        """Ends the file; its size."""
        return self._writer.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._writer.abort() if kind else self.close()
