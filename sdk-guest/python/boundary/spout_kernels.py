"""Columns that the host holds, for `spout.kernels`."""

from componentize_py_types import Err
from spout import errors
from wit_world.imports import kernels

COMPARISONS = {
    "==": kernels.Comparison.EQUAL, "!=": kernels.Comparison.NOT_EQUAL, "<": kernels.Comparison.LESS,
    "<=": kernels.Comparison.LESS_OR_EQUAL, ">": kernels.Comparison.GREATER, ">=": kernels.Comparison.GREATER_OR_EQUAL,
}


class Held:
    """A column of the host, by its handle."""

    def __init__(self, handle):
        self.handle = handle

    @classmethod
    def of(cls, batch, index):
        return cls(kernels.Column.of(batch, index))

    def rows(self):
        return self.handle.rows()

    def compare(self, how, than):
        return self._made(lambda: self.handle.compare(COMPARISONS[how], _value(than)))

    def compare_column(self, how, other):
        return self._made(lambda: self.handle.compare_column(COMPARISONS[how], other.handle))

    def is_null(self):
        return self._made(self.handle.is_null)

    def both(self, other):
        return self._made(lambda: self.handle.both(other.handle))

    def either(self, other):
        return self._made(lambda: self.handle.either(other.handle))

    def negate(self):
        return self._made(self.handle.negate)

    def matches(self, pattern):
        return self._made(lambda: self.handle.matches(pattern))

    def replace(self, pattern, by):
        return self._made(lambda: self.handle.replace(pattern, by))

    def mask(self, first, last, by):
        return self._made(lambda: self.handle.mask(first, last, by))

    def hash(self, salt):
        return self._made(lambda: self.handle.hash(salt))

    def cast(self, to):
        return self._made(lambda: self.handle.cast(to))

    def truths(self):
        bits, rows = _told(self.handle.bits), self.handle.rows()
        return [bool(bits[at // 8] >> at % 8 & 1) for at in range(rows)]

    def give(self):
        """The column to hand over: once more, since this one may be looked at again."""
        return self.handle.share()

    @classmethod
    def _made(cls, call):
        return cls(_told(call))


def _told(call):
    try:
        return call()
    except Err as error:
        refusal = error.value
    raise errors.Fatal(refusal.message, refusal.code)


def _value(value):
    match value:
        case bool():
            return kernels.Value_Boolean(value)
        case int():
            return kernels.Value_Int(value)
        case float():
            return kernels.Value_Float(value)
        case str():
            return kernels.Value_Text(value)
    return kernels.Value_Bytes(value)
