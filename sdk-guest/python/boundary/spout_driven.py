"""Runs a spout, with the repo that the host keeps."""

from componentize_py_types import Err
from spout import errors
from spout.driven import File, Pfs
from spout_boundary import lower_parts, lower_schema, open_plugin, told
from wit_world.imports import marker, pfs
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


def file(found):
    return File(found.path, found.size, found.sha256, found.rows)


class Repo:
    def marker(self):
        return marker.load()

    def begin(self):
        with raised():
            return Commit(pfs.Commit.begin())

    def list(self, below, after, limit):
        with raised():
            return [file(found) for found in pfs.list(below, after, limit)]

    def inspect(self, path):
        with raised():
            found = pfs.inspect(path)
        return None if found is None else file(found)

    def read(self, path, start, length):
        with raised():
            return pfs.read(path, start, length)


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


def run(name, settings):
    with told():
        plugin = open_plugin("spout", name, settings)
        plugin.open()
        plugin.run(Pfs(Repo()))
