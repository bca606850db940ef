"""Connections that the host makes, and secrets that it uses. Outside a host, in tests, connections are sockets without TLS."""

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

    def secret(self, name):
        import os

        value = os.environb.get(name.encode())
        if value is None:
            raise Fatal(f"there is no secret {name}", "net.invalid")
        return _Known(value)

    def send_secret(self, secret, connection, form, timeout):
        rest = secret.written(form)
        while rest:
            rest = rest[self.write(connection, rest, timeout):]


class _Known:
    """A secret of a test, which answers as the host does."""

    def __init__(self, value):
        self._value = value

    def written(self, form):
        import base64
        import json

        if isinstance(form, bytes):
            return base64.b64encode(form + self._value)
        return json.dumps(self._value.decode(), ensure_ascii=False).encode() if form == "json" else self._value

    def length(self, form):
        return len(self.written(form))

    def hmac(self, hash, data):
        import hmac

        return hmac.digest(self._value, data, hash)

    def scram(self, hash, salt, iterations, message):
        import hashlib
        import hmac

        if not 4096 <= iterations <= 1_000_000:
            raise Fatal(f"the server asks for {iterations} rounds of SCRAM; 4096 to 1000000 are made", "net.invalid")
        salted = hashlib.pbkdf2_hmac(hash, self._value, salt, iterations)
        key, server = hmac.digest(salted, b"Client Key", hash), hmac.digest(salted, b"Server Key", hash)
        signature = hmac.digest(hashlib.new(hash, key).digest(), message, hash)
        return bytes(one ^ other for one, other in zip(key, signature)), hmac.digest(server, message, hash)

    def sign_v4(self, date, region, service, text):
        import hmac

        key = b"AWS4" + self._value
        for part in (date, region, service, "aws4_request", text):
            key = hmac.digest(key, part.encode(), "sha256")
        return key.hex()

    def reveal(self):
        return self._value


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
        Secret(name).send(self, timeout=timeout)

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


class Secret:
    """A secret that the spec grants by this name, which the plugin uses and does not see: the host makes what it proves.

    `hash` is "sha256" or "sha512". Outside a host, in tests, it is a variable of the environment.
    """

    def __init__(self, name):
        self.name, self._secret = name, _host.secret(name)

    def __repr__(self):
        return f"Secret({self.name!r})"

    def __len__(self):
        return self.length()

    def length(self, form="raw"):
        """How many bytes it has when it is written in this form."""
        return self._secret.length(_form(form))

    def send(self, connection, form="raw", timeout=None):
        """Has the host write it to a connection to an endpoint, and to no other: "raw", as a text of "json" with its quotes, or, where
        `form` is bytes, as the base64 of these and the secret behind them (`b"user:"` for HTTP's Basic)."""
        _host.send_secret(self._secret, connection._connected(), _form(form), connection._time(timeout))

    def hmac(self, data, hash="sha256"):
        """The HMAC of `data` with the secret as its key."""
        return self._secret.hmac(_hash(hash), bytes(data))

    def scram(self, salt, iterations, auth_message, hash="sha256"):
        """The client's proof after RFC 5802, and the signature that the server has to answer with."""
        return self._secret.scram(_hash(hash), bytes(salt), iterations, bytes(auth_message))

    def sign_v4(self, date, region, service, string_to_sign):
        """The signature after AWS's version 4, in hexadecimal digits; `date` is its day, as in "20261127"."""
        return self._secret.sign_v4(date, region, service, string_to_sign)

    def reveal(self):
        """The secret itself, as bytes, where the spec says `reveal: true`; otherwise `Fatal`."""
        return bytes(self._secret.reveal())


def _form(form):
    if form in ("raw", "json"):
        return form
    if isinstance(form, (bytes, bytearray)):
        return bytes(form)
    raise ValueError(f"a secret is written as 'raw', as 'json', or behind bytes, and not as {form!r}")


def _hash(hash):
    if hash not in ("sha256", "sha512"):
        raise ValueError(f"a hash is 'sha256' or 'sha512', and not {hash!r}")
    return hash
