"""Lines of a server that asks for a proof of a secret, which the plugin does not see, and for the line to begin with."""

from spout import Connection, Retriable, Secret, Stream

#: Longest line.
MOST = 1 << 16


class Lines(Stream):
    """Lines of the endpoint `server`, which is told a proof of the secret `password` and from which line on."""

    def start(self, at):
        self._next = 0 if at in ("earliest", "latest") else int(at)
        self._server, self._held, self._ended = None, b"", False

    def next(self, limits):
        try:
            self._receive()
        except Exception:
            # The next call begins a new connection, with the line that comes next.
            if self._server:
                self._server.close()
            self._server, self._held = None, b""
            raise
        *lines, self._held = self._held.split(b"\n", limits.messages)
        messages = [(0, self._next + at, line) for at, line in enumerate(lines)]
        self._next += len(lines)
        more = b"\n" in self._held
        return messages, "ended" if self._ended and not messages and not more else "more" if messages or more else "idle"

    def checkpoint(self):
        return b"%d" % self._next

    def _receive(self):
        """Some more of what the server says."""
        if self._ended or b"\n" in self._held:
            return
        if self._server is None:
            self._server = Connection("server")
            challenge = self._line()
            self._server.send(b"%s\n%d\n" % (Secret("password").hmac(challenge).hex().encode(), self._next))
        try:
            came = self._server.recv(timeout=0.1)
        except TimeoutError:
            return
        self._ended, self._held = not came, self._held + came
        if self._ended:
            self._server.close()
        if len(self._held) > MOST and b"\n" not in self._held:
            raise Retriable(f"a line of more than {MOST} bytes", "long")

    def _line(self):
        """The first line that a server says."""
        line = b""
        while b"\n" not in line:
            came = self._server.recv(1)
            if not came:
                raise Retriable("the server closed the connection before it said anything", "closed")
            line += came
        return line.strip()
