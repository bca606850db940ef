# What a test has a Kafka client do: a command a line, as JSON, and an answer a line. librdkafka talks to the broker; kafka-python
# takes record batches apart and makes them.
import json
import random
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

SERVER = sys.argv[1] if len(sys.argv) > 1 else ""
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def producer(codec="none", **more):
    return Producer({"bootstrap.servers": SERVER, "linger.ms": 10, "compression.type": codec, **more})


def sent(client, topic, messages):
    """Sends them; each with the partition and offset that it got."""
    answers, failed = [], []

    def delivered(error, message, item):
        if error is None:
            answers.append({**item, "partition": message.partition(), "offset": message.offset()})
        else:
            failed.append(str(error))

    for item in messages:
        fields = {
            "value": None if item["value"] is None else bytes.fromhex(item["value"]),
            "key": None if item["key"] is None else bytes.fromhex(item["key"]),
            "partition": item["partition"],
            "headers": [(name, bytes.fromhex(value)) for name, value in item.get("headers", [])],
        }
        if "time" in item:
            fields["timestamp"] = item["time"]
        while True:
            try:
                client.produce(topic, on_delivery=lambda error, message, item=item: delivered(error, message, item), **fields)
                break
            except BufferError:
                client.poll(0.05)
        client.poll(0)
    client.flush(30)
    if failed:
        raise RuntimeError(failed[0])
    return answers


def make(topic, partitions):
    client = AdminClient({"bootstrap.servers": SERVER})
    client.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)


def drop(topic):
    client = AdminClient({"bootstrap.servers": SERVER})
    client.delete_topics([topic])[topic].result(10)


def fill(topic, partitions, start, count, codec="lz4"):
    """Numbers from `start` on, round the partitions, then one more in each, alone in its batch: this broker says of a partition
    that it ends after the first message of its last batch."""
    client = producer(codec, **{"batch.num.messages": 2000})
    number = lambda n: {"value": str(n).encode().hex(), "key": None, "partition": n % partitions}
    sent(client, topic, map(number, range(start, start + count - partitions)))
    sent(client, topic, map(number, range(start + count - partitions, start + count)))


def events(topic, partitions, count, codec):
    """As many messages of some 200 bytes, in batches of 1 MiB at most; for each partition one more, alone, as in `fill`."""
    client = producer(codec, **{"batch.num.messages": 5000, "linger.ms": 100, "queue.buffering.max.messages": 1000000})
    text = "abcdefghijklmnopqrstuvwxyz" * 4
    for n in range(count):
        value = f'{{"n":{n},"user":"user-{n * 7919 % 100003}","amount":{n * 31 % 9973}.25,"text":"{text[n % 26:]}{n * 104729 % 1000003}"}}'
        last = n + partitions - count
        if last == 0:
            client.flush(60)
        client.produce(topic, value.encode(), f"k{n % 1000}".encode(), last if last >= 0 else n % partitions)
        if n % 1000 == 0:
            client.poll(0)
    return client.flush(60)


def mixed(topic, partitions):
    """Whatever a message may be, in every codec."""
    dice, answers = random.Random(7), []
    for codec in CODECS:
        messages = []
        for n in range(60):
            length = dice.choice([0, 1, 30, 3000])
            value = None if n % 7 == 3 else dice.randbytes(length).hex()
            key = None if n % 3 == 0 else dice.randbytes(1 + n % 5).hex()
            messages.append({"value": value, "key": key, "partition": n % partitions})
        answers += sent(producer(codec), topic, messages)
    return answers


def tagged(topic):
    """Numbers with headers, keys and times."""
    messages = [
        {
            "value": str(n).encode().hex(),
            "key": f"k{n}".encode().hex(),
            "partition": 0,
            "time": 1_700_000_000_000 + 1000 * n,
            "headers": [("h", str(n).encode().hex()), ("h", ""), ("é", b"x".hex())],
        }
        for n in range(100)
    ]
    sent(producer(), topic, messages)


def committed(topic, partitions, group):
    client = Consumer({"bootstrap.servers": SERVER, "group.id": group})
    answer = client.committed([TopicPartition(topic, n) for n in range(partitions)], timeout=10)
    client.close()
    return [one.offset for one in answer]


def taken_apart(batches):
    """The records of batches, as kafka-python reads them."""
    from kafka.record import MemoryRecords

    records, all = MemoryRecords(bytes.fromhex(batches)), []
    while records.has_next():
        batch = records.next_batch()
        assert batch.validate_crc(), "the checksum is wrong"
        for record in batch:
            show = lambda bytes: None if bytes is None else bytes.hex()
            headers = [[name, show(value)] for name, value in record.headers]
            all.append([record.offset, record.timestamp, show(record.key), show(record.value), headers])
    return all


def made(codec, records):
    """A batch of records, as kafka-python makes it."""
    from kafka.record.default_records import DefaultRecordBatchBuilder

    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=False, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
    )
    bytes_of = lambda text: None if text is None else bytes.fromhex(text)
    for offset, time, key, value, headers in records:
        headers = [(name, bytes_of(inner)) for name, inner in headers]
        assert builder.append(offset, time, bytes_of(key), bytes_of(value), headers)
    return bytes(builder.build()).hex()


for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(globals()[name](*arguments)), flush=True)
