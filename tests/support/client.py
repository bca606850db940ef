"""What a user of the Python client does, against the server that SPOUT_SERVER names."""

import io
import os
import tarfile
import threading
import time

from spout_client import Client, SpoutError

client = Client()
client.create_repo("r", "of Python")
assert [(repo.name, repo.description) for repo in client.list_repo()] == [("r", "of Python")]

put = client.put_file("r", "master", "/text.txt", "one")
assert put.finished and put.put[0].size == 3, put
client.put_file("r", "master", "/text.txt", io.BytesIO(b"two"), append=True)
assert client.get_file("r", "master", "/text.txt") == b"onetwo"
assert client.get_file("r", "master", "/text.txt", 2, 4) == b"et"
large = bytes(range(256)) * 40000
client.put_file("r", "master", "/dir/large file%.bin", (large[at : at + 100000] for at in range(0, len(large), 100000)))
assert client.get_file("r", "master", "/dir/large file%.bin") == large

with client.commit("r", "master") as commit:
    commit.put_file("/a", b"a")
    commit.put_file("/b", b"b")
    commit.delete_file("/b")
    assert [file.path for file in client.list_file("r", "master")] == ["/dir/", "/text.txt"]
assert client.inspect_commit("r").id == commit.id
assert [file.path for file in client.list_file("r", recursive=True)] == ["/a", "/dir/large file%.bin", "/text.txt"]
assert [file.path for file in client.glob_file("r", "**/*.txt")] == ["/text.txt"]

try:
    with client.commit("r") as dropped:
        dropped.put_file("/never", b"never")
        raise KeyError("mine")
except KeyError:
    pass
try:
    client.get_file("r", "master", "/never")
    raise AssertionError("it can be seen")
except SpoutError as error:
    assert (error.status, error.code) == (404, "E0517"), error
assert client.get_file("r", "master", "/a") == b"a", "the connection is good for more"

client.create_tag("r", "v1", "master~1")
client.create_branch("r", "try", "v1")
assert [tag.name for tag in client.list_tag("r")] == ["v1"]
assert sorted(branch.name for branch in client.list_branch("r")) == ["master", "try"]
client.copy_file("r@master:/a", "r@try:/copied")
client.delete_file("r", "try", "/copied")
client.delete_branch("r", "try")
client.delete_tag("r", "v1")

assert list(client.sql("select count(*) as n from commits('r')")) == [{"n": 4}]
history = client.list_commit("r")
assert [commit.number for commit in history] == [4, 3, 2, 1] and len(client.list_commit("r", "master~1", 2)) == 2
assert client.marker("r") == {}

told = [commit.id for _, commit in zip(range(4), client.subscribe_commit("r", all=True))]
assert told == [commit.id for commit in reversed(history)], told
after = client.subscribe_commit("r", after=told[1])
assert next(after).id == told[2]
assert next(after).id == told[3]
threading.Timer(0.3, lambda: Client().put_file("r", "master", "/late", b"late")).start()
late = next(after)
assert late.number == 5 and [file.path for file in late.files] == ["/late"], late
after.close()
client.delete_file("r", "master", "/dir", recursive=True)

several = client.put_files("r", "master", {"/many/a": b"a", "/many/b \"%": "b", "/many/c": io.BytesIO(b"c"), "/many/d": iter([b"d"] * 3)})
assert [(put.path, put.size) for put in several.put] == [("/many/a", 1), ('/many/b "%', 1), ("/many/c", 1), ("/many/d", 3)], several
assert client.get_file("r", "master", '/many/b "%') == b"b"
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz") as archive:
    for name in ("x", "y/z"):
        entry = tarfile.TarInfo(name)
        entry.size = len(large)
        archive.addfile(entry, io.BytesIO(large))
assert [put.path for put in client.put_tar("r", "master", packed.getvalue(), "/tar/").put] == ["/tar/x", "/tar/y/z"]
with tarfile.open(fileobj=io.BytesIO(b"".join(client.get_tar("r", path="/tar")))) as archive:
    member = archive.extractfile("tar/y/z")
    assert archive.getnames() == ["tar/x", "tar/y/z"] and member and member.read() == large
cut = client.split_file("r", "master", "/cut", "h\n1\n2\n3\n", header_records=1, target_file_datums=2)
assert [put.path for put in cut.put] == ["/cut/0000000000000000", "/cut/0000000000000001"], cut
assert client.get_file("r", "master", "/cut/0000000000000001") == b"h\n3\n"
assert client.list_pipeline() == []


def until(what):
    """Waits until something is so, and gives it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it does not become so")


with open(os.environ["PLUGIN"], "rb") as wasm:
    plugin = client.put_plugin("large", wasm)
assert plugin.name == "large" and plugin.digest.startswith("sha256:") and "handler" in plugin.worlds, plugin
assert [version.digest for version in client.inspect_plugin("large").versions] == [plugin.digest]
client.create_repo("numbers")
client.put_file("numbers", "master", "/n.ndjson", "".join('{"number": %d}\n' % number for number in (1, 2, 3)))
spec = """
pipeline: {name: p}
producer: {repo: {repo: numbers, mode: lines}, decoder: {type: json, schema: {number: int64}}}
node: [{id: n, type: plugin, plugin: large@DIGEST, settings: {column: number, least: LEAST}}]
""".replace("DIGEST", plugin.digest)
made = client.create_pipeline(spec.replace("LEAST", "2"))
assert (made.pipelines, made.done) == (["p"], "created") and made.commit, made
try:
    client.create_pipeline(spec.replace("LEAST", "2"))
    raise AssertionError("there are two")
except SpoutError as error:
    assert (error.status, error.code) == (409, "E0951"), error
until(lambda: client.inspect_pipeline("p").commits == 1)


def rows():
    """How many rows the pipeline has made; none where a branch that began anew has no file yet."""
    try:
        (row,) = client.sql("select count(*) as n from p")
        return row["n"]
    except SpoutError as error:
        assert error.code == "E0552", error
        return 0


assert rows() == 2
assert client.inspect_pipeline("p").plugins == {"large": plugin.digest}
assert client.update_pipeline(spec.replace("LEAST", "3"), reprocess=True).done == "updated, to begin anew"
until(lambda: rows() == 1)
assert client.stop_pipeline("p").done == "stopped"
assert client.stop_pipeline("p").done == "stopped already"
until(lambda: client.inspect_pipeline("p").state == "stopped")
assert [(one.name, one.wanted) for one in client.list_spec()] == [("p", "stopped")]
sought = client.seek_marker("p", "earliest", why="again")
assert sought["made"]["reason"] == "seek: again" and sought["after"] != sought["before"], sought
assert client.start_pipeline("p").done == "started"
until(lambda: rows() == 2)
assert client.flush_pipeline("p").done == "commits what it has read"
before = client.inspect_pipeline("p").since_ms
assert client.restart_pipeline("p").done == "restarted"
until(lambda: (lambda now: now.state == "running" and now.since_ms != before)(client.inspect_pipeline("p")))
said = [line.text for line in client.logs("p") if line.level == "state"]
assert any(text.startswith("committed") for text in said), said
follow = client.logs("p", recent=0, follow=True)
threading.Timer(0.3, lambda: Client().stop_pipeline("p")).start()
until(lambda: next(follow).text.startswith("stopped"))
follow.close()
try:
    client.delete_plugin("large")
    raise AssertionError("it is used")
except SpoutError as error:
    assert error.code == "E0958", error
until(lambda: client.inspect_pipeline("p").state == "stopped")
assert client.compact("p")["commit"] is None
assert client.publish("p")["failures"] == []
assert client.gc("p", dry_run=True)["records"] == 0
report = client.fsck("p", depth="decoded", repair=True)
assert report["repos"] == 1 and not [one for one in report["findings"] if one["severity"] == "error"], report
assert client.fsck()["repos"] > 1
assert client.delete_pipeline("p").done == "deleted"
assert client.delete_plugin("large").name == "large"
assert client.list_plugin() == [] and client.list_spec() == []
print("done")
