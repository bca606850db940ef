"""Other engines, asked by one line of JSON each: how long the work took, by the clock and in processor time, and its rows.

`sql` runs a query with DuckDB over Parquet files, each time in a connection of its own; `scan` reads columns of files whole with
DuckDB or Polars; `write` writes the rows of files anew with one of them.
"""

import json
import os
import resource
import sys
import time

import duckdb

THREADS = os.cpu_count()


def polars():
    import polars

    return polars


def tables(duck, named):
    for name, files in named.items():
        duck.execute(f"create view {name} as select * from read_parquet({files})")


def sql(asked):
    duck = duckdb.connect(config={"threads": THREADS})
    tables(duck, asked["tables"])
    return duck.execute(asked["query"]).to_arrow_table().to_pylist()


def scan(asked):
    files, columns = asked["files"], asked["columns"]
    if asked["engine"] == "polars":
        frame = polars().read_parquet(files, columns=columns)
        return [frame.height]
    duck = duckdb.connect(config={"threads": THREADS})
    # All values are read, none is answered from statistics, and few come out.
    each = ", ".join(f'bit_xor(hash("{column}"))' for column in columns)
    return list(duck.execute(f"select count(*), {each} from read_parquet({files})").fetchall()[0])


def write(asked):
    files, to = asked["files"], asked["to"]
    if asked["engine"] == "polars":
        polars().read_parquet(files).write_parquet(to)
    else:
        duck = duckdb.connect(config={"threads": THREADS})
        duck.execute("set preserve_insertion_order = true")
        duck.execute(f"copy (from read_parquet({files})) to '{to}' (format parquet)")
    return []


def versions(asked):
    return [{name: __import__(name).__version__ for name in asked["of"]}]


WORK = {"sql": sql, "scan": scan, "write": write, "versions": versions}

for line in sys.stdin:
    asked = json.loads(line)
    used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    rows, wall, cpu = None, time.perf_counter(), used()
    for _ in range(asked.get("times", 1)):
        rows = WORK[asked["do"]](asked)
    wall, cpu = time.perf_counter() - wall, used() - cpu
    print(json.dumps({"rows": rows, "wall": wall, "cpu": cpu}, default=str), flush=True)
