"""The plugin's logic in plain Python: `spout plugin build` has put the package `spout` here."""

import hashlib
import hmac
import os
import socket
import threading
import unittest

import plugin
from spout import Limits, Retriable, testing


class Tests(unittest.TestCase):
    def setUp(self):
        os.environ["password"] = "Jefe"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        # An endpoint has a name; outside a host it is an address.
        address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        connection = plugin.Connection
        plugin.Connection = lambda name: connection(address)
        self.addCleanup(setattr, plugin, "Connection", connection)

    def serve(self, *ends):
        """A server of lines up to each of `ends`, one for a connection."""

        def run():
            for end in ends:
                client, _ = self.listener.accept()
                with client, client.makefile("rb") as said:
                    client.sendall(b"nonce\n")
                    proof, start = said.readline().strip(), int(said.readline())
                    if proof.decode() == hmac.digest(b"Jefe", b"nonce", hashlib.sha256).hex():
                        client.sendall(b"".join(b"line %d\n" % at for at in range(start, end)) + b"half")

        threading.Thread(target=run, daemon=True).start()

    def all(self, stream, most=7):
        found, progress = [], "more"
        while progress != "ended":
            messages, progress = stream.next(Limits(most, 1 << 20))
            found += messages
        return found

    def test_lines_are_read_from_where_a_checkpoint_says(self):
        self.serve(10, 20)
        stream = testing.open(plugin.Lines)
        stream.start("earliest")
        self.assertEqual(self.all(stream), [(0, at, b"line %d" % at) for at in range(10)])
        again = testing.open(plugin.Lines)
        again.start(stream.checkpoint())
        self.assertEqual([offset for _, offset, _ in self.all(again, 3)], list(range(10, 20)))

    def test_a_server_that_says_nothing_is_tried_again(self):
        def run():
            self.listener.accept()[0].close()

        threading.Thread(target=run, daemon=True).start()
        stream = testing.open(plugin.Lines)
        stream.start("earliest")
        with self.assertRaises(Retriable):
            stream.next(Limits(1, 1))
        self.serve(2)
        self.assertEqual(len(self.all(stream)), 2)


if __name__ == "__main__":
    unittest.main()
