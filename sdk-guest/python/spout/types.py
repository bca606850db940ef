"""Column types: their names, as in a spec, and which Python values they take."""

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

INTEGERS = {f"{sign}int{bits}": (bits, sign == "") for sign in ("", "u") for bits in (8, 16, 32, 64)}
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = dt.datetime(1970, 1, 1)
_PLAIN = {*INTEGERS, "null", "boolean", "float16", "float32", "float64", "date32", "date64",
          "utf8", "large-utf8", "binary", "large-binary"}
_ALIASES = {"bool": "boolean", "string": "utf8", "timestamp": "timestamp(ms)"}


@dataclass(frozen=True)
class Type:
    """A type: its kind, its arguments, and its named children."""

    kind: str
    args: tuple = ()
    children: tuple = ()

    def __str__(self):
        return f"{self.kind}({', '.join(str(arg) for arg in self.args if arg is not None)})" if self.args else self.kind


def columns(declared):
    """The types of `{"n": "int64", "user": {"name": "utf8"}, "tags": ["utf8"]}`, by column."""
    if not isinstance(declared, dict):
        raise TypeError(f"columns are a dict of names and types, not {declared!r}")
    return {name: parse(kind) for name, kind in declared.items()}


def parse(declared):
    """The type that a text, a dict (a struct) or a list of one type stands for."""
    if isinstance(declared, Type):
        return declared
    if isinstance(declared, dict):
        return Type("struct", children=tuple((name, parse(kind)) for name, kind in declared.items()))
    if isinstance(declared, (list, tuple)) and len(declared) == 1:
        return Type("list", children=(("item", parse(declared[0])),))
    text = _ALIASES.get(str(declared).strip(), str(declared).strip())
    if text in _PLAIN:
        return Type(text)
    found = re.fullmatch(r"([a-z0-9-]+)\((.*)\)", text)
    kind, args = (found[1], [arg.strip() for arg in found[2].split(",", 1)]) if found else (text, [])
    match kind, args:
        case "timestamp", [unit, *zone] if unit in PER_SECOND:
            return Type(kind, (unit, zone[0] if zone else None))
        case "time" | "duration", [unit] if unit in PER_SECOND:
            return Type(kind, (unit,))
        case "decimal128", [precision, scale]:
            return Type(kind, (int(precision), int(scale)))
        case "fixed-binary", [width]:
            return Type(kind, (int(width),))
        case "map", [key, value]:
            return Type(kind, children=(("entries", parse({"key": key, "value": value})),))
    raise TypeError(f"unknown type {declared!r}")


def stored(kind, value):
    """`value` as it is stored in a column of this type, or a ValueError."""
    if value is None:
        return None
    try:
        return _STORED[kind.kind](kind, value)
    except (TypeError, OverflowError, ArithmeticError, AttributeError, UnicodeError) as error:
        raise ValueError(f"{_shown(value)} does not fit {kind}: {error or type(error).__name__}") from None


def _shown(value):
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _check(fits, kind, value):
    if not fits:
        raise ValueError(f"{_shown(value)} does not fit {kind}")
    return value


def _integer(kind, value):
    bits, signed = INTEGERS.get(kind.kind, (64, True))
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    return _check(isinstance(value, int) and not isinstance(value, bool) and low <= value < high, kind, value)


def _float(kind, value):
    return float(_check(isinstance(value, (int, float)) and not isinstance(value, bool), kind, value))


def _decimal(kind, value):
    precision, scale = kind.args
    _check(not isinstance(value, (bool, float)), kind, value)
    try:
        sign, digits, exponent = Decimal(value).as_tuple()
    except InvalidOperation:
        raise ValueError(f"{_shown(value)} is no decimal number") from None
    _check(isinstance(exponent, int), kind, value)
    number, shift = int("".join(map(str, digits)) or 0), exponent + scale
    scaled, rest = (number * 10**shift, 0) if shift >= 0 else divmod(number, 10**-shift)
    _check(rest == 0 and scaled < 10**precision, kind, value)
    return -scaled if sign else scaled


def _units(since, unit):
    return (since.days * 86_400 + since.seconds) * PER_SECOND[unit] + since.microseconds * PER_SECOND[unit] // 10**6


def _timestamp(kind, value):
    unit, zone = kind.args
    if isinstance(value, int):
        return _integer(kind, value)
    if value.tzinfo is not None:
        value = value.astimezone(dt.timezone.utc).replace(tzinfo=None)
    elif zone:
        raise ValueError(f"{_shown(value)} has no time zone, and the column has {zone}")
    return _units(value - EPOCH, unit)


def _date(kind, value):
    if isinstance(value, int):
        return _integer(kind, value)
    days = value.toordinal() - EPOCH.toordinal()
    return days if kind.kind == "date32" else days * 86_400_000


def _time(kind, value):
    if isinstance(value, int):
        return _integer(kind, value)
    since = dt.timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    return _units(since, kind.args[0])


def _struct(kind, value):
    unknown = set(_check(isinstance(value, dict), kind, value)) - {name for name, _ in kind.children}
    if unknown:
        raise ValueError(f"unknown field `{sorted(map(str, unknown))[0]}`")
    return {name: stored(child, value.get(name)) for name, child in kind.children}


def _map(kind, value):
    entry = dict(kind.children[0][1].children)
    return [{"key": stored(entry["key"], key), "value": stored(entry["value"], item)} for key, item in value.items()]


_STORED = {
    **dict.fromkeys(INTEGERS, _integer),
    **dict.fromkeys(("float16", "float32", "float64"), _float),
    **dict.fromkeys(("utf8", "large-utf8"), lambda kind, value: _check(isinstance(value, str), kind, value).encode()),
    **dict.fromkeys(("binary", "large-binary"), lambda kind, value: bytes(memoryview(value))),
    "fixed-binary": lambda kind, value: _check(len(bytes(memoryview(value))) == kind.args[0], kind, bytes(value)),
    "null": lambda kind, value: _check(False, kind, value),
    "boolean": lambda kind, value: _check(isinstance(value, bool), kind, value),
    "decimal128": _decimal,
    "timestamp": _timestamp,
    "date32": _date,
    "date64": _date,
    "time": _time,
    "duration": lambda kind, value: _integer(kind, value) if isinstance(value, int) else _units(value, kind.args[0]),
    "list": lambda kind, value: [stored(kind.children[0][1], item) for item in _check(
        isinstance(value, (list, tuple)), kind, value)],
    "struct": _struct,
    "map": _map,
}


def python(kind, value):
    """A stored value as the Python value an author works with. Nanoseconds, and times that Python lacks, stay numbers."""
    if value is None:
        return None
    try:
        match kind.kind, kind.args:
            case "decimal128", (_, scale):
                return Decimal((int(value < 0), tuple(map(int, str(abs(value)))), -scale))
            case "date32", _:
                return dt.date.fromordinal(EPOCH.toordinal() + value)
            case "date64", _:
                return dt.date.fromordinal(EPOCH.toordinal() + value // 86_400_000)
            case "timestamp", (unit, zone) if unit != "ns":
                at = EPOCH + _delta(value, unit)
                return at.replace(tzinfo=dt.timezone.utc) if zone else at
            case "time", (unit,) if unit != "ns":
                return (EPOCH + _delta(value, unit)).time()
            case "duration", (unit,) if unit != "ns":
                return _delta(value, unit)
            case ("list" | "large-list" | "fixed-list"), _:
                return [python(kind.children[0][1], item) for item in value]
            case "map", _:
                entry = dict(kind.children[0][1].children)
                return {python(entry["key"], item["key"]): python(entry["value"], item["value"]) for item in value}
            case "struct", _:
                return {name: python(child, value[name]) for name, child in kind.children}
            case ("utf8" | "large-utf8"), _:
                return value.decode()
    except (OverflowError, ValueError):
        pass
    return value


def _delta(value, unit):
    return dt.timedelta(microseconds=value * (10**6 // PER_SECOND[unit]))
