"""Nexmark by others over the same file of events: python nexmark_peers.py VERB …

make EVENTS.parquet EVENTS.ndjson   writes the events as lines
run EVENTS.ndjson OUT QUERY         runs the query with DataFusion, to Parquet in OUT, and prints what it took as JSON
same OURS.parquet OUT QUERY         prints how many rows only one side has, as JSON
bytewax EVENTS.ndjson OUT QUERY     runs the query with Bytewax, to lines in OUT
same-lines OUT.parquet OUT QUERY    as same, for what Bytewax wrote
"""

import json
import resource
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

BIDS = "bids as (select bid['auction'] as auction, bid['bidder'] as bidder, bid['price'] as price, bid['channel'] as channel, bid['url'] as url, bid['date_time'] as date_time, bid['extra'] as extra from events where event = 'bid')"
AUCTIONS = "auctions as (select auction['id'] as id, auction['seller'] as seller, auction['category'] as category, auction['date_time'] as date_time, auction['expires'] as expires from events where event = 'auction')"
PERSONS = "persons as (select person['id'] as id, person['name'] as name, person['city'] as city, person['state'] as state, person['date_time'] as date_time from events where event = 'person')"
CLOSED = f"""{BIDS}, {AUCTIONS},
    closed as (select id, category, seller, expires, max(price) as price from auctions join bids on auction = id
               where bids.date_time between auctions.date_time and expires group by id, category, seller, expires)"""
TUMBLE = "date_time / 10000 * 10000"

QUERIES = {
    "q0": f"with {BIDS} select auction, bidder, price, channel, url, date_time, extra from bids",
    "q1": f"with {BIDS} select auction, bidder, price * 0.908 as price, date_time from bids",
    "q2": f"with {BIDS} select auction, price from bids where auction % 123 = 0",
    "q3": f"""with {PERSONS}, {AUCTIONS} select name, city, state, auctions.id as id from auctions join persons on seller = persons.id
              where category = 10 and state in ('OR', 'ID', 'CA')""",
    "q4": f"with {CLOSED} select category, avg(price) as price from closed group by category",
    "q5": f"""with {BIDS},
              hops as (select auction, unnest(range(date_time / 2000 * 2000 - 8000, date_time / 2000 * 2000 + 1, 2000)) as start
                       from bids),
              counts as (select auction, start, count(*) as bids from hops group by auction, start),
              most as (select auction, start, bids, max(bids) over (partition by start) as top from counts)
              select auction, start, bids from most where bids = top""",
    "q6": f"""with {CLOSED} select id, seller, avg(price) over (partition by seller order by expires, id
              rows between 9 preceding and current row) as price from closed""",
    "q7": f"""with {BIDS}, most as (select *, max(price) over (partition by {TUMBLE}) as top from bids)
              select auction, bidder, price, date_time from most where price = top""",
    "q8": f"""with {PERSONS}, {AUCTIONS},
              sellers as (select distinct seller, {TUMBLE} as start from auctions)
              select id, name, start from persons join sellers on id = seller and {TUMBLE} = start""",
    "q11": f"""with {BIDS},
               gaps as (select bidder, date_time, date_time - lag(date_time) over (partition by bidder order by date_time) as gap from bids),
               numbered as (select bidder, sum(case when gap is null or gap >= 10000 then 1 else 0 end)
                            over (partition by bidder order by date_time) as session from gaps)
               select bidder, count(*) as bids from numbered group by bidder, session""",
    "q12": f"with {BIDS} select bidder, {TUMBLE} as start, count(*) as bids from bids group by bidder, {TUMBLE}",
}

# The columns of ours that stand for those.
OURS = {
    "q0": 'auction, bidder, price, channel, url, "at", extra',
    "q1": 'auction, bidder, round(price, 6), "at"',
    "q2": "auction, price",
    "q3": "name, city, state, id",
    "q4": "category, round(price, 6)",
    "q5": "auction, cast(window_start as bigint), bids",
    "q6": "id, seller, round(price, 6)",
    "q7": 'auction, bidder, price, "at"',
    "q8": "id, name, cast(window_start as bigint)",
    "q11": "bidder, bids",
    "q12": "bidder, cast(window_start as bigint), bids",
}
THEIRS = {
    "q0": "auction, bidder, price, channel, url, date_time, extra",
    "q1": "auction, bidder, round(price, 6), date_time",
    "q2": "auction, price",
    "q3": "name, city, state, id",
    "q4": "category, round(price, 6)",
    "q5": "auction, start, bids",
    "q6": "id, seller, round(price, 6)",
    "q7": "auction, bidder, price, date_time",
    "q8": "id, name, start",
    "q11": "bidder, bids",
    "q12": "bidder, start, bids",
}


def make(events: str, lines: str) -> None:
    import pyarrow.parquet

    with open(lines, "w") as out:
        for batch in pyarrow.parquet.ParquetFile(events).iter_batches():
            for row in batch.to_pylist():
                out.write(json.dumps({"event": row["event"], row["event"]: row[row["event"]]}, separators=(",", ":")) + "\n")


def schema():
    import pyarrow as pa

    def struct(**kinds):
        return pa.struct([(name, kind) for name, kind in kinds.items()])

    whole, text = pa.int64(), pa.utf8()
    return pa.schema([
        ("event", text),
        ("person", struct(id=whole, name=text, city=text, state=text, date_time=whole)),
        ("auction", struct(id=whole, seller=whole, category=whole, date_time=whole, expires=whole)),
        ("bid", struct(auction=whole, bidder=whole, price=whole, channel=text, url=text, date_time=whole, extra=text)),
    ])


def spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run(lines: str, out: str, query: str) -> None:
    import datafusion

    begun, cpu = time.monotonic(), spent()
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(2))
    context.register_json("events", lines, schema=schema(), file_extension=".ndjson")
    context.sql(QUERIES[query]).write_parquet(out)
    took = {"wall": time.monotonic() - begun, "cpu": spent() - cpu, "version": datafusion.__version__}
    print(json.dumps(took))


def compare(a, b) -> None:
    """`a` and `b` are selects of the same columns."""
    import datafusion

    context = datafusion.SessionContext()
    for name, (file, columns) in {"a": a, "b": b}.items():
        context.register_parquet(f"{name}_file", file)
        fields = context.sql(f"select {columns} from {name}_file").schema().names
        grouped = ", ".join(f'"{field}"' for field in fields)
        numbered = ", ".join(f'"{field}" as c{at}' for at, field in enumerate(fields))
        context.sql(f"create view {name} as select {numbered}, count(*) as n from (select {columns} from {name}_file) group by {grouped}").collect()
        width = len(fields)
    both = ", ".join([f"c{at}" for at in range(width)] + ["n"])

    def count(sql: str) -> int:
        return context.sql(f"select count(*) as n from ({sql})").collect()[0].column(0)[0].as_py()

    counts = {
        "rows": count("select * from b"),
        "only_ours": count(f"select {both} from a except select {both} from b"),
        "only_theirs": count(f"select {both} from b except select {both} from a"),
    }
    print(json.dumps(counts))


def flow(lines: str, out: str, query: str):
    import bytewax.operators as op
    import bytewax.operators.windowing as windowing
    from bytewax.connectors.files import FileSink, FileSource
    from bytewax.dataflow import Dataflow

    dataflow = Dataflow(query)
    events = op.map("events", op.input("lines", dataflow, FileSource(lines, batch_size=1000)), json.loads)
    bids = op.filter_map("bids", events, lambda event: event.get("bid"))
    if query == "q1":
        rows = op.map("row", bids, lambda bid: [bid["auction"], bid["bidder"], bid["price"] * 0.908, bid["date_time"]])
    elif query == "q2":
        some = op.filter("some", bids, lambda bid: bid["auction"] % 123 == 0)
        rows = op.map("row", some, lambda bid: [bid["auction"], bid["price"]])
    else:
        start = datetime(1970, 1, 1, tzinfo=timezone.utc)
        clock = windowing.EventClock(
            ts_getter=lambda bid: start + timedelta(milliseconds=bid["date_time"]),
            # Its clock runs on while it computes, and would leave rows out that come later than it expects.
            wait_for_system_duration=timedelta(hours=1),
        )
        ten = windowing.TumblingWindower(align_to=start, length=timedelta(seconds=10))
        counted = windowing.count_window("counted", bids, clock, ten, key=lambda bid: str(bid["bidder"]))
        rows = op.map("row", counted.down, lambda it: [int(it[0]), it[1][0] * 10_000, it[1][1]])
    text = op.map("text", rows, lambda row: ("", json.dumps(row)))
    op.output("out", text, FileSink(Path(out)))
    return dataflow


def bytewax(lines: str, out: str, query: str) -> None:
    from importlib.metadata import version

    from bytewax.testing import run_main

    begun, cpu = time.monotonic(), spent()
    run_main(flow(lines, out, query))
    print(json.dumps({"wall": time.monotonic() - begun, "cpu": spent() - cpu, "version": version("bytewax")}))


def same_lines(theirs: str, out: str, query: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    rows = [json.loads(line) for line in open(out)]
    columns = {f"c{at}": pa.array([row[at] for row in rows]) for at in range(len(rows[0]))}
    pyarrow.parquet.write_table(pa.table(columns), out + ".parquet")
    names = [f"round({name}, 6)" if column.type == pa.float64() else name for name, column in columns.items()]
    compare((out + ".parquet", ", ".join(names)), (theirs, THEIRS[query]))


def main(verb: str, *rest: str) -> None:
    if verb == "same":
        ours, theirs, query = rest
        compare((ours, OURS[query]), (theirs, THEIRS[query]))
    else:
        {"make": make, "run": run, "bytewax": bytewax, "same-lines": same_lines}[verb](*rest)


main(*sys.argv[1:])
