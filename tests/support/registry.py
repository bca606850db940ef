"""Writes Avro messages of several schemas in Confluent's framing, and what fastavro reads of them again."""

import io
import json
import pathlib
import random
import sys

import fastavro

root = pathlib.Path(sys.argv[1])
(root / "in").mkdir()

address = {"type": "record", "name": "geo.Address", "fields": [{"name": "city", "type": "string"}, {"name": "zip", "type": ["null", "int"]}]}
common = [
    {"name": "id", "type": "int"},
    {"name": "note", "type": ["null", "string"]},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "ratio", "type": "double"},
]
schemas = {
    1: common,
    2: [*common[:2], {"name": "to", "type": "geo.Address"}, *common[2:]],
    3: [{"name": "id", "type": "long"}, {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}}, {"name": "ratio", "type": "float"}],
}
records = {id: {"type": "record", "name": "Order", "namespace": "shop", "fields": fields} for id, fields in schemas.items()}
(root / "address.json").write_text(json.dumps(address))
for id, record in records.items():
    (root / f"{id}.json").write_text(json.dumps(record))

dice = random.Random(7)
text = lambda: "".join(dice.choices("abcé \u4e2d\U0001f600", k=dice.randrange(12)))
with open(root / "expected.ndjson", "w") as expected:
    for id in range(150):
        number = dice.choice([1, 2, 3])
        value = {
            "id": id, "note": dice.choice([None, text()]), "tags": [text() for _ in range(dice.randrange(4))], "ratio": dice.randrange(-1000, 1000) / 8,
            "to": {"city": text(), "zip": dice.choice([None, dice.randrange(100000)])}, "kind": dice.choice(["NEW", "OLD"]),
        }
        parsed = fastavro.schema.parse_schema(records[number], {"geo.Address": fastavro.parse_schema(address)})
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, value)
        (root / "in" / f"{id:03}").write_bytes(b"\0" + number.to_bytes(4, "big") + out.getvalue())
        out.seek(0)
        row = fastavro.schemaless_reader(out, parsed)
        row = {key: row[key] for key in ["id", "note", "to", "tags", "ratio", "kind"] if row.get(key) is not None}
        if "to" in row:
            row["to"] = {key: value for key, value in row["to"].items() if value is not None}
        expected.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
