"""The output repo of a spout under test, in memory."""

from .driven import File, Pfs
from .errors import Fatal


class Repo:
    """What a spout has finished. Run it again on the same one to see that it continues from its marker."""

    def __init__(self):
        self.files, self.tables, self.rows, self.commits = {}, {}, [], 0
        self._marker, self._most = None, None

    def pfs(self, commits=None):
        """The repo as a spout sees it; after so many `commits` it fails, as if the host were killed then."""
        self._most = None if commits is None else self.commits + commits
        return Pfs(self)

    def marker(self):
        return self._marker

    def begin(self):
        return _Commit(self)

    def list(self, below, after, limit):
        below = below.rstrip("/") + "/"
        paths = sorted(path for path in self.files if path.startswith(below) and (after is None or path > after))
        return [self.inspect(path) for path in paths[:limit]]

    def inspect(self, path):
        data = self.files.get(_canonical(path))
        return None if data is None else File(_canonical(path), len(data))

    def read(self, path, start, length):
        if _canonical(path) not in self.files:
            raise Fatal(f"the newest commit has no file {path}", "pfs.E0339")
        return self.files[_canonical(path)][start:start + length]


def _canonical(path):
    inner = path.removeprefix("/")
    if any(segment in ("", ".", "..") for segment in inner.split("/")):
        raise Fatal(f"`{path}` is not the path of a file", "pfs.E0516")
    return "/" + inner


class _Commit:
    def __init__(self, repo):
        self.repo, self.puts, self.marker = repo, [], None

    def put_file(self, path, how, data):
        self.puts.append((_canonical(path), how, data))

    def open_file(self, path, how):
        return _Writer(self, _canonical(path), how)

    def put_batch(self, path, how, kinds, values):
        from .testing import as_dicts
        rows = as_dicts(kinds, values)
        self.puts.append((path and _canonical(path), how, rows))

    def delete_file(self, path):
        self.puts.append((_canonical(path), "delete", None))

    def set_marker(self, marker):
        self.marker = marker

    def finish(self):
        repo = self.repo
        if repo._most is not None and repo.commits >= repo._most:
            raise Fatal("the test ends the run here", "test.killed")
        files, tables, rows = dict(repo.files), dict(repo.tables), list(repo.rows)
        for path, how, put in self.puts:
            if how == "delete":
                if files.pop(path, None) is None and tables.pop(path, None) is None:
                    raise Fatal(f"there is no file {path} to delete", "pfs.deleted")
            elif path is None:
                rows += put
            else:
                kept = tables if isinstance(put, list) else files
                kept[path] = put if how == "overwrite" else kept.get(path, type(put)()) + put
        if self.puts or self.marker is not None:
            repo.files, repo.tables, repo.rows = files, tables, rows
            repo._marker = repo._marker if self.marker is None else self.marker
            repo.commits += 1
        return str(repo.commits)

    def abort(self):
        self.puts = []


class _Writer:
    def __init__(self, commit, path, how):
        self.commit, self.path, self.how, self.data = commit, path, how, b""

    def write(self, data):
        self.data += data

    def close(self):
        self.commit.put_file(self.path, self.how, self.data)
        return len(self.data)

    def abort(self):
        self.data = b""
