"""Answers of the server."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Mapping, Optional, Type, TypeVar

T = TypeVar("T")


def of(kind: Type[T], answer: Mapping[str, Any]) -> T:
    """The fields of ``kind`` that an answer has; a newer server may say more."""
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in answer.items() if name in known})


@dataclass(frozen=True)
class Repo:
    """A repo."""

    name: str
    description: str = ""
    created_ms: int = 0
    branches: int = 0
    commits: int = 0


@dataclass(frozen=True)
class Branch:
    """A branch; ``head`` is the id of its newest commit."""

    name: str
    head: Optional[str] = None
    commits: int = 0
    pipeline: str = ""


@dataclass(frozen=True)
class Tag:
    """A name that keeps one commit."""

    name: str
    commit: str
    branch: str = ""


@dataclass(frozen=True)
class FilePut:
    """A file that a commit put."""

    path: str
    how: str
    size: int


@dataclass(frozen=True)
class Commit:
    """A version of a branch."""

    id: str
    repo: str
    branch: str
    number: int
    parent: Optional[str] = None
    started_ms: int = 0
    at_ms: int = 0
    pipeline: str = ""
    reason: str = ""
    rows: int = 0
    messages: int = 0
    tags: List[str] = field(default_factory=list)
    files: List[FilePut] = field(default_factory=list)
    removed: List[str] = field(default_factory=list)
    marker: Dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Commit":
        """The commit in an answer."""
        files = [FilePut(one["path"], one["how"], one["blob"]["size"]) for one in answer.get("files", [])]
        return of(cls, {**answer, "files": files})


@dataclass(frozen=True)
class File:
    """A file or, with ``type == "dir"``, a directory."""

    path: str
    type: str
    size: int
    rows: Optional[int] = None
    format: Optional[str] = None
    sha256: Optional[str] = None


@dataclass(frozen=True)
class Put:
    """A file that was put."""

    path: str
    size: int
    rows: Optional[int] = None


@dataclass(frozen=True)
class Changes:
    """What was changed, and by which commit; it can be seen once it is ``finished``."""

    repo: str
    branch: str
    commit: str
    finished: bool
    put: List[Put] = field(default_factory=list)
    deleted: List[str] = field(default_factory=list)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Changes":
        """The changes in an answer."""
        return of(cls, {**answer, "put": [of(Put, one) for one in answer.get("put", [])]})


@dataclass(frozen=True)
class Pipeline:
    """What a pipeline is doing, since when in milliseconds since 1970, and what its plugins count, by plugin and name.
    ``condition`` is that for people: ``catching-up``, ``waiting-to-restart``. ``partitions`` are in the answer about one pipeline
    only; what is not known of them is left out."""

    name: str
    state: str
    since_ms: int = 0
    commits: int = 0
    head: Optional[str] = None
    address: Optional[str] = None
    error: Optional[str] = None
    code: Optional[str] = None
    plugins: Dict[str, str] = field(default_factory=dict)
    counts: Dict[str, Any] = field(default_factory=dict)
    metrics: Dict[str, Any] = field(default_factory=dict)
    condition: str = "not-running"
    retry_at_ms: Optional[int] = None
    lag: Optional[int] = None
    time_lag_ms: Optional[int] = None
    readers: int = 0
    partition_count: int = 0
    last_commit: Optional[Dict[str, Any]] = None
    partitions: List[Dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Spec:
    """A pipeline that the store has by name; ``wanted`` is what is to become of it: ``running`` or ``stopped``."""

    name: str
    wanted: str
    head: Optional[str] = None
    commits: int = 0
    description: str = ""
    condition: str = "not-running"


@dataclass(frozen=True)
class PipelinesChanged:
    """What was done to pipelines, in a word, and the commit that says so; none where it was so already."""

    pipelines: List[str]
    done: str
    commit: Optional[str] = None


@dataclass(frozen=True)
class LogLine:
    """Something that a pipeline said; ``level`` is ``state`` where it does something else than before."""

    at_ms: int
    level: str
    text: str


@dataclass(frozen=True)
class PluginVersion:
    """A version of a plugin."""

    digest: str
    size: int


@dataclass(frozen=True)
class Plugin:
    """A plugin that the store keeps; ``newest`` is what its name stands for."""

    name: str
    newest: Optional[str] = None
    versions: List[PluginVersion] = field(default_factory=list)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Plugin":
        """The plugin in an answer."""
        return of(cls, {**answer, "versions": [of(PluginVersion, one) for one in answer.get("versions", [])]})


@dataclass(frozen=True)
class PluginPut:
    """A plugin that was put, and what it can be used as."""

    name: str
    digest: str
    size: int
    worlds: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """Something that a pipeline did."""

    name: str
    data: Dict[str, Any]
