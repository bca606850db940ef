//! Tests of `file`: what is there after a flush, a crash and an end.

use std::{fs, io::Read as _, path::Path};

use super::*;
use crate::tests::{batch, context, other};

fn spec(text: &str) -> FileSpec {
    serde_json::from_str(text).unwrap()
}

async fn open(dir: &Path, text: &str) -> FileConsumer {
    let context = ConsumerContext { base: dir.to_owned(), ..context() };
    FileConsumer::open(&spec(text), &context).await.unwrap()
}

/// Names and contents below `dir`, sorted.
fn files(dir: &Path) -> Vec<(String, String)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let mut text = String::new();
            if name.contains(".gz") {
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            } else if name.contains(".zst") {
                zstd::stream::read::Decoder::new(&bytes[..]).unwrap().read_to_string(&mut text).unwrap();
            } else {
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
            (name, text)
        })
        .collect();
    all.sort();
    all
}

fn lines(numbers: std::ops::Range<i64>) -> String {
    numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

#[tokio::test]
async fn a_file_grows_over_runs_in_a_directory_that_is_made() {
    let dir = tempfile::tempdir().unwrap();
    for (format, expected) in [("ndjson", lines(0..4)), ("csv", "n\n0\n1\n2\n3\n".to_owned())] {
        for run in 0..2 {
            let text = format!(r#"{{"path": "deep/{{pipeline}}/rows.{format}", "format": "{format}"}}"#);
            let mut consumer = open(dir.path(), &text).await;
            consumer.consume(&batch(run * 2..run * 2 + 1)).await.unwrap();
            consumer.consume(&batch(run * 2 + 1..run * 2 + 2)).await.unwrap();
            consumer.flush().await.unwrap();
            consumer.finish().await.unwrap();
        }
        let path = dir.path().join(format!("deep/test/rows.{format}"));
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_file_of_somebody_else_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.ndjson"), "no line's end").unwrap();
    let mut consumer = open(dir.path(), r#"{"path": "a.ndjson"}"#).await;
    consumer.consume(&batch(0..1)).await.unwrap();
    consumer.finish().await.unwrap();
    assert_eq!(files(dir.path())[0].1, format!("no line's end\n{}", lines(0..1)));
}

#[tokio::test]
async fn files_are_ended_by_size_and_bear_their_name_only_then() {
    for (ending, compression) in [("ndjson", "none"), ("ndjson.gz", "gzip"), ("ndjson.zst", "zstd")] {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            r#"{{"path": "rows-{{n}}.{ending}", "compression": "{compression}", "rotate": {{"size": "60B"}}}}"#
        );
        let mut consumer = open(dir.path(), &text).await;
        consumer.consume(&batch(0..1)).await.unwrap();
        consumer.flush().await.unwrap();
        assert_eq!(files(dir.path()), [(format!("rows-n.{ending}.part"), lines(0..1))]);
        for n in 1..20 {
            consumer.consume(&batch(n..n + 1)).await.unwrap();
            consumer.flush().await.unwrap();
        }
        consumer.finish().await.unwrap();
        let all = files(dir.path());
        assert!(all.len() > 2 && all.iter().all(|(name, _)| !name.ends_with(".part")), "{all:?}");
        let mut rows: Vec<_> =
            all.iter().flat_map(|(_, text)| text.lines().map(|line| line.to_owned() + "\n")).collect();
        rows.sort();
        let mut expected: Vec<_> = (0..20).map(|n| lines(n..n + 1)).collect();
        expected.sort();
        assert_eq!(rows, expected);
    }
}

#[tokio::test]
async fn a_file_is_ended_by_time_although_no_row_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut consumer = open(dir.path(), r#"{"path": "r-{time}.ndjson", "rotate": {"time": "30ms"}}"#).await;
    consumer.consume(&batch(0..1)).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        // Only names: a file may get another one before it is read.
        let named = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        while !named().any(|name| name.to_str().unwrap().ends_with("Z.ndjson")) {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
    assert_eq!(files(dir.path())[0].1, lines(0..1));
}

#[tokio::test]
async fn after_a_crash_the_file_goes_on_without_what_was_half_written() {
    for (ending, compression) in [("ndjson", "none"), ("ndjson.gz", "gzip"), ("ndjson.zst", "zstd")] {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            r#"{{"path": "rows-{{n}}.{ending}", "compression": "{compression}", "rotate": {{"size": "1MiB"}}}}"#
        );
        let mut consumer = open(dir.path(), &text).await;
        for n in 0..3 {
            consumer.consume(&batch(n..n + 1)).await.unwrap();
            consumer.flush().await.unwrap();
        }
        drop(consumer);
        let part = dir.path().join(format!("rows-n.{ending}.part"));
        let mut bytes = fs::read(&part).unwrap();
        let whole = bytes.clone();
        bytes.extend_from_slice(&whole[..5]);
        fs::write(&part, bytes).unwrap();
        let mut consumer = open(dir.path(), &text).await;
        consumer.consume(&batch(3..4)).await.unwrap();
        consumer.finish().await.unwrap();
        assert_eq!(files(dir.path()), [(format!("rows-1.{ending}"), lines(0..4))], "{compression}");
    }
}

#[tokio::test]
async fn whole_files_come_with_each_commit_and_each_schema() {
    let dir = tempfile::tempdir().unwrap();
    let mut consumer = open(dir.path(), r#"{"path": "rows-{n}.parquet", "format": "parquet"}"#).await;
    consumer.consume(&batch(0..2)).await.unwrap();
    consumer.consume(&batch(2..3)).await.unwrap();
    assert!(files(dir.path()).is_empty());
    consumer.flush().await.unwrap();
    consumer.consume(&batch(3..4)).await.unwrap();
    consumer.consume(&other(4..5)).await.unwrap();
    consumer.flush().await.unwrap();
    consumer.finish().await.unwrap();
    let names: Vec<_> = files(dir.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["rows-1.parquet", "rows-2.parquet", "rows-3.parquet"]);
    let first = fs::File::open(dir.path().join("rows-1.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(first, 100).unwrap();
    assert_eq!(reader.map(|rows| rows.unwrap().num_rows()).sum::<usize>(), 3);
}

#[test]
fn what_cannot_be_is_said() {
    let check = |text: &str, key: Option<&str>| {
        assert_eq!(spec(text).problem().map(|(key, _)| key), key, "{text}");
    };
    check(r#"{"path": "a.ndjson"}"#, None);
    check(r#"{"path": "a.gz", "compression": "gzip"}"#, None);
    check(r#"{"path": "a.parquet", "format": "parquet"}"#, Some("path"));
    check(r#"{"path": "{n}.parquet", "format": "parquet", "compression": "zstd"}"#, Some("compression"));
    check(r#"{"path": "{n}.csv", "rotate": {}}"#, Some("rotate"));
    check(r#"{"path": "{n}.csv", "rotate": {"size": "0B"}}"#, Some("rotate"));
}

#[tokio::test]
async fn the_end_of_what_watches_the_time_is_known_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut consumer = open(dir.path(), r#"{"path": "r-{time}.ndjson", "rotate": {"time": "1h"}}"#).await;
    let sound = tokio::time::timeout(Duration::from_millis(1), consumer.failed()).await;
    assert!(sound.is_err(), "{sound:?}");
    if let Some(timer) = consumer.timer.replace(tokio::spawn(async { panic!("a bug") })) {
        timer.abort();
    }
    assert!(matches!(consumer.failed().await, Error::Lost { consumer: "file" }));
}
