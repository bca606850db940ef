"""Runs a transformer, with the file and the commit that the host lends."""

from spout.transformer import InputFile, Output
from spout_boundary import open_plugin, told
from spout_pfs import Commit, raised


class File:
    def __init__(self, file):
        self.file, self.path, self.size = file, file.path(), file.size()

    def read(self, start, length):
        with raised():
            return self.file.read(start, length)


def transform(name, file, output, settings):
    with told():
        plugin = open_plugin("transformer", name, settings)
        plugin.open()
        plugin.transform(InputFile(File(file)), Output(Commit(output)))
