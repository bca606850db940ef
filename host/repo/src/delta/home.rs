//! Where a file is in the Delta tables: the table it belongs to, its partition values, and its place below the root.

use crate::{error::Error, layout::Layout};
use object_store::path::Path;

/// How Hive writes that a partition value is null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// The table of the files directly in `/`.
const ROOT: &str = "_root";
/// File systems have no longer names.
const LONGEST_SEGMENT: usize = 255;

/// What the path of a file says about its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Directory of the table below `tables/<branch>`.
    pub(super) table: String,
    /// Partition values, in the order of the path.
    pub(super) values: Vec<(String, Option<String>)>,
}

impl Home {
    /// The table of a file is its directory without the segments `key=value`, which are its partition values.
    pub(super) fn of(path: &str) -> Self {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let (mut table, mut values): (Vec<&str>, Vec<(String, Option<String>)>) = (Vec::new(), Vec::new());
        for segment in directory.split('/').filter(|segment| !segment.is_empty()) {
            match segment.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    let value = Some(value).filter(|value| !value.is_empty() && *value != NULL).map(str::to_owned);
                    values.retain(|(known, _)| known != key);
                    values.push((key.to_owned(), value));
                }
                _ => table.push(segment),
            }
        }
        Self { table: directory_of(&table), values }
    }

    /// The value of partition column `key`.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == key)?.1.as_deref()
    }

    /// The directory of the file below the root of its table. Polars takes partition values from there and not from the
    /// log, and needs every column in every path, in one order.
    pub(super) fn partition(&self, columns: &[String]) -> String {
        let segment =
            |column: &String| format!("{}={}/", escaped(column), self.value(column).map_or(NULL.into(), escaped));
        columns.iter().map(segment).collect()
    }

    /// What makes the partition impossible as a directory.
    pub(super) fn too_long(&self, columns: &[String]) -> Option<String> {
        let partition = self.partition(columns);
        partition.split('/').find(|segment| segment.len() > LONGEST_SEGMENT).map(str::to_owned)
    }
}

/// A directory called like that of the files in `/` gives way to it by one more underscore.
fn directory_of(segments: &[&str]) -> String {
    match segments.split_first() {
        None => ROOT.to_owned(),
        Some((first, _)) if first.trim_start_matches('_') == "root" && first.starts_with('_') => {
            format!("_{}", segments.join("/"))
        }
        Some(_) => segments.join("/"),
    }
}

/// The table as people name it: the directory of its files.
pub(super) fn shown(table: &str) -> String {
    match table.split('/').next().map(|first| (first, first.trim_start_matches('_'))) {
        _ if table == ROOT => "/".to_owned(),
        Some((first, "root")) if first.starts_with("__") => format!("/{}", &table[1..]),
        _ => format!("/{table}"),
    }
}

/// The table of the file at `path`, as people name it.
pub(super) fn table_of(path: &str) -> String {
    shown(&Home::of(path).table)
}

/// Where the tables of a branch are.
pub(super) fn tables(layout: &Layout, branch: &str) -> Path {
    Path::from(format!("{}/tables/{branch}", layout.root()))
}

/// The root of a table. Names are kept as they are, so that people find them on a disk.
///
/// # Errors
/// [`Error::BadPath`] for what no path validator lets through.
pub(super) fn root(layout: &Layout, branch: &str, table: &str) -> Result<Path, Error> {
    below(&tables(layout, branch), table)
}

/// What is called `relative` below `root`.
pub(super) fn below(root: &Path, relative: &str) -> Result<Path, Error> {
    Path::parse(format!("{root}/{relative}"))
        .map_err(|_| Error::BadPath { path: relative.to_owned(), reason: "it cannot be the name of an object" })
}

/// A partition key or value as Hive and Spark write it into a directory's name.
fn escaped(text: &str) -> String {
    let plain = |c: char| !c.is_control() && !"\"#%'*/:=?\\{}[]^<>|~`".contains(c);
    text.chars().map(|c| if plain(c) { c.to_string() } else { percent(c.to_string().as_bytes()) }).collect()
}

/// A path relative to the root as a log names it: a URL.
pub(super) fn url(relative: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/=".contains(&byte);
    relative.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { percent(&[byte]) }).collect()
}

fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_table_and_partition() {
        let check = |path: &str, table: &str, people: &str, values: &[(&str, Option<&str>)]| {
            let home = Home::of(path);
            let found: Vec<_> = home.values.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            assert_eq!((home.table.as_str(), found.as_slice()), (table, values), "{path}");
            assert_eq!(shown(&home.table), people, "{path}");
        };
        check("/a.parquet", "_root", "/", &[]);
        check("/_root/a.parquet", "__root", "/_root", &[]);
        check("/__root/a.parquet", "___root", "/__root", &[]);
        check("/root/a.parquet", "root", "/root", &[]);
        check("/events/a.parquet", "events", "/events", &[]);
        check("/events/pushes/a=b.parquet", "events/pushes", "/events/pushes", &[]);
        check("/events/day=1/a.parquet", "events", "/events", &[("day", Some("1"))]);
        check("/y=2/events/m=/a.parquet", "events", "/events", &[("y", Some("2")), ("m", None)]);
        check("/m=__HIVE_DEFAULT_PARTITION__/a.parquet", "_root", "/", &[("m", None)]);
        check("/events/=x/a.parquet", "events/=x", "/events/=x", &[]);
    }

    #[test]
    fn a_partition_has_one_directory() {
        let columns = ["day".to_owned(), "p".to_owned()];
        let check = |path: &str, expected: &str| assert_eq!(Home::of(path).partition(&columns), expected, "{path}");
        check("/t/p=a b/day=1/x", "day=1/p=a b/");
        check("/t/p=a=b%20ü/x", "day=__HIVE_DEFAULT_PARTITION__/p=a%3Db%2520ü/");
        assert_eq!(url("p=a%3Db ü/x.parquet"), "p=a%253Db%20%C3%BC/x.parquet");
        let long = format!("/p={}/x", "%".repeat(100));
        assert!(Home::of(&long).too_long(&columns).is_some());
    }
}
