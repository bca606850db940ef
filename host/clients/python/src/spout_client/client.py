"""The verbs of a server."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
import uuid
from types import TracebackType
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Type, Union

from .errors import SpoutError
from .link import PART, Data, Link, form_of
from .types import (
    Branch,
    Changes,
    Commit,
    Event,
    File,
    LogLine,
    Pipeline,
    PipelinesChanged,
    Plugin,
    PluginPut,
    Repo,
    Spec,
    Tag,
    of,
)


def _segments(path: str) -> List[str]:
    return path.lstrip("/").split("/")


def _below(where: List[str], path: str) -> List[str]:
    return where if path in ("", "/") else [*where, *_segments(path.rstrip("/"))]


def _read_parts(answer: Any) -> Iterator[bytes]:
    while True:
        part = answer.read(PART)
        if not part:
            return
        yield part


class Client:
    """A server. Threads may share one."""

    def __init__(
        self,
        url: Optional[str] = None,
        token: Optional[str] = None,
        timeout: float = 60.0,
        context: Optional[ssl.SSLContext] = None,
    ) -> None:
        """The server at ``url``; without it, what ``SPOUT_SERVER`` and ``SPOUT_TOKEN`` say."""
        url = url or os.environ.get("SPOUT_SERVER") or "http://127.0.0.1:1653"
        self._link = Link(url, token or os.environ.get("SPOUT_TOKEN"), timeout, context)

    def close(self) -> None:
        """Closes the connection of this thread."""
        self._link.close()

    # Repos, branches, tags

    def create_repo(self, repo: str, description: str = "") -> None:
        """Creates a repo."""
        self._link.json("POST", ["repos"], body={"name": repo, "description": description})

    def delete_repo(self, repo: str, force: bool = False) -> None:
        """Deletes a repo; one that holds commits only by ``force``."""
        self._link.json("DELETE", ["repos", repo], {"force": force})

    def list_repo(self) -> List[Repo]:
        """All repos."""
        return [of(Repo, one) for one in self._link.json("GET", ["repos"])]

    def create_branch(self, repo: str, branch: str, head: Optional[str] = None, move: bool = False) -> None:
        """Creates a branch at a commit, or empty; moves one that exists if ``move``."""
        self._link.json("POST", ["repos", repo, "branches"], body={"name": branch, "head": head, "move": move})

    def delete_branch(self, repo: str, branch: str) -> None:
        """Deletes a branch."""
        self._link.json("DELETE", ["repos", repo, "branches", branch])

    def list_branch(self, repo: str) -> List[Branch]:
        """The branches of a repo."""
        return [of(Branch, one) for one in self._link.json("GET", ["repos", repo, "branches"])]

    def create_tag(self, repo: str, tag: str, head: str = "master", move: bool = False) -> None:
        """Creates a tag that keeps a commit; moves one that exists if ``move``."""
        self._link.json("POST", ["repos", repo, "tags"], body={"name": tag, "head": head, "move": move})

    def delete_tag(self, repo: str, tag: str) -> None:
        """Deletes a tag."""
        self._link.json("DELETE", ["repos", repo, "tags", tag])

    def list_tag(self, repo: str) -> List[Tag]:
        """The tags of a repo."""
        return [of(Tag, one) for one in self._link.json("GET", ["repos", repo, "tags"])]

    # Commits

    def commit(self, repo: str, branch: str = "master") -> "OpenCommit":
        """A commit to fill in a ``with`` block: it is finished at the end of the block, and dropped where that raises."""
        return OpenCommit(self, repo, branch)

    def list_commit(self, repo: str, at: str = "master", limit: Optional[int] = None) -> List[Commit]:
        """A commit and those before it, newest first."""
        return [Commit.of(one) for one in self._link.json("GET", ["repos", repo, "commits"], {"at": at, "limit": limit})]

    def inspect_commit(self, repo: str, at: str = "master") -> Commit:
        """A commit: the head of a branch, a tag, an id, ``master~2``."""
        return Commit.of(self._link.json("GET", ["repos", repo, "commits", at]))

    def subscribe_commit(
        self, repo: str, branch: str = "master", after: Optional[str] = None, all: bool = False
    ) -> Iterator[Commit]:
        """Commits of a branch as they are made, without end: those after a commit, all of them, or those from now on.
        It goes on where it was after the connection breaks."""
        path = ["repos", repo, "branches", branch, "events"]
        for event in self._events(path, {"after": after, "all": all}):
            if event.name == "commit":
                yield Commit.of(event.data)

    def marker(self, repo: str, at: str = "master") -> Dict[str, Any]:
        """How far the partitions of a pipeline were at a commit."""
        marker: Dict[str, Any] = self._link.json("GET", ["repos", repo, "marker"], {"at": at})["marker"]
        return marker

    def seek_marker(
        self,
        pipeline: str,
        to: Union[str, int, bytes],
        branch: Optional[str] = None,
        partitions: Sequence[str] = (),
        producer: Optional[str] = None,
        spec: Optional[str] = None,
        why: str = "",
        force: bool = False,
    ) -> Dict[str, Any]:
        """Makes a stopped pipeline go on somewhere else: at ``"earliest"``, ``"latest"``, an offset, where it was at a commit
        (``"~2"``, an id), or, for a spout, with these bytes as its marker. Says what was made, the marker before and after."""
        there: Any
        if isinstance(to, bytes):
            there = {"marker": base64.b64encode(to).decode()}
        elif isinstance(to, int):
            there = {"offset": to}
        else:
            there = to if to in ("earliest", "latest") else {"commit": to}
        body: Dict[str, Any] = {"to": there, "partitions": list(partitions), "why": why, "force": force}
        if producer is not None:
            body["producer"] = producer
        if spec is not None:
            body["spec"] = {"text": spec}
        query = {} if branch is None else {"branch": branch}
        sought: Dict[str, Any] = self._link.json("POST", ["pipelines", pipeline, "seek"], query, body)
        return sought

    # Files

    def put_file(self, repo: str, to: str, path: str, data: Data, append: bool = False) -> Changes:
        """Puts a file into a branch, in a commit of its own, or into a started commit. It is sent while it is read."""
        where = ["repos", repo, "files", to, *_segments(path)]
        with self._link.send("PUT", where, {"append": append}, data) as answer:
            return Changes.of(json.loads(answer.read()))

    def put_files(self, repo: str, to: str, files: Mapping[str, Data], append: bool = False) -> Changes:
        """Puts files, by their paths, in one commit: all of them or none. They are sent while they are read."""
        boundary = uuid.uuid4().hex
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        where, form = ["repos", repo, "files", to], form_of(files, boundary)
        with self._link.send("POST", where, {"append": append}, form, headers) as answer:
            return Changes.of(json.loads(answer.read()))

    def put_tar(self, repo: str, to: str, data: Data, path: str = "/", append: bool = False) -> Changes:
        """Puts the files of a tar archive, which may be packed with gzip, below a directory: all of them or none."""
        with self._link.send("PUT", _below(["repos", repo, "tar", to], path), {"append": append}, data) as answer:
            return Changes.of(json.loads(answer.read()))

    def split_file(
        self,
        repo: str,
        to: str,
        path: str,
        data: Data,
        by: str = "line",
        header_records: int = 0,
        target_file_datums: int = 0,
        target_file_bytes: int = 0,
        append: bool = False,
    ) -> Changes:
        """Puts the records of ``data`` (``line``, ``json`` or ``csv``) as files of their own below a directory, in one commit.
        Each has one record, or as many as the targets say, and begins with the header records."""
        query = {
            "append": append,
            "by": by,
            "header_records": header_records,
            "target_file_datums": target_file_datums,
            "target_file_bytes": target_file_bytes,
        }
        with self._link.send("PUT", ["repos", repo, "split", to, *_segments(path)], query, data) as answer:
            return Changes.of(json.loads(answer.read()))

    def delete_file(self, repo: str, to: str, path: str, recursive: bool = False) -> Changes:
        """Deletes a file, or a directory with everything below it."""
        where = ["repos", repo, "files", to, *_segments(path)]
        return Changes.of(self._link.json("DELETE", where, {"recursive": recursive}))

    def copy_file(self, source: str, to: str, append: bool = False) -> Changes:
        """Copies ``repo@branch:/path`` to another; within a repo no byte is copied."""
        repo = to.split("@")[0]
        return Changes.of(
            self._link.json("POST", ["repos", repo, "copy"], body={"from": source, "to": to, "append": append})
        )

    def list_file(self, repo: str, at: str = "master", path: str = "/", recursive: bool = False) -> List[File]:
        """The files of a commit, or of a directory of it."""
        query = {"at": at, "path": path, "recursive": recursive}
        return [of(File, one) for one in self._link.json("GET", ["repos", repo, "files"], query)["files"]]

    def glob_file(self, repo: str, pattern: str, at: str = "master") -> List[File]:
        """The files of a commit whose paths fit a pattern."""
        query = {"at": at, "pattern": pattern}
        return [of(File, one) for one in self._link.json("GET", ["repos", repo, "glob"], query)["files"]]

    def get_file(
        self, repo: str, at: str, path: str, start: Optional[int] = None, stop: Optional[int] = None
    ) -> bytes:
        """The bytes of a file, or those from ``start`` up to ``stop``."""
        return b"".join(self.stream_file(repo, at, path, start, stop))

    def stream_file(
        self, repo: str, at: str, path: str, start: Optional[int] = None, stop: Optional[int] = None
    ) -> Iterator[bytes]:
        """The same in parts, for a file that does not fit in memory."""
        headers = {}
        if start is not None or stop is not None:
            headers["range"] = f"bytes={start or 0}-{'' if stop is None else stop - 1}"
        with self._link.send("GET", ["repos", repo, "files", at, *_segments(path)], headers=headers) as answer:
            yield from _read_parts(answer)

    def get_tar(self, repo: str, at: str = "master", path: str = "/") -> Iterator[bytes]:
        """The files of a commit, or of a directory of it, as a tar archive, in parts."""
        with self._link.send("GET", _below(["repos", repo, "tar", at], path)) as answer:
            yield from _read_parts(answer)

    # Upkeep

    def compact(self, repo: str, branch: str = "master", target: int = 64 << 20) -> Dict[str, Any]:
        """Makes few large Parquet files of many small ones, of about ``target`` bytes each, in one commit. Says how many files
        there were ``before`` and are ``after``, their ``rows``, and the ``commit``, which is ``None`` where nothing was to do."""
        where = ["repos", repo, "branches", branch, "compact"]
        done: Dict[str, Any] = self._link.json("POST", where, body={"target": target})
        return done

    def publish(self, repo: str, branch: str = "master", rebuild: bool = False) -> Dict[str, Any]:
        """Brings the Delta tables of a branch up to date: the ``tables``, and the ``failures`` of those that are not."""
        where = ["repos", repo, "branches", branch, "publish"]
        published: Dict[str, Any] = self._link.json("POST", where, {"rebuild": rebuild})
        return published

    def gc(self, repo: str, min_age: float = 24 * 3600, dry_run: bool = False) -> Dict[str, Any]:
        """Removes from a repo what it no longer keeps and nothing leads to, unless that is younger than ``min_age`` seconds. Says
        how many ``records``, ``objects`` and ``bytes`` went, and how many were too ``young``."""
        body = {"repo": repo, "min_age_ms": round(min_age * 1000), "dry_run": dry_run}
        collected: Dict[str, Any] = self._link.json("POST", ["gc"], body=body)
        return collected

    def fsck(self, repo: Optional[str] = None, depth: str = "everything", repair: bool = False) -> Dict[str, Any]:
        """Reads what a repo holds, or all do: only its records (``structure``), every byte, or every table too (``decoded``). What
        is wrong is in ``findings``, the worst first."""
        body: Dict[str, Any] = {"depth": depth, "repair": repair}
        if repo is not None:
            body["repo"] = repo
        report: Dict[str, Any] = self._link.json("POST", ["fsck"], body=body)
        return report

    # Queries and pipelines

    def sql(self, query: str, at: Optional[List[str]] = None) -> Iterator[Dict[str, Any]]:
        """The rows of a query as they are found; ``at`` names commits, as in ``["events@master~2"]``."""
        body = json.dumps({"query": query, "at": at or []}).encode()
        headers = {"content-type": "application/json"}
        with self._link.send("POST", ["sql"], {"format": "ndjson"}, body, headers) as answer:
            for line in answer:
                yield json.loads(line)

    def list_pipeline(self) -> List[Pipeline]:
        """What the pipelines of the server are doing."""
        return [of(Pipeline, one) for one in self._link.json("GET", ["pipelines"])]

    def inspect_pipeline(self, name: str) -> Pipeline:
        """What a pipeline is doing."""
        return of(Pipeline, self._link.json("GET", ["pipelines", name]))

    def list_spec(self) -> List[Spec]:
        """The pipelines that the store has by name, also those that are not to run."""
        return [of(Spec, one) for one in self._link.json("GET", ["specs"])]

    def create_pipeline(self, *specs: str) -> PipelinesChanged:
        """Creates the pipelines of these specs, which are YAML or JSON; all of them or none."""
        body = {"specs": [{"text": spec} for spec in specs]}
        return of(PipelinesChanged, self._link.json("POST", ["pipelines"], body=body))

    def update_pipeline(self, *specs: str, reprocess: bool = False) -> PipelinesChanged:
        """Gives pipelines another spec; all of them or none. With ``reprocess`` they read their sources anew."""
        body = {"specs": [{"text": spec} for spec in specs], "reprocess": reprocess}
        return of(PipelinesChanged, self._link.json("PUT", ["pipelines"], body=body))

    def start_pipeline(self, name: str) -> PipelinesChanged:
        """Has a pipeline run again that was stopped; it goes on where it was."""
        return of(PipelinesChanged, self._link.json("POST", ["pipelines", name, "start"]))

    def stop_pipeline(self, name: str) -> PipelinesChanged:
        """Has a pipeline commit what it has read, and stop."""
        return of(PipelinesChanged, self._link.json("POST", ["pipelines", name, "stop"]))

    def restart_pipeline(self, name: str) -> PipelinesChanged:
        """Has a pipeline commit what it has read, stop, and start again; one that was stopped or has failed starts."""
        return of(PipelinesChanged, self._link.json("POST", ["pipelines", name, "restart"]))

    def flush_pipeline(self, name: str) -> PipelinesChanged:
        """Has a running pipeline, and those that are linked with it, commit what they have read now."""
        return of(PipelinesChanged, self._link.json("POST", ["pipelines", name, "flush"]))

    def skip_messages(
        self,
        pipeline: str,
        partition: str,
        offset: Optional[int] = None,
        count: int = 1,
        branch: Optional[str] = None,
        producer: Optional[str] = None,
        why: str = "",
        force: bool = False,
    ) -> Dict[str, Any]:
        """Makes a paused pipeline pass over messages of a partition that it would read next. Says what was made, the marker
        before and after."""
        body = {"partition": partition, "offset": offset, "count": count, "producer": producer, "why": why, "force": force}
        body = {key: value for key, value in body.items() if value is not None}
        query = {} if branch is None else {"branch": branch}
        skipped: Dict[str, Any] = self._link.json("POST", ["pipelines", pipeline, "skip"], query, body)
        return skipped

    def delete_pipeline(self, name: str) -> PipelinesChanged:
        """Removes a pipeline; its repo stays."""
        return of(PipelinesChanged, self._link.json("DELETE", ["pipelines", name]))

    def logs(self, name: str, recent: int = 100, follow: bool = False) -> Iterator[LogLine]:
        """What a pipeline has said lately, oldest first; with ``follow`` also what it says from then on, without end."""
        query = {"recent": recent, "follow": follow}
        with self._link.send("GET", ["pipelines", name, "log"], query, endless=follow) as answer:
            for line in answer:
                # Without anything, it only says that the server is still there.
                if line.strip():
                    yield of(LogLine, json.loads(line))

    # Plugins

    def put_plugin(self, name: str, data: Data) -> PluginPut:
        """Puts a version of a plugin, which its name stands for from now on; ``NAME@digest`` in a spec is this version for ever."""
        headers = {"content-type": "application/wasm"}
        with self._link.send("PUT", ["plugins", name], body=data, headers=headers) as answer:
            return of(PluginPut, json.loads(answer.read()))

    def list_plugin(self) -> List[Plugin]:
        """The plugins that the store keeps."""
        return [Plugin.of(one) for one in self._link.json("GET", ["plugins"])]

    def inspect_plugin(self, name: str) -> Plugin:
        """A plugin that the store keeps."""
        return Plugin.of(self._link.json("GET", ["plugins", name]))

    def delete_plugin(self, name: str) -> Plugin:
        """Removes all versions of a plugin that no pipeline uses."""
        return Plugin.of(self._link.json("DELETE", ["plugins", name]))

    def events(self, pipeline: Optional[str] = None) -> Iterator[Event]:
        """What pipelines do from now on, without end."""
        path = ["events"] if pipeline is None else ["pipelines", pipeline, "events"]
        for event in self._events(path, {}):
            yield event

    def _events(self, path: List[str], query: Dict[str, object]) -> Iterator[Event]:
        last: Optional[str] = None
        pause = 0.1
        while True:
            try:
                headers = {} if last is None else {"last-event-id": last}
                with self._link.send("GET", path, query, headers=headers, endless=True) as answer:
                    for id, event in _read(answer):
                        pause, last = 0.1, id or last
                        if event is not None:
                            yield event
            except SpoutError as error:
                # What is wrong with the request stays wrong.
                if error.status != 0 and error.status < 500:
                    raise
            except OSError:
                pass
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


def _read(lines: Any) -> Iterator[Tuple[Optional[str], Optional[Event]]]:
    """Events, each with the id to go on after, which may come alone."""
    id: Optional[str] = None
    name, data = "", ""
    for raw in lines:
        line = raw.decode().rstrip("\r\n")
        key, _, value = line.partition(": ")
        if line == "":
            if id or data:
                yield id, Event(name, json.loads(data)) if data else None
            id, name, data = None, "", ""
        elif key == "id":
            id = value
        elif key == "event":
            name = value
        elif key == "data":
            data += value


class OpenCommit:
    """A commit that is being filled. Nothing of it can be seen before it is finished."""

    def __init__(self, client: Client, repo: str, branch: str) -> None:
        self._client = client
        self.repo = repo
        self.branch = branch
        self.id = ""
        """The id that it has, from the beginning of the block on."""

    def __enter__(self) -> "OpenCommit":
        started = self._client._link.json("POST", ["repos", self.repo, "started"], body={"branch": self.branch})
        self.id = started["commit"]
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        here = ["repos", self.repo, "started", self.id]
        if kind is None:
            self._client._link.json("POST", [*here, "finish"])
            return
        try:
            self._client._link.json("DELETE", here)
        except SpoutError:
            # It stays among the started commits; what went wrong first is what counts.
            pass

    def put_file(self, path: str, data: Data, append: bool = False) -> Changes:
        """Puts a file."""
        return self._client.put_file(self.repo, self.id, path, data, append)

    def put_files(self, files: Mapping[str, Data], append: bool = False) -> Changes:
        """Puts files, by their paths."""
        return self._client.put_files(self.repo, self.id, files, append)

    def put_tar(self, data: Data, path: str = "/", append: bool = False) -> Changes:
        """Puts the files of a tar archive below a directory."""
        return self._client.put_tar(self.repo, self.id, data, path, append)

    def delete_file(self, path: str, recursive: bool = False) -> Changes:
        """Deletes a file, or a directory with everything below it."""
        return self._client.delete_file(self.repo, self.id, path, recursive)
