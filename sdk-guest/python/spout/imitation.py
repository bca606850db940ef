"""Columns as the host holds them, in plain Python, for tests: numbers, booleans, texts and bytes."""

import hashlib
import math
import operator
import re

from .errors import Fatal

COMPARISONS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}
KINDS = {bool: "booleans", int: "numbers", float: "numbers", str: "texts", bytes: "bytes"}


class Imitation:
    """A column of values."""

    def __init__(self, values):
        self.values = list(values)

    def rows(self):
        return len(self.values)

    def compare(self, how, than):
        return Imitation(None if value is None else _compared(how, value, than) for value in self.values)

    def compare_column(self, how, other):
        if len(other.values) != len(self.values):
            raise Fatal(f"{len(other.values)} rows and {len(self.values)} cannot be compared", "kernel.value")
        for one, two in zip(self.values, other.values):
            if {type(one), type(two)} == {int, float}:
                raise Fatal("integers are not compared with floats; cast one of them", "kernel.type")
        pairs = zip(self.values, other.values)
        return Imitation(None if one is None or two is None else _compared(how, one, two) for one, two in pairs)

    def is_null(self):
        return Imitation(value is None for value in self.values)

    def both(self, other):
        return Imitation(False if False in pair else None if None in pair else True for pair in self._pairs(other))

    def either(self, other):
        return Imitation(True if True in pair else None if None in pair else False for pair in self._pairs(other))

    def negate(self):
        return self._each(bool, operator.not_)

    def matches(self, pattern):
        return self._each(str, lambda text: _pattern(pattern).search(text) is not None)

    def replace(self, pattern, by):
        groups = re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", by.replace("\\", r"\\"))
        return self._each(str, lambda text: _pattern(pattern).sub(groups, text))

    def mask(self, first, last, by):
        def masked(text):
            start, end = (first, len(text) - last) if first + last < len(text) else (0, len(text))
            return text[:start] + by * (end - start) + text[end:]
        return self._each(str, masked)

    def hash(self, salt):
        return self._each((str, bytes), lambda value: hashlib.sha256(
            salt + (value.encode() if isinstance(value, str) else value)).hexdigest())

    def cast(self, to):
        whole = re.fullmatch(r"(u?)int(8|16|32|64)", to)
        if to in ("utf8", "string"):
            return self._each((int, str), lambda value: str(value).lower() if isinstance(value, bool) else str(value))
        if to == "float64":
            return self._each((int, float, str), lambda value: _number(float, value, to))
        if not whole:
            raise NotImplementedError(f"`cast` to {to} is not imitated outside a host; `spout test` has the host's")
        bits, least = int(whole[2]), 0 if whole[1] else -(1 << (int(whole[2]) - 1))

        def fitting(value):
            number = _number(int, value, to)
            if not least <= number < least + (1 << bits):
                raise Fatal(f"{value!r} does not fit {to}", "kernel.value")
            return number
        return self._each((int, float, str), fitting)

    def truths(self):
        return [value is True for value in self._of(bool)]

    def _of(self, kinds):
        for value in self.values:
            if value is not None and not isinstance(value, kinds):
                raise Fatal(f"{_kind(value)} are given, where {_kinds(kinds)} are needed", "kernel.type")
        return self.values

    def _each(self, kinds, make):
        return Imitation(None if value is None else make(value) for value in self._of(kinds))

    def _pairs(self, other):
        return zip(self._of(bool), other._of(bool), strict=True)


def _kind(value):
    if type(value) in KINDS:
        return KINDS[type(value)]
    raise NotImplementedError(f"columns of {type(value).__name__} are not imitated outside a host; `spout test` has the host's")


def _kinds(kinds):
    return " or ".join(dict.fromkeys(KINDS[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,))))


def _compared(how, one, two):
    if _kind(one) != _kind(two):
        raise Fatal(f"{_kind(one)} are not compared with {_kind(two)}", "kernel.type")
    if isinstance(one, float) and isinstance(two, int) and int(float(two)) != two:
        raise Fatal(f"{two} is no float64; compare with a float next to it", "kernel.value")
    if isinstance(one, int) and isinstance(two, float):
        two += 0.0  # Integers have one zero.
    return COMPARISONS[how](_order(one), _order(two))


def _order(value):
    """Floats in a total order: NaN last, and the two zeros apart."""
    if not isinstance(value, float):
        return (False, value, 1.0) if isinstance(value, int) else value
    if math.isnan(value):
        return (True, 0, 1.0)
    return (False, value, math.copysign(1.0, value) if value == 0 else 1.0)


def _pattern(pattern):
    try:
        return re.compile(pattern)
    except re.error as error:
        raise Fatal(f"`{pattern}` is no pattern: {error}", "kernel.pattern") from None


def _number(kind, value, to):
    try:
        return kind(value)
    except (ValueError, OverflowError):
        raise Fatal(f"{value!r} is no {to}", "kernel.value") from None
