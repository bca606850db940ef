"""Writes Avro messages of several schemas in Confluent's framing, and what fastavro reads of them with one other schema."""

import io
import json
import pathlib
import random
import sys

import fastavro

root = pathlib.Path(sys.argv[1])
(root / "in").mkdir()


def order(*fields):
    return {"type": "record", "name": "Order", "namespace": "shop", "fields": list(fields)}


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


def kind(*symbols, **more):
    return {"type": "enum", "name": "Kind", "symbols": list(symbols), **more}


def record(name, *fields, **more):
    return {"type": "record", "name": name, "fields": list(fields), **more}


strings = {"type": "array", "items": "string"}
reader = order(
    field("id", "long"),
    field("total", "double", aliases=["amount"]),
    field("note", ["null", "string"], default=None),
    field("currency", "string", default="EUR"),
    field("kind", kind("NEW", "OLD", "UNKNOWN", default="UNKNOWN"), default="OLD"),
    field("tags", strings, default=["none", "é"]),
    field(
        "to",
        record("Address", field("city", "string"), field("zip", ["null", "int"], default=None), field("country", "string", default="DE"), aliases=["Place"]),
        default={"city": "nowhere", "country": "DE"},
    ),
    field("ratio", ["null", "double"], default=None),
)
writers = {
    1: order(
        field("ratio", "int"), field("extra", ["null", {"type": "map", "values": "long"}]), field("kind", kind("FOO", "NEW")), field("note", "string"),
        field("amount", "float"), field("id", "int"),
    ),
    2: order(
        field("id", "long"), field("total", "int"), field("tags", strings),
        field("to", record("Place", field("street", "string"), field("zip", "int"), field("city", "string"))), field("kind", kind("OLD")),
    ),
    3: order(field("id", ["int", "long"]), field("total", ["null", "double"]), field("currency", "string"), field("ratio", ["float", "null"])),
    4: order(field("total", "double")),
    5: order(field("id", "long"), field("amount", "long"), field("note", ["string", "null"]), field("ratio", ["null", "int"]), field("kind", kind("OLD", "NEW", "GONE"))),
}
(root / "reader.json").write_text(json.dumps(reader))
for id, writer in writers.items():
    (root / f"{id}.json").write_text(json.dumps(writer))

dice = random.Random(11)
text = lambda: "".join(dice.choices("abcé \u4e2d\U0001f600", k=dice.randrange(12)))
with open(root / "expected.ndjson", "w") as expected:
    refused = 0
    for id in range(200):
        number = dice.choice(list(writers))
        ratio = dice.choice([None, dice.randrange(-50, 50) if number == 5 else dice.randrange(-1000, 1000) / 8])
        value = {
            "id": id, "note": text() if number == 1 else dice.choice([None, text()]), "tags": [text() for _ in range(dice.randrange(4))],
            "ratio": dice.randrange(100) if number == 1 else ratio, "total": dice.randrange(1000) if number == 2 else dice.choice([None, 1.5, -2.25]) if number == 3 else 0.5,
            "amount": dice.randrange(1 << 20) if number == 5 else dice.randrange(-1000, 1000) / 8, "currency": text(),
            "to": {"city": text(), "zip": dice.randrange(100000), "street": text()}, "extra": dice.choice([None, {text(): id}]),
            "kind": dice.choice([symbol for one in writers[number]["fields"] if one["name"] == "kind" for symbol in one["type"]["symbols"]] or [None]),
        }
        parsed = fastavro.parse_schema(writers[number])
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, value)
        (root / "in" / f"{id:03}").write_bytes(b"\0" + number.to_bytes(4, "big") + out.getvalue())
        out.seek(0)
        try:
            row = fastavro.schemaless_reader(out, parsed, fastavro.parse_schema(reader))
        except fastavro.schema.SchemaResolutionError if hasattr(fastavro.schema, "SchemaResolutionError") else fastavro.read.SchemaResolutionError:
            refused += 1
            continue
        row = {key: row[key] for key in [one["name"] for one in reader["fields"]] if row.get(key) is not None}
        row["to"] = {key: row["to"][key] for key in ["city", "zip", "country"] if row["to"].get(key) is not None}
        expected.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
(root / "refused").write_text(str(refused))
