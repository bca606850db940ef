"""The package in plain Python: columns there and back, settings, faults, state."""

import base64
import datetime as dt
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from decimal import Decimal
from typing import Annotated, Literal

from spout import (
    ConfigError, Connection, Decoder, Fatal, Fault, Fetched, Handler, Limits, Message, Position, Retriable, Secret, Source, Transformer, add,
    new, settings, take, testing, types,
)
from spout.columns import bits, decode, flags, table
from spout.message import parts
from spout.source import fetch_all

UTC = dt.timezone.utc


class Columns(unittest.TestCase):
    def test_values_come_back_as_they_were(self):
        cases = [
            ("int8", [1, None, -128]), ("uint64", [2**64 - 1, 0]), ("float64", [1.5, None]), ("float16", [0.5, None]),
            ("boolean", [True, None, False] * 5), ("utf8", ["", None, "é"]), ("large-utf8", ["a", "bc"]),
            ("binary", [b"\0", None]), ("fixed-binary(2)", [b"ab", None]), ("decimal128(5, 2)", [Decimal("-1.20"), None]),
            ("date32", [dt.date(1969, 12, 31), None]), ("date64", [dt.date(2026, 1, 2)]),
            ("time(ms)", [dt.time(23, 59, 59, 999000), None]), ("time(us)", [dt.time(0, 0, 0, 1)]),
            ("timestamp(ms, UTC)", [dt.datetime(1969, 1, 1, 0, 0, 0, 1000, tzinfo=UTC), None]),
            ("timestamp(s)", [dt.datetime(2026, 1, 1)]), ("timestamp(ns)", [1_700_000_000_123_456_789]),
            ("duration(us)", [dt.timedelta(days=-1, microseconds=1)]), (["int64"], [[1, None], [], None]),
            ({"a": "int32", "b": ["utf8"]}, [{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}]),
            ("map(utf8, int64)", [{"a": 1, "b": None}, {}, None]), ("null", [None, None]),
        ]
        for declared, values in cases:
            for column in (values, []):
                kind = types.parse(declared)
                stored = [types.stored(kind, value) for value in column]
                rows, nodes, buffers = table({"x": kind}, {"x": stored})
                again = decode(kind, iter(nodes), iter(buffers))
                self.assertEqual(([types.python(kind, value) for value in again], rows), (column, len(column)), declared)

    def test_a_value_that_does_not_fit_is_refused(self):
        cases = [
            ("int8", 128), ("int64", "1"), ("int64", True), ("int64", 1.0), ("uint8", -1), ("utf8", 1), ("utf8", b""),
            ("boolean", 1), ("decimal128(3, 1)", Decimal("100")), ("decimal128(3, 1)", "0.25"), ("decimal128(3, 1)", "x"),
            ("decimal128(3, 1)", 0.5), ("fixed-binary(2)", b"a"), ("date32", "2026-01-01"), (["int64"], "ab"),
            ("timestamp(ms, UTC)", dt.datetime(2026, 1, 1)), ({"a": "int64"}, {"b": 1}), ("null", 1),
        ]
        for declared, value in cases:
            with self.assertRaises(ValueError, msg=f"{declared} {value!r}"):
                types.stored(types.parse(declared), value)
        for declared in ("int", "timestamp(days)", ["int64", "utf8"], "decimal128"):
            with self.assertRaises(TypeError, msg=declared):
                types.parse(declared)

    def test_bitmaps(self):
        for count in (0, 1, 8, 9):
            given = [at % 3 == 0 for at in range(count)]
            self.assertEqual(flags(bits(given), count), given)


class Words(Decoder):
    columns = {"word": "utf8", "n": "int8"}

    def decode(self, message):
        if not message:
            return None
        if message == b"bad":
            raise Fault("not that one", "word")
        words = message.decode().split()
        return [{"word": word, "n": len(words) if word != "many" else 1000} for word in words]


class Decoders(unittest.TestCase):
    def test_each_message_becomes_rows_or_a_fault(self):
        values, origins, faults = Words().decode_batch([b"a b", b"bad", b"", b"\xff", b"c many", b"d"])
        self.assertEqual((values["word"], origins), ([b"a", b"b", b"d"], [0, 0, 5]))
        self.assertEqual([(at, code) for at, code, _ in faults],
                         [(1, "words.word"), (3, "words.UnicodeDecodeError"), (4, "words.column")])
        self.assertIn("column `n`: 1000 does not fit int8", faults[2][2])

    def test_a_message_is_bytes_with_more(self):
        message = Message(b"x")
        message.key = b"k"
        self.assertEqual((message + b"y", message.key, message.offset, message.headers), (b"xy", b"k", None, ()))


class Settings(unittest.TestCase):
    class Plugin(Handler):
        class Settings:
            column: Annotated[str, "Which."]
            least: int = 1
            rate: float | None = None
            mode: Literal["a", "b"] = "a"
            names: list[int] = ()
            deep: bool = False
            paths: list[str] = ["/"]
            limits: dict = {}

    def test_lists_and_dicts_are_defaults_that_nobody_shares(self):
        one, other = (self.Plugin([("column", "x")]).settings for _ in range(2))
        one.paths.append("/more")
        self.assertEqual((other.paths, other.limits), (["/"], {}))
        shown = json.loads(settings.schema(self.Plugin.Settings))["properties"]
        self.assertEqual((shown["paths"]["default"], shown["limits"]["default"], shown["least"]["default"]), (["/"], {}, 1))

    def test_texts_become_what_the_fields_want(self):
        texts = [("column", "5"), ("rate", "0.5"), ("mode", "b"), ("names", "1, 2"), ("deep", "true")]
        got = self.Plugin(texts).settings
        self.assertEqual((got.column, got.least, got.rate, got.mode, got.names, got.deep), ("5", 1, 0.5, "b", [1, 2], True))
        for texts, part in [([], "missing setting `column`"), ([("colum", "x")], "did you mean `column`?"),
                            ([("column", "x"), ("least", "y")], "must be a number"),
                            ([("column", "x"), ("mode", "c")], "one of a, b")]:
            with self.assertRaises(ConfigError) as caught:
                self.Plugin(texts)
            self.assertIn(part, str(caught.exception))


class Count(Handler):
    columns = {"n": "int64", "key": "utf8"}

    def process(self, rows):
        self.state.load(rows["key"])
        for key in rows["key"]:
            self.state.put(key, self.state.get(key, 0) + 1)
        return add(n=[self.state.get(key) for key in rows["key"]])

    def finish(self):
        return [{"key": key, "n": n} for key, n in self.state.scan()]


class Handlers(unittest.TestCase):
    def test_state_lasts_from_call_to_call(self):
        count = testing.open(Count)
        for expected in ([1, 2, 2], [2, 4, 4]):
            rows = testing.process(count, {"key": "utf8"}, [{"key": key} for key in ("b", "a", "a")])
            self.assertEqual([row["n"] for row in rows], expected)
        self.assertEqual(count.finish(), [{"key": "a", "n": 4}, {"key": "b", "n": 2}])

    def test_every_answer_means_what_it_says(self):
        class One(Handler):
            columns = {"x": "int64"}
            given = None

            def process(self, rows):
                return self.given

        rows = [{"x": 1}, {"x": 2}]
        for given, expected in [(None, []), (True, rows), ([True, False], rows[:1]), (take([1, 0]), rows[::-1]),
                                (add(x=[3, None]), [{"x": 3}, {"x": None}]), (new([{"x": 9}]), [{"x": 9}]), (new([]), [])]:
            one = testing.open(One)
            one.given = given
            self.assertEqual(testing.process(one, {"x": "int64"}, rows), expected)
        for given in ([True], add(x=[1]), add(y=[1, 2]), new([{"y": 1}]), add(x=["a", "b"])):
            one = testing.open(One)
            one.given = given
            with self.assertRaises(ValueError):
                testing.process(one, {"x": "int64"}, rows)
        with self.assertRaises(ConfigError):
            testing.process(testing.open(Count), {"x": "int64"}, rows)


    def test_columns_are_known_where_every_answer_is_of_one_kind(self):
        text, number = types.parse("utf8"), types.parse("int64")
        for answers, expected in [(None, None), ("new", {"n": number, "key": text}),
                                  ("add", {"key": text, "a": number, "n": number})]:
            count = testing.open(type("Count", (Count,), {"answers": answers}))
            self.assertEqual(count.output({"key": text, "a": number}), expected)
        with self.assertRaises(ConfigError):
            testing.open(type("Count", (Count,), {"answers": "both"})).output({})


class Kernels(unittest.TestCase):
    COLUMNS = {"n": "int64", "x": "float64", "t": "utf8"}
    ROWS = [{"n": 1, "x": -0.0, "t": "ann 12"}, {"n": None, "x": float("nan"), "t": "bob"}, {"n": 700, "x": 1.5, "t": None}]

    def answered(self, answer, rows=ROWS):
        class Asked(Handler):
            def process(self, rows):
                return answer(rows)

        return testing.process(testing.open(Asked), self.COLUMNS, rows)

    def test_rows_are_selected_by_what_kernels_say(self):
        cases = [
            (lambda rows: rows.held("n") >= 1, [0, 2]), (lambda rows: rows.held("n") != 1, [2]), (lambda rows: rows.held("x") < 0, [0]),
            (lambda rows: rows.held("x") == 0.0, []), (lambda rows: rows.held("x") > 1e300, [1]), (lambda rows: rows.held("n").is_null(), [1]),
            (lambda rows: rows.held("t").matches("[0-9]") | rows.held("t").is_null(), [0, 2]),
            (lambda rows: ~(rows.held("n") > 1) & rows.held("t").matches("a"), [0]),
            (lambda rows: (rows.held("n") > 1) | (rows.held("x") > 1), [1, 2]), (lambda rows: rows.held("n").cast("float64") > rows.held("x"), [0, 2]), (lambda rows: rows.held("n") > 0.5, [0, 2]),
            (lambda rows: rows.held("n").cast("utf8") == "700", [2]), (lambda rows: [one for one in (rows.held("n") < 5).truths()], [0]),
        ]
        for at, (answer, expected) in enumerate(cases):
            found = self.answered(answer)
            self.assertEqual([row["t"] for row in found], [self.ROWS[row]["t"] for row in expected], at)

    def test_columns_are_made_of_columns(self):
        made = self.answered(lambda rows: add(
            a=rows.held("t").mask(1, 1), b=rows.held("t").replace("([a-z])[a-z]+", "<$1>"), c=rows.held("t").hash(b"salt"),
            n=rows.held("n").cast("utf8")))
        hashed = "42a4d2045f2bfb06c9df8ff9ecbe781dfb0366befc0e93628ca14dd89baeeb55"
        self.assertEqual([(row["a"], row["b"], row["n"]) for row in made], [("a****2", "<a> 12", "1"), ("b*b", "<b>", None), (None, None, "700")])
        self.assertEqual(made[0]["c"], hashed)
        self.assertEqual(self.answered(lambda rows: add(t=rows.held("t").mask(2, 1)), self.ROWS[1:2])[0]["t"], "***")

    def test_what_means_nothing_is_refused(self):
        for answer, code in [(lambda rows: rows.held("n").matches("a"), "kernel.type"), (lambda rows: rows.held("t").matches("("), "kernel.pattern"),
                             (lambda rows: rows.held("n") == "1", "kernel.type"), (lambda rows: rows.held("n") == rows.held("x"), "kernel.type"),
                             (lambda rows: rows.held("x") < (1 << 53) + 1, "kernel.value"), (lambda rows: add(n=rows.held("t").cast("int64")), "kernel.value"),
                             (lambda rows: add(n=rows.held("n").cast("int8")), "kernel.value"), (lambda rows: ~rows.held("n"), "kernel.type")]:
            with self.assertRaises(Fatal) as caught:
                self.answered(answer)
            self.assertEqual(caught.exception.code, code)
        for answer in (lambda rows: rows.held("n") > 1 and True, lambda rows: rows.held("n") == None, lambda rows: rows.held("n") & True):  # noqa: E711
            with self.assertRaises(TypeError):
                self.answered(answer)
        for answer in (lambda rows: rows.held("n") > 1 << 63, lambda rows: add(n=rows.held("n"), m=[1, 2, 3])):
            with self.assertRaises(ValueError):
                self.answered(answer)
        with self.assertRaises(ConfigError):
            self.answered(lambda rows: rows.held("nothing"))


class Mistakes(unittest.TestCase):
    def test_a_mistake_is_told_with_the_lines_of_its_author_alone(self):
        for text, parts in [("import nothing_there\n", ["plugin.py\", line 1", "No module named 'nothing_there'"]),
                            ("def f():\n    return 1 / 0\n\nf()\n", ["line 4", "line 2", "ZeroDivisionError"]),
                            ("from spout import Handler\nclass X(Handler):\n    class Settings:\n        a: set = ()\n",
                             ["settings of X: a setting cannot be a"])]:
            with tempfile.TemporaryDirectory() as project:
                with open(f"{project}/pyproject.toml", "w") as about, open(f"{project}/plugin.py", "w") as plugin:
                    about.write("[project]\nname = 'x'\n")
                    plugin.write(text)
                done = subprocess.run([sys.executable, "-m", "spout.describe", project], capture_output=True, text=True)
            self.assertNotEqual(done.returncode, 0)
            for part in parts:
                self.assertIn(part, done.stderr)
            for part in ("importlib", "describe.py", "settings.py"):
                self.assertNotIn(part, done.stderr)


class Sources(unittest.TestCase):
    def test_partitions_share_the_limits_and_one_error_is_its_own(self):
        class Numbers(Source):
            def fetch(self, partition, start, limits):
                if partition == 1:
                    raise OSError("gone")
                return Fetched([(start + at, b"x") for at in range(limits.messages)], start + limits.messages)

        answers = fetch_all(Numbers(), [(0, 5), (1, 0), (2, 7)], Limits(9, 1000))
        self.assertEqual((answers[0].next, str(answers[1]), answers[2].next), (8, "gone", 13))


    def test_messages_carry_what_the_source_has_of_them(self):
        both = [Message(b"a", key=b"k", headers=[("h", b"v")]), b"b", None, Message(b"c", timestamp_ms=5)]
        self.assertEqual(parts(both), (
            [b"a", b"b", b"", b"c"], [2], [b"k", b"", b"", b""], [-2**63, -2**63, -2**63, 5], [(0, "h", b"v")]))
        self.assertEqual(parts([b"a"]), ([b"a"], [], None, [], []))
        place = Position(7, b"cursor")
        self.assertEqual((place, place + 1, place.token, Position(7).token), (7, 8, b"cursor", None))


class Transformers(unittest.TestCase):
    def test_a_file_is_read_as_any_other_and_what_is_made_of_it_is_there(self):
        class Halves(Transformer):
            def transform(self, input, output):
                first = input.readline()
                input.seek(-3, 2)
                output.put("/first", first)
                output.append("/first", input.read())
                output.put_table("/t.csv", {"size": "int64"}, [{"size": input.size}])
                with output.open_file(input.path) as file:
                    file.write("written")
                output.put("/gone", "")
                output.delete_file("/gone")

        repo = testing.transform(testing.open(Halves), "/a", b"one\ntwo\nend")
        self.assertEqual(repo.files, {"/first": b"one\nend", "/a": b"written"})
        self.assertEqual(repo.tables, {"/t.csv": [{"size": 11}]})


class Commits(unittest.TestCase):
    def test_a_commit_is_whole_or_not_there(self):
        repo = testing.Repo()
        pfs = repo.pfs()
        one, two, three = pfs.begin(), pfs.begin(), pfs.begin()
        one.append("/a", "one ")
        two.append("a", b"two ")
        three.overwrite("/a", "three")
        two.set_marker("2")
        self.assertEqual((two.finish(), one.finish(), pfs.begin().finish()), ("1", "2", "2"))
        three.abort()
        self.assertEqual((repo.files, pfs.marker()), ({"/a": b"two one "}, b"2"))
        with self.assertRaises(ZeroDivisionError), pfs.begin() as commit:
            commit.put("/b", "lost")
            1 / 0
        with pfs.begin() as commit:
            with commit.open_file("/large") as file:
                file.write(b"x" * (3 << 20))
            with self.assertRaises(ZeroDivisionError), commit.open_file("/abandoned") as file:
                1 / 0
            commit.put_rows({"n": "int64"}, [{"n": 1}, {"n": None}])
            commit.put_table("/t.csv", {"n": "int64"}, [{"n": 3}])
            commit.delete_file("/a")
        self.assertEqual([file.path for file in pfs.list()], ["/large"])
        self.assertEqual((len(pfs.read("/large")), pfs.read("/large", 5, 2), pfs.inspect("/large").size), (3 << 20, b"xx", 3 << 20))
        self.assertEqual((repo.rows, repo.tables), ([{"n": 1}, {"n": None}], {"/t.csv": [{"n": 3}]}))
        for wrong in (lambda: pfs.begin().put("../x", ""), lambda: pfs.read("/nowhere")):
            self.assertRaises(Fatal, wrong)
        with self.assertRaises(ValueError):
            pfs.begin().put_rows({"n": "int64"}, [{"n": "text"}])

    def test_connections_are_sockets_outside_a_host(self):
        listener = socket.create_server(("127.0.0.1", 0))
        os.environ["password"] = "s3cret"

        def serve():
            client, _ = listener.accept()
            with client:
                while data := client.recv(1 << 16):
                    client.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with Connection("127.0.0.1:%d" % listener.getsockname()[1]) as connection:
            connection.send(b"hello ")
            connection.send_secret("password")
            got = b""
            while len(got) < 12:
                got += connection.recv(5)
            self.assertEqual((got, connection.secure), (b"hello s3cret", False))
            with self.assertRaises(TimeoutError):
                connection.recv(timeout=0.01)
        self.assertRaises(Fatal, connection.recv)
        listener.close()
        self.assertRaises(Fatal, Secret, "nobody")
        with self.assertRaises(Retriable):
            Connection("127.0.0.1:1")

    def test_secrets_prove_what_the_specifications_say(self):
        os.environ["password"] = "pencil"
        secret = Secret("password")
        # The example of RFC 7677.
        first = "n=user,r=rOprNGfwEbeRWgbNEkqO"
        server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        message = f"{first},{server},c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        proof, signature = secret.scram(base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096, message.encode())
        self.assertEqual(base64.b64encode(proof), b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        self.assertEqual(base64.b64encode(signature), b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        self.assertRaises(Fatal, secret.scram, b"", 1, b"")
        self.assertEqual((len(secret), secret.length("json"), secret.length(b"u:"), secret.reveal()), (6, 8, 12, b"pencil"))
        self.assertRaises(ValueError, secret.hmac, b"", "md5")
        self.assertRaises(ValueError, secret.length, "hex")
        self.assertNotIn("pencil", repr(secret))
        # The example of RFC 4231, and that of Amazon's documentation.
        os.environ["jefe"] = "Jefe"
        self.assertEqual(Secret("jefe").hmac(b"what do ya want for nothing?").hex(),
                         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        os.environ["aws"] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
        text = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972"
        self.assertEqual(Secret("aws").sign_v4("20130524", "us-east-1", "s3", text),
                         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


if __name__ == "__main__":
    unittest.main()
