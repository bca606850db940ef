"""Asks who is there before it lets anybody through to a broker: Kafka's frames here, SCRAM by the package scramp.

sasl.py PORT BROKER USER PASSWORD; librdkafka, which only fills topics, is let through as it is.
"""

import socket
import struct
import sys
import threading

import scramp

PORT, BROKER, USER, PASSWORD = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
NAMES = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def exactly(peer, count):
    data = b""
    while len(data) < count:
        more = peer.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def frame(peer):
    head = exactly(peer, 4)
    return head + exactly(peer, struct.unpack(">i", head)[0])


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def pump(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    finally:
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Asked:
    """One exchange; `answer` is None when the client proved nothing."""

    def __init__(self, name):
        self.name, self.scram, self.done = name, None, False

    def answer(self, message):
        if self.name == "PLAIN":
            self.done = message == f"\0{USER}\0{PASSWORD}".encode()
            return b"" if self.done else None
        try:
            if self.scram is None:
                mechanism = scramp.ScramMechanism(self.name)
                known = {USER: mechanism.make_auth_info(PASSWORD, iteration_count=4096)}
                self.scram = mechanism.make_server(lambda user: known[user])
                self.scram.set_client_first(message.decode())
                return self.scram.get_server_first().encode()
            self.scram.set_client_final(message.decode())
            last = self.scram.get_server_final()
            self.done = last.startswith("v=")
            return last.encode() if self.done else None
        except (scramp.ScramException, KeyError, UnicodeDecodeError):
            return None


def serve(client):
    broker, asked = socket.create_connection(("127.0.0.1", BROKER)), None
    while asked is None or not asked.done:
        request = frame(client)
        key, _version, number, length = struct.unpack(">hhih", request[4:14])
        who, body = request[14 : 14 + max(length, 0)], request[14 + max(length, 0) :]
        if who == b"rdkafka" or key == 18:
            broker.sendall(request)
            if who == b"rdkafka":
                break
            client.sendall(frame(broker))
            continue
        if key == 17:
            name = body[2:].decode()
            asked = Asked(name) if name in NAMES else None
            answer = struct.pack(">hi", 0 if asked else 33, len(NAMES)) + b"".join(map(text, NAMES))
        elif key == 36 and asked:
            said = asked.answer(body[4:])
            if said is None:
                answer = struct.pack(">h", 58) + text("wrong") + struct.pack(">i", 0)
            else:
                answer = struct.pack(">hhi", 0, -1, len(said)) + said
            if _version > 0:
                answer += struct.pack(">q", 0)
        else:
            break
        answer = struct.pack(">i", number) + answer
        client.sendall(struct.pack(">i", len(answer)) + answer)
    else:
        who = b"rdkafka"
    if who != b"rdkafka":
        client.close()
        return
    threading.Thread(target=pump, args=(broker, client), daemon=True).start()
    pump(client, broker)


def served(client):
    try:
        serve(client)
    except (EOFError, OSError):
        pass
    finally:
        client.close()


listener = socket.create_server(("127.0.0.1", PORT))
while True:
    threading.Thread(target=served, args=(listener.accept()[0],), daemon=True).start()
