"""Computes Nexmark queries with DuckDB over the same events, and compares: python nexmark.py EVENTS.parquet DIRECTORY.

DIRECTORY holds q0.parquet and so on, as the pipelines made them. One JSON line a query: how many rows, and how many of them
only one side has.
"""

import json
import sys
from pathlib import Path

import duckdb

BIDS = "bids as (select unnest(bid) from events where event = 'bid')"
AUCTIONS = "auctions as (select unnest(auction) from events where event = 'auction')"
PERSONS = "persons as (select unnest(person) from events where event = 'person')"
CLOSED = f"""{BIDS}, {AUCTIONS},
    closed as (select id, category, seller, expires, max(price) as price from auctions join bids on auction = id
               where bids.date_time between auctions.date_time and expires group by id, category, seller, expires)"""
TUMBLE = "date_time // 10000 * 10000"

QUERIES = {
    "q0": f"with {BIDS} select auction, bidder, price, channel, url, date_time, extra from bids",
    "q1": f"with {BIDS} select auction, bidder, round(price * 0.908, 6), date_time from bids",
    "q2": f"with {BIDS} select auction, price from bids where auction % 123 = 0",
    "q3": f"""with {PERSONS}, {AUCTIONS} select name, city, state, auctions.id from auctions join persons on seller = persons.id
              where category = 10 and state in ('OR', 'ID', 'CA')""",
    "q4": f"with {CLOSED} select category, round(avg(price), 6) from closed group by category",
    "q5": f"""with {BIDS},
              hops as (select auction, unnest(range(date_time // 2000 * 2000 - 8000, date_time // 2000 * 2000 + 1, 2000)) as start
                       from bids),
              counts as (select auction, start, count(*) as bids from hops group by auction, start)
              select auction, start, bids from counts qualify bids = max(bids) over (partition by start)""",
    "q6": f"""with {CLOSED} select id, seller, round(avg(price) over (partition by seller order by expires, id
              rows between 9 preceding and current row), 6) from closed""",
    "q7": f"""with {BIDS} select auction, bidder, price, date_time from bids
              qualify price = max(price) over (partition by {TUMBLE})""",
    "q8": f"""with {PERSONS}, {AUCTIONS},
              sellers as (select distinct seller, {TUMBLE} as start from auctions)
              select id, name, start from persons join sellers on id = seller and {TUMBLE} = start""",
    "q11": f"""with {BIDS},
               gaps as (select bidder, date_time, date_time - lag(date_time) over (partition by bidder order by date_time) as gap from bids),
               numbered as (select bidder, sum(case when gap is null or gap >= 10000 then 1 else 0 end)
                            over (partition by bidder order by date_time) as session from gaps)
               select bidder, count(*) as bids from numbered group by bidder, session""",
    "q12": f"with {BIDS} select bidder, {TUMBLE} as start, count(*) as bids from bids group by bidder, start",
}

OURS = {
    "q0": 'select auction, bidder, price, channel, url, "at", extra from ours',
    "q1": 'select auction, bidder, round(price, 6), "at" from ours',
    "q2": "select auction, price from ours",
    "q3": "select name, city, state, id from ours",
    "q4": "select category, round(price, 6) from ours",
    "q5": "select auction, window_start, bids from ours",
    "q6": "select id, seller, round(price, 6) from ours",
    "q7": 'select auction, bidder, price, "at" from ours',
    "q8": "select id, name, window_start from ours",
    "q11": "select bidder, bids from ours",
    "q12": "select bidder, epoch_ms(window_start), bids from ours",
}


def main(events: str, directory: str) -> None:
    connection = duckdb.connect()
    connection.execute(f"create view events as select * from read_parquet('{events}')")
    for name, query in QUERIES.items():
        file = Path(directory) / f"{name}.parquet"
        connection.execute(f"create or replace view ours as select * from read_parquet('{file}')")
        connection.execute(f"create or replace temp table a as {OURS[name]}")
        connection.execute(f"create or replace temp table b as {query}")

        def count(sql: str) -> int:
            return connection.execute(f"select count(*) from ({sql})").fetchone()[0]

        counts = {
            "query": name,
            "rows": count("from b"),
            "only_ours": count("from a except all from b"),
            "only_duckdb": count("from b except all from a"),
        }
        print(json.dumps(counts))


main(*sys.argv[1:])
