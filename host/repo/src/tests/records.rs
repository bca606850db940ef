//! What tests commit and read, those of this crate and of `sql`: a store, rows, and the record of a commit.

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema},
};
use spout_data::{Advance, PartitionId, PartitionMarker, Position, Step};
use spout_format::{Encoded, Format, TableWriter};
use spout_repo::{Commit, CommitMeta, Error, Finished, Store};
use tempfile::TempDir;

/// A store in a directory, which lives as long as the handle.
pub(crate) async fn local() -> (Store, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Store::open(dir.path().to_str().unwrap()).await.unwrap(), dir)
}

/// An advance of partition 0.
pub(crate) fn advance(from: Option<u64>, to: u64) -> Advance {
    let to = PartitionMarker {
        producer: String::new(),
        label: "p".into(),
        position: Position::at(to),
        ended: false,
        passing: Vec::new(),
    };
    Advance { steps: [(PartitionId::default(), Step { from, to, jumped: None })].into() }
}

pub(crate) fn meta(from: Option<u64>, to: u64) -> CommitMeta {
    CommitMeta {
        pipeline: "events".into(),
        spec_digest: "sha256:0".into(),
        advance: advance(from, to),
        reason: "rows".into(),
        ..CommitMeta::default()
    }
}

/// A commit that was made, or a test that ends.
pub(crate) fn committed(finished: Result<Finished, Error>) -> Commit {
    match finished {
        Ok(Finished::Committed(commit)) => commit,
        other => panic!("not committed: {other:?}"),
    }
}

/// Rows `from..to` with a name, a number and a place.
pub(crate) fn rows(from: i64, to: i64) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("size", DataType::UInt64, true),
    ]);
    let names = (from..to).map(|id| (id % 7 != 0).then(|| format!("name, \"{id}\"")));
    let sizes = (from..to).map(|id| (id % 5 != 0).then_some(u64::try_from(id).unwrap() * 3));
    RecordBatch::try_new(
        schema.into(),
        vec![
            Arc::new(Int64Array::from_iter_values(from..to)),
            Arc::new(names.collect::<StringArray>()),
            Arc::new(sizes.collect::<UInt64Array>()),
        ],
    )
    .unwrap()
}

pub(crate) fn encode(format: Format, batch: &RecordBatch) -> Encoded {
    let mut writer = TableWriter::new(format, batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap()
}
