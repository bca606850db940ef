//! What is promised of Delta tables, checked against the repo itself by a reader that knows nothing but the logs.

mod collecting;
mod crash;
mod fuzz;
mod history;
mod logs;
mod reader;
mod stopping;
mod types;

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use object_store::memory::InMemory;
use spout_data::Advance;
use spout_format::{Encoded, Format, TableWriter, decode};

use super::{super::*, *};
use crate::object::Objects;

/// Rows too many for a record, so that they are an object.
const MANY: i64 = 20_000;

fn repo_over(store: Arc<dyn object_store::ObjectStore>) -> Store {
    Store::of(Objects::over(store, "test://bucket", true))
}

async fn repo() -> (Arc<InMemory>, Repo) {
    let store = Arc::new(InMemory::new());
    let repo = repo_over(Arc::clone(&store) as _).repo_or_create("events", "").await.unwrap();
    (store, repo)
}

fn rows(from: i64, to: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)]);
    // Names that do not compress, so that size follows from rows.
    let names = (from..to).map(|id| format!("{:x}", id.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)));
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(from..to)), Arc::new(names.map(Some).collect::<StringArray>())];
    RecordBatch::try_new(schema.into(), columns).unwrap()
}

fn encoded(batch: &RecordBatch) -> Encoded {
    let mut writer = TableWriter::new(Format::Parquet, batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap()
}

/// What one commit does.
enum Do<'a> {
    Put(&'a str, RecordBatch),
    Over(&'a str, RecordBatch),
    Delete(&'a str),
    Bytes(&'a str),
}

async fn commit(repo: &Repo, writer: &mut BranchWriter, all: Vec<Do<'_>>) -> Commit {
    let mut open = repo.open_commit();
    for one in all {
        match one {
            Do::Put(path, batch) => open.put_table(path, PutMode::Append, encoded(&batch)).await.unwrap(),
            Do::Over(path, batch) => open.put_table(path, PutMode::Overwrite, encoded(&batch)).await.unwrap(),
            Do::Delete(path) => open.delete_file(path).unwrap(),
            Do::Bytes(path) => open.put_file(path, PutMode::Append, "bytes".into()).await.unwrap(),
        }
    }
    let meta = CommitMeta { pipeline: "events".into(), advance: Advance::default(), ..CommitMeta::default() };
    match writer.finish(open, meta).await.unwrap() {
        Finished::Committed(commit) => commit,
        other => panic!("not committed: {other:?}"),
    }
}

async fn publish(repo: &Repo) -> Publication {
    publisher(repo).publish().await.unwrap()
}

fn publisher(repo: &Repo) -> Publisher {
    Publisher::new(repo, "master").checkpoint_every(3)
}

fn codes(publication: &Publication) -> Vec<(&str, &'static str)> {
    let code = |error: &Error| spout_base::error::Coded::code(error);
    publication.failures.iter().map(|(table, error)| (table.as_str(), code(error))).collect()
}
