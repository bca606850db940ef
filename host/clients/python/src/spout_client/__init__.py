"""A client of ``spout serve``: versioned repos in the words of pachyderm-sdk."""

from .client import Client, OpenCommit
from .errors import SpoutError
from .types import Branch, Changes, Commit, Event, File, FilePut, Pipeline, Put, Repo, Tag

__all__ = [
    "Branch",
    "Changes",
    "Client",
    "Commit",
    "Event",
    "File",
    "FilePut",
    "OpenCommit",
    "Pipeline",
    "Put",
    "Repo",
    "SpoutError",
    "Tag",
]
