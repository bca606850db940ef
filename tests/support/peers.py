"""Writes what the decoders are to read, with the libraries that others write it with: peers.py DIRECTORY."""

import datetime
import decimal
import pathlib
import sys
import uuid

import fastavro
import pyarrow
import pyarrow.ipc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

root = pathlib.Path(sys.argv[1])
for name in ["avro", "record", "confluent", "arrow", "protobuf"]:
    (root / name).mkdir(parents=True)

order = {
    "type": "record",
    "name": "shop.Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}},
        {"name": "lines", "type": {"type": "array", "items": {
            "type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}, {"name": "n", "type": "int"}]}}},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "code", "type": {"type": "fixed", "name": "Code", "size": 4}},
        {"name": "ok", "type": "boolean"},
        {"name": "ratio", "type": "double"},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
    ],
}


def record(id):
    return {
        "id": id,
        "kind": ["NEW", "OLD"][id % 2],
        "note": None if id % 3 == 0 else f"é {id}",
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=datetime.timezone.utc),
        "day": datetime.date(2026, 1, 2),
        "price": decimal.Decimal(f"{id}.25"),
        "lines": [{"sku": f"s{line}", "n": line} for line in range(id % 3)],
        "tags": {"a": str(id)},
        "code": b"abcd",
        "ok": id % 2 == 0,
        "ratio": id / 4,
        "key": uuid.UUID(int=id),
    }


parsed = fastavro.parse_schema(order)
for codec, first in [("null", 0), ("deflate", 100), ("null", 200)]:
    with open(root / "avro" / f"{first}.avro", "wb") as out:
        fastavro.writer(out, parsed, [record(first + id) for id in range(100)], codec=codec, sync_interval=1000)
(root / "avro" / "9-broken.avro").write_bytes((root / "avro" / "0.avro").read_bytes()[:-7])

small = {"type": "record", "name": "Small", "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]}
(root / "small.avsc").write_text(__import__("json").dumps(small))
for id in range(3):
    for name, prefix in [("record", b""), ("confluent", b"\0\0\0\0\7")]:
        with open(root / name / str(id), "wb") as out:
            out.write(prefix)
            fastavro.schemaless_writer(out, fastavro.parse_schema(small), {"id": id, "name": None if id == 1 else f"n{id}"})

for name, options in [("a", None), ("b", pyarrow.ipc.IpcWriteOptions(compression="zstd"))]:
    ids = range(0, 50) if name == "a" else range(50, 1000)
    table = pyarrow.table({
        "id": pyarrow.array(ids, pyarrow.int64()),
        "name": pyarrow.array([f"n{id % 5}" for id in ids]).dictionary_encode(),
        "at": pyarrow.array([id * 1000 for id in ids], pyarrow.timestamp("us", "UTC")),
        "point": pyarrow.array([{"x": id, "y": [id / 2]} for id in ids]),
        "big": pyarrow.array([str(id) for id in ids], pyarrow.large_string()),
    })
    with pyarrow.ipc.new_stream(root / "arrow" / f"{name}.arrows", table.schema, options=options) as out:
        out.write_table(table, max_chunksize=300)

file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
file.dependency.append("google/protobuf/timestamp.proto")
kind = file.enum_type.add(name="Kind")
kind.value.add(name="NEW", number=0)
kind.value.add(name="OLD", number=1)
line = file.message_type.add(name="Line")
line.field.add(name="sku", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
message = file.message_type.add(name="Order")
entry = message.nested_type.add(name="CountsEntry")
entry.options.map_entry = True
entry.field.add(name="key", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
entry.field.add(name="value", number=2, type="TYPE_INT32", label="LABEL_OPTIONAL")
for number, (name, kind, label, of) in enumerate([
    ("id", "TYPE_INT64", "LABEL_OPTIONAL", None),
    ("kind", "TYPE_ENUM", "LABEL_OPTIONAL", ".shop.Kind"),
    ("lines", "TYPE_MESSAGE", "LABEL_REPEATED", ".shop.Line"),
    ("counts", "TYPE_MESSAGE", "LABEL_REPEATED", ".shop.Order.CountsEntry"),
    ("at", "TYPE_MESSAGE", "LABEL_OPTIONAL", ".google.protobuf.Timestamp"),
    ("blob", "TYPE_BYTES", "LABEL_OPTIONAL", None),
], 1):
    message.field.add(name=name, number=number, type=kind, label=label, type_name=of)
stamp = descriptor_pb2.FileDescriptorProto()
timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
(root / "shop.pb").write_bytes(descriptor_pb2.FileDescriptorSet(file=[stamp, file]).SerializeToString())
pool = descriptor_pool.DescriptorPool()
pool.Add(stamp)
pool.Add(file)
Order = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))
for id in range(1, 4):
    order = Order(id=id, kind=[0, 1, 9][id - 1], blob=b"\1\2")
    order.at.seconds = 1_700_000_000 + id
    order.counts["b"] = 2
    order.counts["a"] = id
    for number in range(id):
        order.lines.add(sku=f"s{number}")
    (root / "protobuf" / str(id)).write_bytes(order.SerializeToString())
