//! The columns of a table: those of all its files together.

use std::collections::HashSet;

use super::{
    actions::MetaData,
    commits::{Commits, Stamp},
    home,
    live::Live,
    schema::{Clash, DeltaField, Shape},
};
use crate::error::Error;

/// What the log has to say of a table with the files `live`, of which `old` was the last word.
///
/// # Errors
/// [`Error::DeltaTypes`] where types do not meet, [`Error::DeltaTable`] where no reader could take the table.
pub(super) async fn describe(
    commits: &mut Commits,
    stamp: &Stamp,
    name: &str,
    (live, partition): (&Live, &[String]),
    old: Option<&MetaData>,
) -> Result<MetaData, Error> {
    let table = home::shown(name);
    let mut all: Option<(Shape, String)> = None;
    for ((key, portable), path) in live.schemas_in_order() {
        let shape = Shape::of_file(&commits.schema(&key, stamp.sequence).await?, portable);
        all = Some(match all {
            None => (shape, path),
            Some((there, first)) => (there.join(shape, "").map_err(clash(&table, &first, &path))?, first),
        });
    }
    let before = old.map(MetaData::columns).unwrap_or_default();
    if let Some((one, other)) = all.as_ref().and_then(|(shape, _)| shape.alike()) {
        let reason = format!(
            "the names of its columns `{one}` and `{other}`, which are in different files, differ only by case, and readers confuse the two; rename one of them with a map, or overwrite the files"
        );
        return Err(Error::DeltaTable { table, reason });
    }
    let (fields, left_out) = all.map_or(Shape::Nothing, |(shape, _)| shape).columns(&before);
    check(&table, &fields, live, partition)?;
    let people = format!("{}{table}", commits.app());
    let meta = MetaData::new(&people, fields, partition, &left_out, stamp.at_ms)?;
    Ok(old.into_iter().fold(meta, MetaData::created_like))
}

fn clash(table: &str, left_file: &str, right_file: &str) -> impl FnOnce(Clash) -> Error {
    let (table, left_file, right_file) = (table.to_owned(), left_file.to_owned(), right_file.to_owned());
    move |Clash { column, left, right }| Error::DeltaTypes { table, column, left, left_file, right, right_file }
}

/// What no reader could take.
fn check(table: &str, fields: &[DeltaField], live: &Live, partition: &[String]) -> Result<(), Error> {
    let refuse = |reason: String| Err(Error::DeltaTable { table: table.to_owned(), reason });
    if fields.is_empty() {
        return refuse("its files have no column of a type that readers support; map one to such a type".to_owned());
    }
    let mut names: HashSet<String> = fields.iter().map(|field| field.name.to_lowercase()).collect();
    if let Some(key) = partition.iter().find(|key| !names.insert(key.to_lowercase())) {
        return refuse(format!(
            "`{key}=` is part of a path, and there is a column or another key of that name; rename one of them"
        ));
    }
    match live.too_long(partition) {
        Some(segment) => {
            refuse(format!("the directory `{segment}` would have a name that is too long; use a shorter value"))
        }
        None => Ok(()),
    }
}
