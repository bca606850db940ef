"""Clients of the tcp producer: what they send, and what they are told."""
import socket, sys, threading

what, address, *rest = sys.argv[1:]
host, port = address.rsplit(":", 1)


def connect():
    return socket.create_connection((host, int(port)), timeout=30)


def last_line(client):
    """Everything the client is told, and the last line of it."""
    text = b""
    while piece := client.recv(4096):
        text += piece
    return text.decode().strip().split("\n")[-1]


def acknowledged(client, count):
    """Reads until `count` messages are acknowledged; the line that says so."""
    lines = client.makefile("r")
    for line in lines:
        if not line.startswith("ok ") or int(line.split()[1]) >= count:
            return line.strip()
    return "the connection ended"


def bytewise(first, count):
    client = connect()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for id in range(first, first + count):
        for byte in b'{"id":%d,"who":"%s"}\n' % (id, "é".encode()):
            client.send(bytes([byte]))
    # One write, so that the lines of several threads stay apart.
    sys.stdout.write(acknowledged(client, count) + "\n")
    sys.stdout.flush()
    client.close()


if what == "bytewise":
    clients, count = int(rest[0]), int(rest[1])
    threads = [threading.Thread(target=bytewise, args=(n * count, count)) for n in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
elif what == "too-many":
    first, second = connect(), connect()
    for client in (first, second):
        # A newline is no message; it is read once the client was taken.
        client.sendall(b"\n")
    third = connect()
    print(last_line(third))
elif what == "too-large":
    client = connect()
    client.sendall(b'{"id":1}\n' + b"x" * 200 + b"\n")
    print(last_line(client))
elif what == "plain":
    client = connect()
    client.sendall(b"".join(b'{"id":%d}\n' % id for id in range(int(rest[0]))))
    client.shutdown(socket.SHUT_WR)
    last_line(client)
elif what == "numbered":
    first, count = int(rest[0]), int(rest[1])
    client = connect()
    client.sendall(b"".join(b'{"id":%d}\n' % id for id in range(first, first + count)))
    line = acknowledged(client, count)
    assert line.startswith(f"ok {count} "), line
