"""Commits that are being filled, as the host has them."""

from componentize_py_types import Err
from spout import errors
from spout_boundary import lower_parts, lower_schema
from wit_world.imports import pfs
from wit_world.imports import types as t


class raised:
    """`with raised():` what the host refuses reaches the author as what it stands for."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not isinstance(error, Err):
            return
        match error.value:
            case t.Error_Retriable(fault):
                raise errors.Retriable(fault.message, fault.code, fault.retry_after_ms) from None
            case t.Error_Fatal(fault) | t.Error_Other(fault) | t.Error_InvalidConfig(fault):
                raise errors.Fatal(fault.message, fault.code) from None
        raise errors.Fatal("the host returned an error that is not one of a repo", "pfs") from None


def mode(how):
    return None if how is None else pfs.Mode[how.upper()]


class Commit:
    def __init__(self, commit):
        self.commit = commit

    def put_file(self, path, how, data):
        with raised():
            self.commit.put_file(path, mode(how), data)

    def open_file(self, path, how):
        with raised():
            return Writer(self.commit.open_file(path, mode(how)))

    def put_batch(self, path, how, kinds, values):
        with raised():
            self.commit.put_batch(path, mode(how), lower_schema(kinds), lower_parts(kinds, values))

    def delete_file(self, path):
        with raised():
            self.commit.delete_file(path)

    def set_marker(self, value):
        with raised():
            self.commit.set_marker(value)

    def finish(self):
        with raised():
            return pfs.Commit.finish(self.commit)

    def abort(self):
        self.commit.__exit__(None, None, None)


class Writer:
    def __init__(self, writer):
        self.writer = writer

    def write(self, data):
        with raised():
            self.writer.write(data)

    def close(self):
        with raised():
            return pfs.Writer.close(self.writer)

    def abort(self):
        self.writer.__exit__(None, None, None)
