"""Requests over connections that are kept, one a thread."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from contextlib import contextmanager
from typing import Any, BinaryIO, Dict, Iterable, Iterator, Mapping, Optional, Union
from urllib.parse import quote, urlencode, urlsplit

from .errors import SpoutError

Data = Union[bytes, bytearray, memoryview, str, BinaryIO, Iterable[bytes]]
"""What can be put: bytes, text, an open binary file, or parts of bytes."""

IDLE = 30.0
"""A connection that was not used for so many seconds may have been closed by the server; it is not used again."""

PART = 1 << 16


class Link:
    """A server, and what lets us in."""

    def __init__(self, url: str, token: Optional[str], timeout: float, context: Optional[ssl.SSLContext]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a server; write it like http://127.0.0.1:1653")
        self._parts = parts
        self._timeout = timeout
        self._context = context
        self._headers: Dict[str, str] = {"authorization": f"Bearer {token}"} if token else {}
        self._kept = threading.local()

    def _connect(self, timeout: Optional[float]) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    @contextmanager
    def send(
        self,
        method: str,
        path: Iterable[str],
        query: Optional[Mapping[str, object]] = None,
        body: Optional[Data] = None,
        headers: Optional[Mapping[str, str]] = None,
        endless: bool = False,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer of a request that succeeded; its body is read within the ``with`` block. One that is ``endless`` has a
        connection of its own and may be silent for long."""
        url = self._parts.path.rstrip("/") + "/v1/" + "/".join(quote(segment, safe="") for segment in path)
        said = {name: _word(value) for name, value in (query or {}).items() if value is not None}
        if said:
            url += "?" + urlencode(said)
        connection = self._connect(max(self._timeout, 60.0)) if endless else self._connection()
        whole = False
        try:
            answer = self._exchange(connection, method, url, body, {**self._headers, **(headers or {})})
            if answer.status >= 300:
                raise SpoutError.of_answer(answer.status, answer.read())
            yield answer
            whole = answer.isclosed()
        except (OSError, http.client.HTTPException) as error:
            raise SpoutError(0, "E0841", f"no answer from {self._parts.geturl()}: {error}", []) from error
        except SpoutError:
            whole = True
            raise
        finally:
            if endless:
                connection.close()
            elif not whole:
                # What is left of this answer would be taken for the next one.
                self.close()

    def json(self, method: str, path: Iterable[str], query: Optional[Mapping[str, object]] = None, body: Any = None) -> Any:
        """The JSON that answers a request, which may send some."""
        text = None if body is None else json.dumps(body).encode()
        with self.send(method, path, query, text, {"content-type": "application/json"} if text else None) as answer:
            return json.loads(answer.read())

    def _connection(self) -> http.client.HTTPConnection:
        kept: Optional[http.client.HTTPConnection] = getattr(self._kept, "connection", None)
        if kept is not None and time.monotonic() - self._kept.used > IDLE:
            self.close()
            kept = None
        if kept is None:
            kept = self._kept.connection = self._connect(self._timeout)
        self._kept.used = time.monotonic()
        return kept

    @staticmethod
    def _exchange(
        connection: http.client.HTTPConnection, method: str, url: str, body: Optional[Data], headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        if isinstance(body, str):
            body = body.encode()
        headers = dict(headers)
        try:
            if body is None or isinstance(body, (bytes, bytearray, memoryview)):
                connection.request(method, url, None if body is None else bytes(body), headers)
            else:
                # Of unknown length: sent in chunks, while it is read.
                headers["transfer-encoding"] = "chunked"
                connection.request(method, url, _parts(body), headers, encode_chunked=True)
        except (BrokenPipeError, ConnectionResetError):
            # A server that wants no more of the body may have said why.
            return connection.getresponse()
        return connection.getresponse()

    def close(self) -> None:
        """Closes the connection of this thread."""
        kept: Optional[http.client.HTTPConnection] = getattr(self._kept, "connection", None)
        if kept is not None:
            kept.close()
        self._kept.connection = None


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def form_of(files: Mapping[str, Data], boundary: str) -> Iterator[bytes]:
    """The files as a form, each part named by its path."""
    for path, data in files.items():
        name = path.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'
        yield head.encode()
        yield from _parts(data)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _parts(body: Any) -> Iterable[bytes]:
    if isinstance(body, str):
        yield body.encode()
    elif isinstance(body, (bytes, bytearray, memoryview)):
        yield bytes(body)
    elif hasattr(body, "read"):
        while True:
            part = body.read(PART)
            if not part:
                return
            yield part
    else:
        yield from body
