"""Messages, as decoders get and sources make them."""


class Message(bytes):
    """A message's payload, with what came along: `key`, `offset`, `partition`, `timestamp_ms`, `headers`, `attributes`."""

    key = offset = partition = timestamp_ms = None
    headers, attributes = (), {}

    def __new__(cls, payload=b"", *, key=None, timestamp_ms=None, headers=()):
        message = super().__new__(cls, payload)
        message.key, message.timestamp_ms, message.headers = key, timestamp_ms, tuple(headers)
        return message


class Position(int):
    """An offset, with bytes of the source's own that are stored with it. It may come back without them."""

    token = None

    def __new__(cls, offset, token=None):
        position = super().__new__(cls, offset)
        position.token = token
        return position


def parts(payloads):
    """Payloads as bytes; which of them are None; keys, times and headers, where any has some.

    Headers are (message, name, value).
    """
    nulls = [at for at, payload in enumerate(payloads) if payload is None]
    keys = [getattr(payload, "key", None) for payload in payloads]
    times = [getattr(payload, "timestamp_ms", None) for payload in payloads]
    headers = [(at, name, value) for at, payload in enumerate(payloads) for name, value in getattr(payload, "headers", ())]
    return (
        [payload or b"" for payload in payloads], nulls,
        [key or b"" for key in keys] if any(keys) else None,
        [-2**63 if time is None else time for time in times] if any(time is not None for time in times) else [],
        headers)
