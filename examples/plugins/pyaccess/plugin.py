"""Apache's combined log as rows, and a handler that keeps rows whose column is large enough."""

import re
from datetime import datetime
from typing import Annotated

from spout import Decoder, Fault, Handler

LINE = re.compile(
    r'(\S+) \S+ (\S+) \[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"')


def dash(text):
    return None if text in ("-", "") else text


class Access(Decoder):
    """Apache combined log lines."""

    columns = {"host": "utf8", "user": "utf8", "at": "timestamp(ms, UTC)", "request": "utf8",
               "status": "int32", "bytes": "int64", "referer": "utf8", "agent": "utf8"}

    def decode(self, message):
        found = LINE.match(message.decode("utf-8", "replace"))
        if not found:
            raise Fault("this is no line of the combined format", "syntax")
        host, user, at, request, status, size, referer, agent = found.groups()
        return {"host": host, "user": dash(user), "at": datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z"),
                "request": request, "status": int(status), "bytes": None if size == "-" else int(size),
                "referer": dash(referer), "agent": dash(agent)}


class AtLeast(Handler):
    """Keeps rows whose column is large enough."""

    class Settings:
        column: Annotated[str, "Column to look at."]
        least: Annotated[int, "Smallest value that passes."]

    def process(self, rows):
        return rows.held(self.settings.column) >= self.settings.least
