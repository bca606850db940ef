"""The other side of spout's sockets, by libraries that nobody here wrote. The first line printed says where it listens."""

import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pyarrow as pa
import pyarrow.ipc as ipc
import zmq


def show(payload):
    with ipc.open_stream(payload) as stream:
        for row in stream.read_all().to_pylist():
            print(json.dumps(row), flush=True)


def subscribe(data, sync):
    """Hears a publisher to its end, and prints the rows."""
    context = zmq.Context()
    ear = context.socket(zmq.SUB)
    ear.connect(data)
    ear.subscribe(b"")
    ready = False
    while True:
        message = ear.recv()
        if message == b"end":
            break
        if message == b"connect":
            if not ready:
                hello = context.socket(zmq.REQ)
                hello.connect(sync)
                hello.send(b"")
                hello.recv()
                hello.close()
                ready = True
            continue
        show(message)
    context.destroy()


def publish(count):
    """Publishes rows to one subscriber that says hello."""
    context = zmq.Context()
    mouth, door = context.socket(zmq.PUB), context.socket(zmq.REP)
    for one in (mouth, door):
        one.bind("tcp://127.0.0.1:*")
    print(json.dumps([one.getsockopt_string(zmq.LAST_ENDPOINT) for one in (mouth, door)]), flush=True)
    while not door.poll(100):
        mouth.send(b"connect")
    door.recv()
    door.send(b"")
    for start in range(0, int(count), 100):
        ids = list(range(start, min(start + 100, int(count))))
        batch = pa.record_batch({"id": ids, "name": [f"é {n}" if n % 7 else None for n in ids]})
        sink = pa.BufferOutputStream()
        with ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        mouth.send(sink.getvalue().to_pybytes())
    mouth.send(b"end")
    context.destroy(linger=10_000)


def receive(framing):
    """Takes one connection and prints the rows of its frames."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(json.dumps(server.getsockname()[1]), flush=True)
        connection, _ = server.accept()
    with connection, connection.makefile("rb") as file:
        if framing == "lines":
            for line in file:
                print(line.decode(), end="", flush=True)
            return
        while head := file.read(10):
            show(file.read(int(head)))


def hook(rows):
    """Takes posted NDJSON after saying 503 twice; ends when so many rows are there."""
    left, busy = int(rows), 2

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self):
            nonlocal left, busy
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = 503 if busy > 0 else 200
            busy -= 1
            wanted = ("Idempotency-Key", "Authorization", "Content-Type", "Spout-Offsets")
            told = {name: self.headers[name] for name in wanted}
            lines = body.decode().splitlines()
            # Nobody reads this before the end: it has to fit into a pipe.
            rows = [json.loads(line) for line in lines] if status == 200 else []
            print(json.dumps({"status": status, "rows": rows} | told), flush=True)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if status == 200:
                left -= len(lines)
                if left <= 0:
                    threading.Thread(target=self.server.shutdown).start()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Desk)
    print(json.dumps(server.server_port), flush=True)
    server.serve_forever()


{"subscribe": subscribe, "publish": publish, "receive": receive, "hook": hook}[sys.argv[1]](*sys.argv[2:])
