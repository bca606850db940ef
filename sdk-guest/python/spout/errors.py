"""What a plugin raises, by what the host does next."""


class Fault(Exception):
    """A message without rows: it becomes a dead letter, and its neighbours are not affected."""

    def __init__(self, reason, code="decode"):
        super().__init__(reason)
        self.reason, self.code = reason, code


class ConfigError(Exception):
    """The settings are wrong, or a snapshot does not fit them: the pipeline stops and shows the line of the spec."""


class Fatal(Exception):
    """Retrying is pointless: the pipeline stops."""

    def __init__(self, message, code="fatal"):
        super().__init__(message)
        self.code = code


class Retriable(Exception):
    """A transient failure of a source: the host calls again, after a pause."""

    def __init__(self, message, code="unavailable", after_ms=None):
        super().__init__(message)
        self.code, self.after_ms = code, after_ms


class OutOfRange(Exception):
    """A source no longer has the offset it was asked for; `earliest` and `latest` say what it has, if it knows."""

    def __init__(self, earliest=None, latest=None):
        super().__init__(f"available: {earliest}..{latest}")
        self.earliest, self.latest = earliest, latest


class EndOfStream(Exception):
    """No more data will ever come, for calls that cannot say so otherwise."""
