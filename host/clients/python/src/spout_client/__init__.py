"""A client of ``spout serve``: versioned repos in the words of pachyderm-sdk."""

from .client import Client, OpenCommit
from .errors import SpoutError
from .types import (
    Branch,
    Changes,
    Commit,
    Event,
    File,
    FilePut,
    LogLine,
    Pipeline,
    PipelinesChanged,
    Plugin,
    PluginPut,
    PluginVersion,
    Put,
    Repo,
    Spec,
    Tag,
)

__all__ = [
    "Branch",
    "Changes",
    "Client",
    "Commit",
    "Event",
    "File",
    "FilePut",
    "LogLine",
    "OpenCommit",
    "Pipeline",
    "PipelinesChanged",
    "Plugin",
    "PluginPut",
    "PluginVersion",
    "Put",
    "Repo",
    "Spec",
    "SpoutError",
    "Tag",
]
