"""Runs a spout, with the repo that the host keeps."""

from spout.driven import File, Pfs
from spout_boundary import open_plugin, told
from spout_pfs import Commit, raised
from wit_world.imports import marker, pfs


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


def run(name, settings):
    with told():
        plugin = open_plugin("spout", name, settings)
        plugin.open()
        plugin.run(Pfs(Repo()))
