"""Messages into rows."""

from . import types
from .errors import ConfigError, Fault
from .plugin import Plugin


class Decoder(Plugin):
    """Messages into rows, each message by itself.

    `columns` declares the rows, as `{"n": "int64", "at": "timestamp(ms, UTC)", "tags": ["utf8"]}`; `open` may set it.
    """

    columns = {}
    #: What the spec calls the topic.
    topic = ""

    def decode(self, message):
        """The row of a message as a dict, several as a list, or None to leave it out. Raise `Fault`, or anything else,
        and the message becomes a dead letter. The answer depends on the message alone."""
        raise NotImplementedError

    def decode_batch(self, messages):
        """Stored columns by name, the message each row came from, and the faults as (message, code, reason)."""
        kinds = self.types()
        values, origins, faults = {name: [] for name in kinds}, [], []
        for at, message in enumerate(messages):
            try:
                answer = self.decode(message)
                rows = answer if isinstance(answer, list) else [] if answer is None else [answer]
                rows = [self._row(kinds, row) for row in rows]
            except Fault as fault:
                faults.append((at, f"{self.offer()}.{fault.code}", fault.reason))
                continue
            except Exception as error:
                faults.append((at, f"{self.offer()}.{type(error).__name__}", str(error) or type(error).__name__))
                continue
            for row in rows:
                origins.append(at)
                for name in kinds:
                    values[name].append(row[name])
        return values, origins, faults

    def types(self):
        """The types of the columns, checked once."""
        if "_types" not in self.__dict__:
            try:
                self._types = types.columns(self.columns)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"columns of {type(self).__name__}: {error}") from None
        return self._types

    @staticmethod
    def _row(kinds, row):
        unknown = row.keys() - kinds.keys()
        if unknown:
            raise Fault(f"the row has `{sorted(unknown)[0]}`, which `columns` does not declare", "column")
        stored = {}
        for name, kind in kinds.items():
            try:
                stored[name] = types.stored(kind, row.get(name))
            except ValueError as error:
                raise Fault(f"column `{name}`: {error}", "column") from None
        return stored
