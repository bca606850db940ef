"""Connections that the host makes, and secrets that it writes to them. Outside a host, in tests, connections are sockets without TLS."""

from .errors import Fatal, Retriable

#: Bytes of one answer.
MOST = 1 << 20


class _Sockets:
    """Connections of the system, for tests of a plugin's logic; secrets are variables of the environment."""

    def open(self, to, timeout):
        # Only where there is no host: the sandbox has no such module.
        import socket

        host, _, port = to.rpartition(":")
        try:
            return socket.create_connection((host, int(port)), timeout)
        except OSError as error:
            raise Retriable(f"{to}: {error}", "net.unreachable") from None

    def secure(self, connection):
        return False

    def read(self, connection, most, timeout):
        connection.settimeout(timeout)
        try:
            return connection.recv(most)
        except TimeoutError:
            raise
        except OSError as error:
            raise Retriable(str(error), "net.closed") from None

    def write(self, connection, data, timeout):
        connection.settimeout(timeout)
        return connection.send(data)

    def close(self, connection):
        connection.close()

    def send_secret(self, name, connection, timeout):
        import os

        self.write(connection, os.environb[name.encode()], timeout)


_host = _Sockets()


class Connection:
    """A connection to an endpoint of the spec by its name, or to `HOST:PORT`, with TLS where the endpoint has it.

    `with Connection("broker") as broker: broker.send(b"hello")`. What the spec does not grant, and a peer that cannot prove who it is,
    is `Fatal`; whatever may go better at another time is `Retriable`.
    """

    def __init__(self, to, timeout=5.0):
        self._open, self.timeout = _host.open(to, timeout), timeout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def secure(self):
        """Whether it goes through TLS."""
        return _host.secure(self._connected())

    def send(self, data, timeout=None):
        """Sends all of it."""
        rest = memoryview(bytes(data))
        while rest:
            taken = _host.write(self._connected(), bytes(rest[:MOST]), self._time(timeout))
            rest = rest[taken:]

    def recv(self, most=MOST, timeout=None):
        """What there is, at most so many bytes; nothing at the end. `TimeoutError` if nothing came in time."""
        return _host.read(self._connected(), min(most, MOST), self._time(timeout))

    def send_secret(self, name, timeout=None):
        """Has the host write the secret of this name, which the plugin does not see; to an endpoint, and to no other."""
        _host.send_secret(name, self._connected(), self._time(timeout))

    def close(self):
        """Ends it."""
        if self._open is not None:
            connection, self._open = self._open, None
            _host.close(connection)

    def _connected(self):
        if self._open is None:
            raise Fatal("the connection was closed by the plugin", "net.invalid")
        return self._open

    def _time(self, timeout):
        return self.timeout if timeout is None else timeout
