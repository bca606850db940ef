"""The WIT's types, and nothing but them, to and from those of the `spout` package; all that knows the WIT is in this folder."""

import _strptime  # noqa: F401 (strptime imports it when first called, too late in a sandbox without files)
import encodings.idna  # noqa: F401
import encodings.latin_1  # noqa: F401
import importlib
import os
import sys
import traceback
from itertools import accumulate

import spout.host
from componentize_py_types import Err
from spout import Message, Position, describe, errors, message
from spout.columns import table
from spout.types import Type
from spout_project import MODULE, NAME
from wit_world.imports import control, log, metrics
from wit_world.imports import types as t

OFFERS = describe.offers(importlib.import_module(MODULE), NAME)


def open_plugin(interface, name, settings):
    """A new instance of the class that offers `name` (empty: the only one), with its settings checked."""
    offers = {offer: one for kind, one, offer, *_ in OFFERS if kind == interface}
    if name not in offers and not (name == "" and len(offers) == 1):
        raise errors.ConfigError(f"there is no {interface} `{name}`; there is {', '.join(offers) or 'none'}")
    return (offers.get(name) or next(iter(offers.values())))(settings)


class told:
    """`with told():` what an author raises reaches the host as the error it stands for; anything else is a crash."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            return
        if lowered := lower_error(error):
            raise Err(lowered) from None
        crash(error)


def crash(error):
    """Ends the instance as a panic does, whose last words the host tells: what was raised, and where in the author's files."""
    frames = traceback.extract_tb(error.__traceback__)
    here = os.path.dirname(__file__)
    own = [frame for frame in frames if "/spout/" not in frame.filename and os.path.dirname(frame.filename) != here]
    at = (own or frames)[-1]
    traceback.print_exception(error)
    place = f"{at.filename.rsplit('/', 1)[-1]}:{at.lineno}"
    print(f"thread 'plugin' panicked at {place}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os.abort()


def lower_error(error):
    text = str(error)
    match error:
        case errors.ConfigError():
            return t.Error_InvalidConfig(t.Fault("settings", text, None))
        case errors.Fatal():
            return t.Error_Fatal(t.Fault(error.code, text, None))
        case errors.Retriable():
            return t.Error_Retriable(t.Fault(error.code, text, error.after_ms))
        case errors.OutOfRange():
            known = error.earliest is not None and error.latest is not None
            return t.Error_OutOfRange(t.Range(position(error.earliest), position(error.latest)) if known else None)
        case errors.EndOfStream():
            return t.Error_EndOfStream()
        case OSError():
            return t.Error_Retriable(t.Fault("io", text, None))
    return None


def position(offset):
    return t.Position(int(offset), getattr(offset, "token", None))


def raise_position(told):
    return Position(told.offset, told.token)


def blobs(values):
    values = [bytes(value) for value in values]
    return t.Blobs([0, *accumulate(map(len, values))], b"".join(values))


def unblobs(told):
    return [told.bytes[start:end] for start, end in zip(told.bounds, told.bounds[1:])]


def lower_messages(entries):
    """Messages as (offset, payload) or (partition, offset, payload)."""
    entries = list(entries)
    whole = bool(entries) and len(entries[0]) == 3
    values, nulls, keys, times, headers = message.parts([entry[-1] for entry in entries])
    return t.Messages(
        blobs(values), nulls, None if keys is None else blobs(keys), [int(entry[-2]) for entry in entries],
        [entry[0] for entry in entries] if whole else [], times, [t.Header(*header) for header in headers], [])


def raise_messages(told):
    """Payloads with what came along; a tombstone is None."""
    messages = [Message(value) for value in unblobs(told.values)]
    for at, key in enumerate(unblobs(told.keys) if told.keys else []):
        messages[at].key = key
    for name, values in (("offset", told.offsets), ("partition", told.partitions), ("timestamp_ms", told.timestamps_ms)):
        for one, value in zip(messages, values):
            setattr(one, name, value)
    for header in told.headers:
        messages[header.message].headers += ((header.name, header.value),)
    starts, current = iter(told.attributes), {}
    coming = next(starts, None)
    for at, one in enumerate(messages):
        while coming and coming.first <= at:
            current = {**current, coming.name: coming.value}
            coming = next(starts, None)
        one.attributes = current
    return [None if at in set(told.nulls) else one for at, one in enumerate(messages)] if told.nulls else messages


UNITS = dict(zip(("s", "ms", "us", "ns"), t.TimeUnit))
NAMES = {unit: name for name, unit in UNITS.items()}
_PLAIN = {
    "null": t.DataType_Null, "boolean": t.DataType_Boolean,
    "int8": t.DataType_Int8, "int16": t.DataType_Int16, "int32": t.DataType_Int32, "int64": t.DataType_Int64,
    "uint8": t.DataType_Uint8, "uint16": t.DataType_Uint16, "uint32": t.DataType_Uint32, "uint64": t.DataType_Uint64,
    "float16": t.DataType_Float16, "float32": t.DataType_Float32, "float64": t.DataType_Float64,
    "date32": t.DataType_Date32, "date64": t.DataType_Date64, "utf8": t.DataType_Utf8, "large-utf8": t.DataType_LargeUtf8,
    "binary": t.DataType_Binary, "large-binary": t.DataType_LargeBinary, "struct": t.DataType_Struct, "map": t.DataType_Map,
    "list": t.DataType_List, "large-list": t.DataType_LargeList,
}
_RAISED = {case: name for name, case in _PLAIN.items()}


def lower_schema(types):
    """Types by name as fields in pre-order."""
    fields = []

    def add(name, kind, nullable=True):
        fields.append(t.Field(name, _lower_type(kind), nullable, len(kind.children), []))
        for child_name, child in kind.children:
            # The entries of a map, and their keys, are never null.
            add(child_name, child, not (kind.kind == "map" or name == "entries" and child_name == "key"))

    for name, kind in types.items():
        add(name, kind)
    return fields


def _lower_type(kind):
    match kind.kind, kind.args:
        case "decimal128", args:
            return t.DataType_Decimal128(args)
        case "timestamp", (unit, zone):
            return t.DataType_Timestamp((UNITS[unit], zone))
        case "duration", (unit,):
            return t.DataType_Duration(UNITS[unit])
        case "time", (unit,):
            return (t.DataType_Time32 if unit in ("s", "ms") else t.DataType_Time64)(UNITS[unit])
        case "fixed-binary", (width,):
            return t.DataType_FixedSizeBinary(width)
    return _PLAIN[kind.kind]()


def raise_schema(fields):
    """Types by name from fields in pre-order."""
    at = iter(fields)

    def one(field):
        kind = field.type
        children = tuple(one(next(at)) for _ in range(field.children))
        match kind:
            case t.DataType_Decimal128(value):
                raised = Type("decimal128", tuple(value))
            case t.DataType_Timestamp((unit, zone)):
                raised = Type("timestamp", (NAMES[unit], zone))
            case t.DataType_Duration(unit):
                raised = Type("duration", (NAMES[unit],))
            case t.DataType_Time32(unit) | t.DataType_Time64(unit):
                raised = Type("time", (NAMES[unit],))
            case t.DataType_FixedSizeBinary(width):
                raised = Type("fixed-binary", (width,))
            case t.DataType_FixedSizeList(width):
                raised = Type("fixed-list", (width,), children)
            case _:
                raised = Type(_RAISED[type(kind)], (), children)
        return field.name, raised

    return dict(one(field) for field in at)


def lower_parts(types, values):
    rows, nodes, buffers = table(types, values)
    return t.Parts(rows, [t.ArrayNode(*node) for node in nodes], buffers)


class _Log(type(spout.host.log)):
    def write(self, level, message, fields):
        log.write(log.Level[level.upper()], message, fields)


def connect():
    """Connects the `spout` package to its host."""
    spout.host.log.__class__ = _Log
    spout.host.metrics.add = metrics.add
    spout.host.metrics.set = lambda gauge, to: metrics.set(gauge, float(to))
    spout.host.metrics.observe = lambda histogram, value: metrics.observe(histogram, float(value))
    spout.host._draining = control.draining
    spout.host._sleep = lambda seconds: control.pause(int(seconds * 1000))


connect()
