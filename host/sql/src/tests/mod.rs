//! What queries find, over a directory and over stores that count.

mod changes;
mod counting_store;
mod matrix;
mod pruning;
mod queries;
#[path = "../../../repo/src/tests/records.rs"]
mod records;

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema},
};
use spout_format::{Encoded, Format, TableWriter};
use spout_repo::{BranchWriter, Commit, CommitMeta, Finished, PutMode, Repo};
use tempfile::TempDir;

use self::records::{committed, encode, local, meta, rows};
use super::*;

fn code(error: &Error) -> &'static str {
    error.code()
}

type At = BTreeMap<String, Reference>;
