"""DuckDB from lines to one Parquet file, and whether two sets of Parquet files have the same rows.

Arguments: `write`, a glob of lines, a file to write, a compression; or `compare`, a glob of Parquet files, another. One line of JSON.
"""

import json
import resource
import sys
import time

import duckdb

COLUMNS = {
    "id": "BIGINT",
    "ts": "TIMESTAMP",
    "user": "VARCHAR",
    "kind": "VARCHAR",
    "amount": "DOUBLE",
    "ok": "BOOLEAN",
    "note": "VARCHAR",
}


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


what, one, other = sys.argv[1:4]
if what == "compare":
    duck = duckdb.connect()
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    rows = [f"select {names} from read_parquet('{files}')" for files in (one, other)]
    counts = [duck.sql(f"select count(*) from ({query})").fetchone()[0] for query in rows]
    beyond = [
        duck.sql(f"select count(*) from ({rows[a]} except all {rows[b]})").fetchone()[0] for a, b in ((0, 1), (1, 0))
    ]
    print(json.dumps({"rows": counts, "beyond": beyond}))
else:
    # The interpreter's own start is not DuckDB's.
    begun, before = time.monotonic(), used()
    duck = duckdb.connect()
    duck.execute(
        f"""copy (select * from read_json('{one}', format = 'newline_delimited', columns = {COLUMNS}) where amount < 900)
        to '{other}' (format parquet, compression {sys.argv[4]})"""
    )
    took = {"wall": time.monotonic() - begun, "cpu": used() - before}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**took, "peak_mib": peak, "version": duckdb.__version__}))
