"""What the host offers a running plugin: a log, metrics, a pause. Outside a host, the log is standard error."""

import sys
import time


class _Log:
    """Lines in the host's log, with fields: `log.info("opened", file=name)`."""

    def write(self, level, message, fields):
        told = "".join(f" {name}={value}" for name, value in fields)
        print(f"{level}: {message}{told}", file=sys.stderr)

    def debug(self, message, **fields):
        self._line("debug", message, fields)

    def info(self, message, **fields):
        self._line("info", message, fields)

    def warn(self, message, **fields):
        self._line("warn", message, fields)

    def error(self, message, **fields):
        self._line("error", message, fields)

    def _line(self, level, message, fields):
        self.write(level, str(message), [(name, str(value)) for name, value in fields.items()])


class _Metrics:
    """Operational metrics, shown with the pipeline's."""

    def add(self, counter, by=1):
        """Adds to a counter."""

    def set(self, gauge, to):
        """Sets a gauge."""

    def observe(self, histogram, value):
        """Adds a value to a histogram."""


log, metrics = _Log(), _Metrics()
_sleep = time.sleep
_draining = bool


def pause(seconds):
    """Sleeps, or less when the host wants the plugin to finish."""
    _sleep(seconds)


def draining():
    """Whether the host wants the plugin to finish."""
    return _draining()
