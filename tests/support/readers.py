"""What readers that nobody here wrote see of a Delta table: one line of JSON for each reader, version and question.

Arguments: the root of a table, then versions. DuckDB reads with its own extension, which is loaded from a wheel.
"""

import datetime
import decimal
import glob
import json
import os
import sys

import deltalake
import duckdb
import duckdb_extension_delta
import polars
import pyarrow

root, versions = sys.argv[1], [int(version) for version in sys.argv[2:]]


def with_duckdb(version):
    # The pinned version is a part of attaching, and the newest one is what a scan sees.
    extension = glob.glob(os.path.dirname(duckdb_extension_delta.__file__) + "/extensions/*/delta.duckdb_extension")[0]
    duck = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    duck.execute("set timezone = 'UTC'")
    duck.load_extension(extension)
    duck.execute(f"attach '{root}' as t (type delta, version {version})")
    return duck.sql("from t").to_arrow_table()


def with_query(version):
    table = deltalake.DeltaTable(root, version=version)
    answer = deltalake.QueryBuilder().register("t", table).execute("select * from t")
    return pyarrow.table(answer.read_all())


READERS = {
    "deltalake": lambda version: deltalake.DeltaTable(root, version=version).to_pyarrow_table(),
    "deltalake's DataFusion": with_query,
    "polars": lambda version: polars.read_delta(root, version=version).to_arrow(),
    "duckdb": with_duckdb,
}


def plain(value):
    """Values as JSON has them; times as milliseconds, or exactly as texts where that is asked for."""
    if hasattr(value, "timestamp"):
        if "SPOUT_TEXTS" not in os.environ:
            return round(value.timestamp() * 1000)
        utc = value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
        return datetime.datetime(*utc.timetuple()[:6], utc.microsecond).isoformat()
    if isinstance(value, (decimal.Decimal, datetime.date)):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def told(**line):
    print(json.dumps(line, sort_keys=True, ensure_ascii=False))


history = {entry["version"]: entry for entry in deltalake.DeltaTable(root).history()}
for version in versions:
    told(reader="history", version=version, commit=history.get(version, {}).get("userMetadata"))
    for reader, read in READERS.items():
        rows = read(version).to_pylist()
        rows = [{name: plain(value) for name, value in row.items() if value is not None} for row in rows]
        told(reader=reader, version=version, rows=sorted(rows, key=lambda row: json.dumps(row, sort_keys=True)))

if "SPOUT_TEXTS" in os.environ:
    sys.exit()

# Filters go by statistics: a file that is skipped wrongly shows here.
lazy = polars.scan_delta(root).filter(polars.col("id") >= 2005).collect()
exact = [row for row in polars.read_delta(root).to_dicts() if row["id"] >= 2005]
told(reader="polars' filter", version=None, same=lazy.height == len(exact))
sql = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(root)).execute("select id from t where id >= 2005")
told(reader="DataFusion's filter", version=None, same=pyarrow.table(sql.read_all()).num_rows == len(exact))

# Other writers keep out.
try:
    deltalake.write_deltalake(root, pyarrow.table({"id": [1]}), mode="append")
    told(reader="a writer", version=None, same=False)
except deltalake.exceptions.DeltaError:
    told(reader="a writer", version=None, same=True)
