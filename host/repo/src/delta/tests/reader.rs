//! A reader of Delta tables: logs to files to rows, version by version.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::*;
use crate::delta::home::Home;

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

/// All versions of the table in `directory`: from the JSON of its log, where that is whole, else from its first checkpoint on.
pub(super) async fn versions(store: &dyn ObjectStore, directory: &str) -> Vec<Seen> {
    let (mut all, mut seen, mut first) = (Vec::new(), Seen::default(), 0);
    if let Some((version, lines)) = checkpoint(store, directory).await {
        lines.iter().for_each(|line| seen.take(line));
        let said = said(store, directory, version).await.unwrap_or_default();
        said.iter().filter(|line| line.get("commitInfo").is_some()).for_each(|line| seen.take(line));
        all.push(seen.clone());
        first = version + 1;
    }
    for version in first.. {
        let Some(lines) = said(store, directory, version).await else { break };
        lines.iter().for_each(|line| seen.take(line));
        all.push(seen.clone());
    }
    all
}

fn log(directory: &str) -> String {
    format!("repos/events/tables/master/{directory}/_delta_log")
}

async fn said(store: &dyn ObjectStore, directory: &str, version: u64) -> Option<Vec<Value>> {
    let path = Path::from(format!("{}/{version:020}.json", log(directory)));
    let text = store.get(&path).await.ok()?.bytes().await.unwrap().to_vec();
    Some(lines(text))
}

fn lines(text: Vec<u8>) -> Vec<Value> {
    String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first checkpoint of a log whose first versions are gone.
async fn checkpoint(store: &dyn ObjectStore, directory: &str) -> Option<(u64, Vec<Value>)> {
    if said(store, directory, 0).await.is_some() {
        return None;
    }
    let listed: Vec<_> = store.list(Some(&Path::from(log(directory)))).try_collect().await.unwrap();
    let mut found: Vec<_> = listed.into_iter().map(|meta| meta.location).collect();
    found.retain(|path| path.as_ref().ends_with(".checkpoint.parquet"));
    let first = found.into_iter().min()?;
    let version = first.filename().unwrap()[..20].parse().unwrap();
    let bytes = store.get(&first).await.unwrap().bytes().await.unwrap();
    let mut text = arrow::json::LineDelimitedWriter::new(Vec::new());
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
        text.write(&batch.unwrap()).unwrap();
    }
    text.finish().unwrap();
    Some((version, lines(text.into_inner())))
}

impl Seen {
    fn take(&mut self, line: &Value) {
        let (kind, said) = line.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "add" => drop(self.files.insert(said["path"].as_str().unwrap().to_owned(), said.clone())),
            "remove" => drop(self.files.remove(said["path"].as_str().unwrap()).expect("a file that was there")),
            "metaData" => self.meta = said.clone(),
            "protocol" => self.protocol = said.clone(),
            "txn" => {
                assert_eq!(said["appId"], "events/master");
                self.sequence = said["version"].as_u64().unwrap();
            }
            "commitInfo" => {
                self.commit = said["userMetadata"].as_str().unwrap().strip_prefix("events@").unwrap().to_owned();
                self.operation = said["operation"].as_str().unwrap().to_owned();
            }
            other => panic!("{other}"),
        }
    }

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
            let bytes = repo.piece(file, piece).await.unwrap();
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
        if let Some(version) = left.next_if(|version| version.commit == commit.header.id) {
            assert_eq!(version.sequence, commit.header.sequence);
            shown = Some(version.ids(store, directory).await);
        }
        assert_eq!(
            shown.clone().unwrap_or_default(),
            ids_of(repo, commit, directory).await,
            "{}",
            commit.header.sequence
        );
    }
    assert!(left.next().is_none(), "a version is no commit: {left:?}");
    versions
}

/// The same where a version may take several commits along: each is the commit that it names, and the last one is the head.
pub(super) async fn leads_up(store: &dyn ObjectStore, repo: &Repo, directory: &str) -> Vec<Seen> {
    let versions = versions(store, directory).await;
    let commits = repo.log("master").await.unwrap();
    for version in &versions {
        let commit = commits.iter().find(|commit| commit.header.id == version.commit).unwrap();
        assert_eq!(version.sequence, commit.header.sequence);
        assert_eq!(version.ids(store, directory).await, ids_of(repo, commit, directory).await, "{}", version.sequence);
    }
    let shown = versions.last().unwrap().ids(store, directory).await;
    assert_eq!(shown, ids_of(repo, commits.first().unwrap(), directory).await);
    versions
}

/// Names of everything in the tables, with the text or the hash of what is there.
pub(super) async fn everything(store: &dyn ObjectStore) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, bytes) in objects(store).await {
        let text = String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| spout_format::sha256(&bytes));
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
