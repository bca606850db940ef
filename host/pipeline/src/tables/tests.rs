//! A table that is read in steps is the one that is read whole, whatever commits do to it.

use arrow::array::AsArray as _;
use arrow::{array::Int64Array, datatypes::Int64Type};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use spout_data::ByteSize;
use spout_format::{Format, TableWriter};
use spout_repo::{Edit, Finished, PutMode};

use super::*;

fn name(pinned: Option<&str>) -> TableName {
    let point = pinned.unwrap_or("master").to_owned();
    TableName { repo: "t".into(), point, pinned: pinned.is_some(), path: None }
}

fn numbers(first: i64, count: i64) -> RecordBatch {
    let column = Arc::new((first..first + count).collect::<Int64Array>()) as _;
    RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap()
}

/// Commits puts (`+path`: append, `=path`: overwrite) of a table of a few numbers from `first` on, or deletes (`-path`).
async fn commit(repo: &Repo, acts: &[String], first: i64) -> bool {
    let mut open = repo.open_commit();
    for (act, first) in acts.iter().zip((first..).step_by(10)) {
        let mode = match &act[..1] {
            "+" => PutMode::Append,
            "=" => PutMode::Overwrite,
            _ => {
                open.delete_file(&act[1..]).unwrap();
                continue;
            }
        };
        let rows = numbers(first, 3);
        let mut writer = TableWriter::new(Format::Parquet, rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        open.put_table(&act[1..], mode, writer.finish().unwrap()).await.unwrap();
    }
    let mut editor = repo.edit("master").await.unwrap();
    // To delete what is not there is refused.
    matches!(editor.finish(open, Edit::new("test")).await, Ok(Finished::Committed(_)))
}

/// Takes the newest version; whether there was one, and whether it came whole.
async fn take(reader: &mut dyn TableReader, rows: &mut Vec<i64>) -> Option<bool> {
    let TableVersion { schema, whole, rows: count, .. } = reader.newer(false).await.unwrap()?;
    if whole {
        rows.clear();
    }
    let before = rows.len();
    while let Some(batch) = reader.next(&schema).await.unwrap() {
        rows.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    assert_eq!((rows.len() - before) as u64, count, "it says how many rows follow");
    Some(whole)
}

#[tokio::test]
async fn what_is_read_in_steps_is_what_is_read_whole() {
    let (mut whole, mut steps) = (0, 0);
    for seed in 0..12 {
        let mut dice = StdRng::seed_from_u64(seed);
        let store = Store::open("memory://").await.unwrap();
        let repo = store.repo_or_create("t", "").await.unwrap();
        let tables = RepoTables::lenient(&store);
        let (mut reader, mut held) = (tables.table(&name(None)), Vec::new());
        for round in 0..40 {
            let act = |dice: &mut StdRng| {
                let sign = ["+", "+", "+", "+", "+", "=", "-"][dice.random_range(0..7)];
                // Mostly at the end, as a pipeline names its files.
                let file = if dice.random_ratio(3, 4) {
                    format!("/f{round:02}")
                } else {
                    format!("/f{:02}", dice.random_range(0..=round))
                };
                format!("{sign}{file}")
            };
            let mut acts: Vec<String> = (0..dice.random_range(1..=3)).map(|_| act(&mut dice)).collect();
            acts.sort_by_key(|act| act[1..].to_owned());
            acts.dedup_by_key(|act| act[1..].to_owned());
            commit(&repo, &acts, round * 100).await;
            if dice.random_ratio(1, 8) {
                repo.compact("master", ByteSize(1 << 20)).await.unwrap();
            }
            if dice.random_ratio(1, 3) {
                continue;
            }
            match take(reader.as_mut(), &mut held).await {
                Some(true) => whole += 1,
                Some(false) => steps += 1,
                None => {}
            }
            let mut anew = Vec::new();
            take(tables.table(&name(None)).as_mut(), &mut anew).await;
            assert_eq!(held, anew, "seed {seed}, round {round}: {acts:?}");
        }
    }
    assert!(whole > 40 && steps > 40, "{whole} whole, {steps} in steps");
}

#[tokio::test]
async fn a_pinned_version_stays_and_a_missing_table_says_so() {
    let store = Store::open("memory://").await.unwrap();
    let tables = RepoTables::new(&store, &Place::default(), &CancellationToken::new());
    let missing = |error: TableError| match error {
        TableError::Missing(advice) => advice,
        TableError::Read(source) => source.to_string(),
    };
    let advice = missing(tables.table(&name(None)).newer(true).await.unwrap_err());
    assert!(advice.starts_with("there is no repo `t`; run the pipeline that writes it"), "{advice}");
    let repo = store.repo_or_create("t", "").await.unwrap();
    assert!(commit(&repo, &["+/a".into()], 0).await);
    let mut reader = tables.table(&name(Some("master")));
    let mut rows = Vec::new();
    assert_eq!(take(reader.as_mut(), &mut rows).await, Some(true));
    assert!(commit(&repo, &["+/b".into()], 10).await);
    assert_eq!(take(reader.as_mut(), &mut rows).await, None);
    assert_eq!(rows, [0, 1, 2]);
    reader.forget();
    assert_eq!(take(reader.as_mut(), &mut rows).await, Some(true));
    assert_eq!(rows, [0, 1, 2, 10, 11, 12]);
    let gone = missing(tables.table(&name(Some("v1"))).newer(true).await.unwrap_err());
    assert!(gone.contains("v1"), "{gone}");
}
