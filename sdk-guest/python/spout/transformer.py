"""Files into files."""

import io

from .driven import Writer, _bytes, _table
from .plugin import Plugin


class Transformer(Plugin):
    """Makes files of a file. A pipeline with an `input` runs it for each file of that which was added or changed.

    What it makes of a file replaces what it made of that file before, and goes when the file goes. It must depend on the file
    and the settings alone.
    """

    asks = ()

    def transform(self, input, output):
        """Makes files of `input`, an `InputFile`, and puts them into `output`, an `Output`."""
        raise NotImplementedError


class InputFile(io.BufferedReader):
    """A file of the input repo, to be read as any binary file, line by line too; it may be larger than the memory.

    `path` is its path in the input repo, `size` its bytes.
    """

    def __init__(self, file):
        super().__init__(_Raw(file), 1 << 18)
        self.path, self.size = file.path, file.size


class _Raw(io.RawIOBase):
    def __init__(self, file):
        self._file, self._at = file, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        return self._at

    def tell(self):
        return self._at

    def readinto(self, to):
        data = self._file.read(self._at, min(len(to), 1 << 20))
        to[:len(data)] = data
        self._at += len(data)
        return len(data)


class Output:
    """The output of one file: what is put here is there as long as the file is as it was."""

    def __init__(self, files):
        self._files = files

    def put(self, path, data):
        """Puts a file."""
        self._files.put_file(path, "overwrite", _bytes(data))

    def append(self, path, data):
        """Puts bytes behind those that this call has put there."""
        self._files.put_file(path, "append", _bytes(data))

    def open_file(self, path):
        """Begins a file that is written piece by piece; use it in a `with` block, or close it."""
        return Writer(self._files.open_file(path, "overwrite"))

    def put_table(self, path, columns, rows):
        """Puts rows, dicts of `columns`, as a file, in the format that its name says: .parquet, .arrow, .ndjson or .csv."""
        self._files.put_batch(path, "append", *_table(columns, rows))

    def delete_file(self, path):
        """Takes back what this call has put at `path`."""
        self._files.delete_file(path)
