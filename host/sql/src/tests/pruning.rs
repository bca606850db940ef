//! Queries read what they need and no more, and find the same as if they read everything.

use std::sync::LazyLock;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
        TimestampMillisecondArray,
    },
    util::pretty::pretty_format_batches,
};
use datafusion::{datasource::MemTable, prelude::SessionContext};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use proptest::prelude::*;

use super::{counting_store::Counting, *};

fn counting() -> (Store, Arc<Counting>) {
    let counting = Counting::new();
    let inner: Arc<dyn object_store::ObjectStore> = Arc::<Counting>::clone(&counting);
    (Store::over(inner, "memory://"), counting)
}

/// Numbers that no compression makes small.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1), |last| {
        let mut next = *last;
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        Some(next)
    })
}

/// Ids `from..to`, each with a wide text.
fn wide(from: i64, to: i64) -> RecordBatch {
    let text = noise(u64::try_from(from).unwrap() + 1).take(usize::try_from(to - from).unwrap());
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from_iter_values(from..to))),
        (
            "text",
            Arc::new(
                text.map(|n| Some(format!("{n:016x}{:016x}{:016x}", n ^ 0x55, n ^ 0xaa))).collect::<StringArray>(),
            ),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A Parquet file with small row groups, of which the record says nothing but the number of rows.
fn grouped(batch: &RecordBatch, rows: usize) -> Encoded {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let sha256 = spout_format::sha256(&bytes);
    let (rows, schema) = (batch.num_rows() as u64, batch.schema());
    Encoded { bytes: bytes.into(), format: Format::Parquet, schema, rows, sha256, columns: Vec::new(), portable: false }
}

async fn put(store: &Store, files: Vec<(String, Encoded)>) -> u64 {
    let repo = store.repo_or_create("t", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let mut open = repo.open_commit();
    let mut size = 0;
    for (path, table) in files {
        size += table.bytes.len() as u64;
        open.put_table(&path, PutMode::Append, table).await.unwrap();
    }
    committed(writer.finish(open, meta(None, 1)).await);
    size
}

async fn shown(store: &Store, sql: &str, verify: Verify) -> Result<String, Error> {
    let batches = query_verified(store, sql, &At::new(), verify).await?.collect().await?;
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

/// The one number that `sql` finds.
async fn number(store: &Store, sql: &str) -> i64 {
    let batches = query(store, sql, &At::new()).await.unwrap().collect().await.unwrap();
    let column = arrow::compute::cast(batches[0].column(0), &DataType::Int64).unwrap();
    column.as_any().downcast_ref::<Int64Array>().unwrap().value(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_left_out_by_what_the_record_says() {
    let (store, counting) = counting();
    let file = |n: i64| (format!("/{n:02}.parquet"), encode(Format::Parquet, &wide(n * 10_000, (n + 1) * 10_000)));
    let all = put(&store, (0..12).map(file).collect()).await;
    let check = async |sql: &str, expected: i64, most: u64| {
        counting.taken();
        assert_eq!(number(&store, sql).await, expected, "{sql}");
        let read = counting.taken();
        assert!(read <= most, "{sql}: {read} of {all} bytes were read, {most} are enough");
    };
    let one = all / 12;
    check("select count(*) from t", 120_000, 0).await;
    check("select min(id) from t", 0, 0).await;
    check("select max(id) - min(id) from t", 119_999, 0).await;
    check("select count(id) from t", 120_000, 0).await;
    check("select count(*) from t where id = 55555", 1, one / 2).await;
    check("select count(text) from t where id = 55555", 1, one + one / 2).await;
    check("select sum(id) from t where id >= 119999", 119_999, one / 2).await;
    check("select count(*) from t where id > 200000 or id is null", 0, 0).await;
    check("select count(*) from t where id % 2 = 0", 60_000, all / 2).await;
    check("select count(*) from (select * from t limit 5)", 5, 2 * one).await;
    check("select count(text) from (select text from t limit 20000)", 20_000, 3 * one).await;
    check("select count(distinct text) from t", 120_000, all + 12 * (64 << 10)).await;
    let plan = shown(&store, "explain select id from t where id = 55555", Verify::Parts).await.unwrap();
    assert!(plan.contains("files=1/12"), "{plan}");
    counting.taken();
    shown(&store, "select count(*) from t where id % 2 = 0", Verify::Whole).await.unwrap();
    assert_eq!(counting.taken(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_groups_are_left_out_by_the_footer() {
    let (store, counting) = counting();
    let all = put(&store, vec![("/a.parquet".to_owned(), grouped(&wide(0, 60_000), 5000))]).await;
    for (sql, expected, most) in [
        ("select count(text) from t where id between 20001 and 20010", 10, all / 8),
        ("select count(*) from t where id < 0", 0, all / 20),
        ("select count(text) from t where id < 50000", 50_000, all + all / 10),
    ] {
        counting.taken();
        assert_eq!(number(&store, sql).await, expected, "{sql}");
        let read = counting.taken();
        assert!(read <= most, "{sql}: {read} of {all} bytes were read, {most} are enough");
    }
    let plan = "explain analyze select text from t where id between 20001 and 20010";
    let plan = shown(&store, plan, Verify::Parts).await.unwrap();
    assert!(plan.contains("row_groups_read=1") && plan.contains("row_groups_pruned=11"), "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_altered_is_met() {
    let sql = "select count(*) from t where id % 2 = 0";
    let check = async |change: fn(&mut Vec<u8>), parts: Option<&str>| {
        let (store, counting) = counting();
        put(&store, vec![("/a.parquet".to_owned(), encode(Format::Parquet, &wide(0, 20_000)))]).await;
        counting.alter(change).await;
        let found = shown(&store, sql, Verify::Parts).await.map(drop).map_err(|error| code(&error));
        assert_eq!(found.err(), parts);
        let found = shown(&store, sql, Verify::Whole).await.map(drop).map_err(|error| code(&error));
        assert_eq!(found.err(), Some("E0523"));
    };
    // A column that the query does not need: only --verify reads it.
    check(
        |bytes| {
            let at = bytes.len() * 3 / 4;
            bytes[at] ^= 1
        },
        None,
    )
    .await;
    check(|bytes| bytes.push(0), Some("E0523")).await;
    check(|bytes| bytes.truncate(bytes.len() / 2), Some("E0523")).await;
    check(|bytes| bytes.truncate(0), Some("E0523")).await;
    check(
        |bytes| {
            let at = bytes.len() - 6;
            bytes[at] ^= 1
        },
        Some("E0523"),
    )
    .await;
    check(
        |bytes| {
            let at = bytes.len() - 1;
            bytes[at] ^= 1
        },
        Some("E0523"),
    )
    .await;
    check(|bytes| bytes[..20_000].fill(0xff), Some("E0523")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_are_columns() {
    let (store, counting) = counting();
    let file = |day: u32, kind: &str| {
        let from = i64::from(day) * 10_000;
        (format!("/day=2026-01-{day:02}/kind={kind}/x.parquet"), encode(Format::Parquet, &wide(from, from + 9000)))
    };
    let mut files: Vec<_> = (1..=8).map(|day| file(day, if day % 2 == 0 { "a" } else { "b%2Fc" })).collect();
    files.push(("/plain.ndjson".to_owned(), encode(Format::Ndjson, &rows(0, 3))));
    let all = put(&store, files).await;
    let check = async |sql: &str, expected: &str, most: u64| {
        counting.taken();
        let found = shown(&store, sql, Verify::Parts).await.unwrap();
        let found: Vec<_> = found
            .lines()
            .filter(|line| line.starts_with('|'))
            .skip(1)
            .map(|line| line.replace([' ', '|'], ""))
            .collect();
        assert_eq!(found.join(";"), expected, "{sql}");
        let read = counting.taken();
        assert!(read <= most, "{sql}: {read} of {all} bytes were read, {most} are enough");
    };
    check("select count(*) from t where day = date '2026-01-03'", "9000", 0).await;
    check("select max(day), min(kind), max(kind) from t", "2026-01-08ab/c", 0).await;
    check("select arrow_typeof(day), count(*) from t group by 1", "Date3272003", 0).await;
    check("select kind, count(*) from t group by kind order by kind nulls first", "3;a36000;b/c36000", 0).await;
    check("select count(text) from t where day = '2026-01-03'", "9000", all / 6).await;
    check("select count(*) from t where day is null", "3", 0).await;
    check("select name, day from t where id = 1 and day is null", "name,\"1\"", all / 8).await;
    let plan = shown(&store, "explain select text from t where kind = 'a' and day < '2026-01-05'", Verify::Parts).await;
    assert!(plan.as_ref().is_ok_and(|plan| plan.contains("files=2/9")), "{plan:?}");
}

/// Rows with everything that statistics may get wrong; `evolved` with other types and one more column.
fn odd(from: i64, count: usize, seed: u64, evolved: bool) -> RecordBatch {
    let some = |seed: u64| noise(seed).map(|n| n >> 11).take(count);
    let base = i32::try_from(from / 10).unwrap();
    let floats = |n: u64| match n % 9 {
        0 => None,
        1 => Some(f64::NAN),
        2 => Some(-f64::NAN),
        3 => Some(f64::INFINITY),
        4 => Some(-0.0),
        5 => Some(0.0),
        n => Some(n as f64 + f64::from(base)),
    };
    let texts = |n: u64| match n % 6 {
        0 => None,
        1 => Some(format!("{}{}", "long".repeat(20), n % 100)),
        2 => Some(format!("{}\u{10ffff}{}", "x".repeat(62), n % 100)),
        _ => Some(format!("s{}", (n / 6) % 50 + from.unsigned_abs() % 1000)),
    };
    let numbers = || some(seed + 1).map(move |n| (n % 5 != 0).then(|| base + i32::try_from(n % 100).unwrap()));
    let i: ArrayRef = if evolved {
        Arc::new(numbers().map(|n| n.map(i64::from)).collect::<Int64Array>())
    } else {
        Arc::new(numbers().collect::<Int32Array>())
    };
    let g: ArrayRef = if evolved {
        Arc::new(some(seed + 4).map(floats).collect::<Float64Array>())
    } else {
        Arc::new(some(seed + 4).map(|n| floats(n).map(|f| f as f32)).collect::<Float32Array>())
    };
    let last = i64::try_from(count).unwrap() + from;
    let days = some(seed + 7).map(|n| (n % 4 != 0).then(|| base + i32::try_from(n % 10).unwrap()));
    let times = some(seed + 8).map(|n| (n % 4 != 0).then(|| from * 1000 + i64::try_from(n % 1000).unwrap()));
    let decimals = some(seed + 9).map(|n| (n % 4 != 0).then(|| i128::from(base) * 100 + i128::from(n % 1000)));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(Int64Array::from_iter_values(from..last))),
        ("i", i),
        ("u", Arc::new(some(seed + 2).map(|n| (n % 3 != 0).then(|| u64::MAX - n % 100)).collect::<UInt64Array>())),
        ("f", Arc::new(some(seed + 3).map(floats).collect::<Float64Array>())),
        ("g", g),
        ("s", Arc::new(some(seed + 5).map(texts).collect::<StringArray>())),
        ("b", Arc::new(some(seed + 6).map(|n| (n % 3 != 0).then_some(from % 2 == 0)).collect::<BooleanArray>())),
        ("d", Arc::new(days.collect::<Date32Array>())),
        ("t", Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("+00:00"))),
        ("c", Arc::new(decimals.collect::<Decimal128Array>().with_precision_and_scale(12, 2).unwrap())),
        ("pad", Arc::new(some(seed + 10).map(|n| Some(format!("{n:x}").repeat(4))).collect::<StringArray>())),
    ];
    if evolved {
        columns.push((
            "extra",
            Arc::new(some(seed + 11).map(|n| (n % 2 == 0).then(|| format!("e{}", n % 10))).collect::<StringArray>()),
        ));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

struct Odd {
    runtime: tokio::runtime::Runtime,
    store: Store,
    /// The same rows without a store.
    plain: SessionContext,
    counting: Arc<Counting>,
}

static ODD: LazyLock<Odd> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (store, counting) = counting();
    let plain = SessionContext::new();
    runtime.block_on(async {
        let nulls = RecordBatch::try_from_iter_with_nullable([
            ("k", Arc::new(Int64Array::from_iter_values(90_000..90_010)) as ArrayRef, true),
            ("i", Arc::new(Int32Array::new_null(10)), true),
            ("s", Arc::new(StringArray::new_null(10)), true),
        ]);
        let files = vec![
            ("/day=2026-01-01/n=1/a.parquet", grouped(&odd(0, 4000, 1, false), 500)),
            ("/day=2026-01-02/n=2/a.parquet", grouped(&odd(10_000, 4000, 2, true), 700)),
            (
                "/day=2026-01-02/n=__HIVE_DEFAULT_PARTITION__/b.parquet",
                encode(Format::Parquet, &odd(20_000, 4000, 3, true)),
            ),
            ("/day=2026-01-03/c.parquet", encode(Format::Parquet, &odd(30_001, 100, 4, false))),
            ("/d.ndjson", encode(Format::Ndjson, &odd(40_000, 100, 5, true))),
            ("/d.csv", encode(Format::Csv, &odd(50_000, 100, 6, false))),
            ("/d.arrow", encode(Format::Arrow, &odd(60_001, 100, 7, true))),
            ("/n=3/none.parquet", encode(Format::Parquet, &odd(70_000, 0, 8, false))),
            ("/n=3/nulls.parquet", encode(Format::Parquet, &nulls.unwrap())),
        ];
        put(&store, files.into_iter().map(|(path, table)| (path.to_owned(), table)).collect()).await;
        let all = query(&store, "select * from t", &At::new()).await.unwrap();
        let (schema, rows) = (all.schema().clone(), all.collect().await.unwrap());
        plain.register_table("t", Arc::new(MemTable::try_new(schema, vec![rows]).unwrap())).unwrap();
    });
    Odd { runtime, store, plain, counting }
});

fn literal(column: &str) -> BoxedStrategy<String> {
    let number = (-200i64..10_000).prop_map(|n| n.to_string());
    match column {
        "k" => (0i64..95_000).prop_map(|n| n.to_string()).boxed(),
        "i" | "n" => prop_oneof![number, Just("4294967296".to_owned()), Just("1".to_owned())].boxed(),
        "u" => (0u64..120).prop_map(|n| (u64::MAX - n).to_string()).boxed(),
        "f" | "g" => {
            let odd = ["'NaN'::double", "-'NaN'::double", "'inf'::double", "-0.0", "0.0", "'-inf'::double"];
            prop_oneof![
                number.prop_map(|n| format!("{n}.5")),
                prop::sample::select(odd.to_vec()).prop_map(str::to_owned)
            ]
            .boxed()
        }
        "s" => prop_oneof![
            (0u32..100).prop_map(|n| format!("'s{n}'")),
            (0u32..100).prop_map(|n| format!("'{}{n}'", "long".repeat(20))),
            (0u32..100).prop_map(|n| format!("'{}\u{10ffff}{n}'", "x".repeat(62))),
            prop::sample::select(&["''", "'long'", "'s'", "'y'"]).prop_map(str::to_owned),
        ]
        .boxed(),
        "b" => prop::bool::ANY.prop_map(|b| b.to_string()).boxed(),
        "d" => (0i64..7000).prop_map(|n| format!("(date '1970-01-01' + interval '{n} day')::date")).boxed(),
        "day" => (1u32..6).prop_map(|n| format!("'2026-01-{n:02}'")).boxed(),
        "t" => (0i64..70_000).prop_map(|n| format!("to_timestamp({n})")).boxed(),
        "c" => number.prop_map(|n| format!("{n}.25")).boxed(),
        _ => (0u32..12).prop_map(|n| format!("'e{n}'")).boxed(),
    }
}

fn predicate() -> impl Strategy<Value = String> {
    let columns = ["k", "i", "u", "f", "g", "s", "b", "d", "t", "c", "extra", "day", "n"];
    let leaf = prop::sample::select(columns.to_vec()).prop_flat_map(|column| {
        let compared = (prop::sample::select(&["=", "<>", "<", "<=", ">", ">=", "is distinct from"]), literal(column))
            .prop_map(move |(operator, literal)| format!("{column} {operator} {literal}"));
        let listed = (prop::collection::vec(literal(column), 1..4), prop::bool::ANY).prop_map(move |(all, not)| {
            format!("{column} {}in ({})", if not { "not " } else { "" }, all.join(", "))
        });
        let null = prop::sample::select(&["is null", "is not null"]).prop_map(move |is| format!("{column} {is}"));
        let between = (literal(column), literal(column)).prop_map(move |(a, b)| format!("{column} between {a} and {b}"));
        match column {
            "s" => prop_oneof![
                4 => compared, 1 => listed, 1 => null,
                1 => prop::sample::select(&["s like 'long%'", "s not like 's1%'", "s like '%9'", "starts_with(s, 's2')"])
                    .prop_map(str::to_owned)
            ]
            .boxed(),
            _ => prop_oneof![4 => compared, 1 => listed, 1 => null, 1 => between].boxed(),
        }
    });
    leaf.prop_map(|leaf| format!("({leaf})")).prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} or {b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leaving_out_never_changes_an_answer(predicate in predicate()) {
        let sql = format!("select k from t where {predicate} order by k");
        let (ours, theirs) = ODD.runtime.block_on(async {
            let ours = query(&ODD.store, &sql, &At::new()).await.unwrap().collect().await.unwrap();
            (ours, ODD.plain.sql(&sql).await.unwrap().collect().await.unwrap())
        });
        let keys = |batches: &[RecordBatch]| -> Vec<i64> {
            let values = batches.iter().map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec());
            values.flatten().collect()
        };
        prop_assert_eq!(keys(&ours), keys(&theirs), "{}", sql);
    }
}

/// The property above would hold of a reader that never leaves anything out.
#[test]
fn the_odd_table_is_read_in_parts() {
    ODD.runtime.block_on(async {
        let plan = "explain analyze select k from t where i between 100 and 110 and n = 1";
        let plan = shown(&ODD.store, plan, Verify::Parts).await.unwrap();
        assert!(plan.contains("files=1/9") || plan.contains("files=2/9"), "{plan}");
        let plan = shown(&ODD.store, "explain analyze select k from t where k < 400", Verify::Parts).await.unwrap();
        assert!(plan.contains("row_groups_pruned=") && !plan.contains("row_groups_pruned=0"), "{plan}");
        ODD.counting.taken();
    });
}
