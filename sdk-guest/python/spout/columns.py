"""Columns of stored values into Arrow's buffers and back; nothing of this is visible to authors."""

import struct
from array import array



_CODES = {"int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
          "float32": "f", "float64": "d", "float16": "e", "date32": "i", "date64": "q", "timestamp": "q", "duration": "q"}
_NESTED = ("list", "map")


def _code(kind):
    if kind.kind == "time":
        return "i" if kind.args[0] in ("s", "ms") else "q"
    return _CODES.get(kind.kind)


def bits(flags):
    """Flags as a bitmap, least significant bit first."""
    padded = list(flags)
    padded += [False] * (-len(padded) % 8)
    return bytes(sum(1 << at for at in range(8) if padded[byte + at]) for byte in range(0, len(padded), 8))


def flags(bitmap, count):
    """The first `count` flags of a bitmap."""
    return [bool(bitmap[at >> 3] >> (at & 7) & 1) for at in range(count)]


def encode(kind, values, nodes, buffers):
    """Appends the array of `values`: (length, nulls) to `nodes`, its buffers to `buffers`, then its children's."""
    nulls = sum(value is None for value in values)
    nodes.append((len(values), nulls))
    if kind.kind == "null":
        return
    buffers.append(bits(value is not None for value in values) if nulls else b"")
    code = _code(kind)
    if kind.kind == "boolean":
        buffers.append(bits(bool(value) for value in values))
    elif code == "e":
        buffers.append(struct.pack(f"<{len(values)}e", *(value or 0 for value in values)))
    elif code:
        buffers.append(array(code, [0 if value is None else value for value in values]).tobytes())
    elif kind.kind == "decimal128":
        buffers.append(b"".join((value or 0).to_bytes(16, "little", signed=True) for value in values))
    elif kind.kind == "fixed-binary":
        buffers.append(b"".join(value or bytes(kind.args[0]) for value in values))
    elif kind.kind == "struct":
        for name, child in kind.children:
            encode(child, [value and value[name] for value in values], nodes, buffers)
    elif kind.kind in _NESTED:
        buffers.append(_bounds("i", values))
        encode(kind.children[0][1], [item for value in values for item in value or ()], nodes, buffers)
    else:
        buffers.append(_bounds("q" if kind.kind.startswith("large") else "i", values))
        buffers.append(b"".join(value or b"" for value in values))


def _bounds(code, values):
    bounds, at = array(code, [0]), 0
    for value in values:
        at += len(value or ())
        bounds.append(at)
    return bounds.tobytes()


def decode(kind, nodes, buffers):
    """The stored values of the next array; `nodes` and `buffers` are iterators."""
    length, nulls = next(nodes)
    if kind.kind == "null":
        return [None] * length
    validity, code = next(buffers), _code(kind)
    if kind.kind == "boolean":
        values = flags(next(buffers), length)
    elif code == "e":
        values = list(struct.unpack(f"<{length}e", next(buffers)))
    elif code:
        values = memoryview(next(buffers)).cast(code).tolist()
    elif kind.kind in ("decimal128", "fixed-binary"):
        width, data = (16, next(buffers)) if kind.kind == "decimal128" else (kind.args[0], next(buffers))
        values = [data[at:at + width] for at in range(0, length * width, width)]
        if kind.kind == "decimal128":
            values = [int.from_bytes(value, "little", signed=True) for value in values]
    elif kind.kind == "struct":
        names = [name for name, _ in kind.children]
        children = [decode(child, nodes, buffers) for _, child in kind.children]
        values = [dict(zip(names, row)) for row in zip(*children)] if children else [{} for _ in range(length)]
    elif kind.kind == "fixed-list":
        width, items = kind.args[0], decode(kind.children[0][1], nodes, buffers)
        values = [items[at:at + width] for at in range(0, length * width, width)]
    else:
        wide = kind.kind.startswith("large")
        bounds = memoryview(next(buffers)).cast("q" if wide else "i").tolist() or [0]
        nested = kind.kind in _NESTED or kind.kind == "large-list"
        data = decode(kind.children[0][1], nodes, buffers) if nested else next(buffers)
        values = [data[bounds[at]:bounds[at + 1]] for at in range(length)]
    if nulls:
        values = [value if valid else None for value, valid in zip(values, flags(validity, length))]
    return values


def table(types, values):
    """Rows, nodes and buffers of columns of stored values, by name."""
    nodes, buffers = [], []
    for name, kind in types.items():
        encode(kind, values[name], nodes, buffers)
    return nodes[0][0] if types else 0, nodes, buffers


