//! A reader of Delta tables: logs to files to rows, version by version.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::{super::home::Home, *};

/// A table as its log has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Files by the path in the log.
    pub(super) files: BTreeMap<String, Value>,
    pub(super) meta: Value,
    pub(super) protocol: Value,
    /// The commit it is.
    pub(super) commit: String,
    pub(super) sequence: u64,
    pub(super) operation: String,
}

/// All versions of the table in `directory`, from the JSON of its log alone.
pub(super) async fn versions(store: &dyn ObjectStore, directory: &str) -> Vec<Seen> {
    let (mut all, mut seen) = (Vec::new(), Seen::default());
    for version in 0.. {
        let path = Path::from(format!("repos/events/tables/master/{directory}/_delta_log/{version:020}.json"));
        let Ok(got) = store.get(&path).await else { break };
        let text = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let (kind, said) = line.as_object().unwrap().iter().next().unwrap();
            match kind.as_str() {
                "add" => drop(seen.files.insert(said["path"].as_str().unwrap().to_owned(), said.clone())),
                "remove" => drop(seen.files.remove(said["path"].as_str().unwrap()).expect("a file that was there")),
                "metaData" => seen.meta = said.clone(),
                "protocol" => seen.protocol = said.clone(),
                "txn" => {
                    assert_eq!(said["appId"], "events/master");
                    seen.sequence = said["version"].as_u64().unwrap();
                }
                "commitInfo" => {
                    seen.commit = said["userMetadata"].as_str().unwrap().strip_prefix("events@").unwrap().to_owned();
                    seen.operation = said["operation"].as_str().unwrap().to_owned();
                }
                other => panic!("{other}"),
            }
        }
        all.push(seen.clone());
    }
    all
}

impl Seen {
    /// The ids in all files, sorted.
    pub(super) async fn ids(&self, store: &dyn ObjectStore, directory: &str) -> Vec<i64> {
        let mut ids = Vec::new();
        for (path, add) in &self.files {
            let at = Path::parse(format!("repos/events/tables/master/{directory}/{}", decoded(path))).unwrap();
            let bytes = store.get(&at).await.unwrap().bytes().await.unwrap();
            assert_eq!(bytes.len() as u64, add["size"].as_u64().unwrap());
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let column = batch.column_by_name("id").unwrap();
                let column = arrow::compute::cast(column, &DataType::Int64).unwrap();
                ids.extend(column.as_any().downcast_ref::<Int64Array>().unwrap().values());
            }
        }
        ids.sort_unstable();
        ids
    }

    pub(super) fn columns(&self) -> Vec<(String, Value)> {
        let schema: Value = serde_json::from_str(self.meta["schemaString"].as_str().unwrap()).unwrap();
        let column = |field: &Value| (field["name"].as_str().unwrap().to_owned(), field["type"].clone());
        schema["fields"].as_array().unwrap().iter().map(column).collect()
    }
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.push(u8::from_str_radix(&format!("{}{}", *high as char, *low as char), 16).unwrap());
                tail
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8(bytes).unwrap()
}

/// The ids that the repo itself has in the files directly in `directory` of a commit.
pub(super) async fn ids_of(repo: &Repo, commit: &Commit, directory: &str) -> Vec<i64> {
    let tree = repo.tree(commit).await.unwrap();
    let mut ids = Vec::new();
    for file in tree.files().filter(|file| Home::of(&file.path).table == directory) {
        let Some(Format::Parquet) = file.format else { continue };
        for piece in &file.pieces {
            let bytes = repo.piece(&tree, file, piece).await.unwrap();
            for batch in decode(&file.path, Format::Parquet, tree.schema(piece).unwrap(), bytes, None).unwrap() {
                let batch = batch.unwrap();
                let column = arrow::compute::cast(batch.column_by_name("id").unwrap(), &DataType::Int64).unwrap();
                ids.extend(column.as_any().downcast_ref::<Int64Array>().unwrap().values());
            }
        }
    }
    ids.sort_unstable();
    ids
}

/// Every version of the table holds the rows of the commit that it says it is, and every commit that changes the table
/// is a version.
pub(super) async fn agrees(store: &dyn ObjectStore, repo: &Repo, directory: &str) -> Vec<Seen> {
    let versions = versions(store, directory).await;
    let mut commits = repo.log("master").await.unwrap();
    commits.reverse();
    let mut left = versions.iter().peekable();
    let mut shown: Option<Vec<i64>> = None;
    for commit in &commits {
        if let Some(version) = left.next_if(|version| version.commit == commit.id) {
            assert_eq!(version.sequence, commit.sequence);
            shown = Some(version.ids(store, directory).await);
        }
        assert_eq!(shown.clone().unwrap_or_default(), ids_of(repo, commit, directory).await, "{}", commit.sequence);
    }
    assert!(left.next().is_none(), "a version is no commit: {left:?}");
    versions
}

/// Names of everything in the tables, with the text or the hash of what is there.
pub(super) async fn everything(store: &dyn ObjectStore) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, bytes) in objects(store).await {
        let text = String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| super::super::super::format::sha256(&bytes));
        all.insert(name, text);
    }
    all
}

/// Names and bytes of everything in the tables.
pub(super) async fn objects(store: &dyn ObjectStore) -> Vec<(String, bytes::Bytes)> {
    let listed: Vec<_> = store.list(Some(&Path::from("repos/events/tables"))).try_collect().await.unwrap();
    let mut all = Vec::new();
    for meta in listed {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        all.push((meta.location.to_string(), bytes));
    }
    all
}
