//! What counts of the changes that were made while rows were read and the session was lost: those of rows that were read before.
//!
//! A row is *covered* if its key does not come after the cursor. The others are read later, as they are then, so whatever happened
//! to them meanwhile is not told. Where a change moves a row from one part to the other, it appears or vanishes.

use spout_guest::Result;

use crate::{
    change::{Change, Item},
    pgoutput::{Cell, Tuple},
    place::Cursor,
    render::Deed,
    rows::Rows,
};

/// Which side of the cursor a row is on.
#[derive(Clone, Debug)]
enum Side {
    Covered,
    Later,
    /// The server compares.
    Asked(usize),
}

/// Keeps what counts of `items`.
///
/// # Errors
/// The server cannot compare keys.
pub(crate) fn keep(items: Vec<Item>, cursor: &Cursor, rows: &mut Rows) -> Result<Vec<Item>> {
    let mut keys = Vec::new();
    let sides: Vec<_> =
        items.iter().map(|item| item.change.as_ref().map(|change| sides(change, cursor, &mut keys))).collect();
    let covered = rows.covers(cursor, &keys)?;
    let is = |side: &Side| match side {
        Side::Covered => true,
        Side::Later => false,
        Side::Asked(n) => covered.get(*n).copied().unwrap_or(true),
    };
    let one = |(item, sides): (Item, Option<(Side, Side)>)| {
        let Item { change, lsn, skip } = item;
        let (change, moved) = match change.zip(sides) {
            Some((change, (before, after))) => (kept(change, is(&before), is(&after)), !is(&before)),
            None => (None, false),
        };
        let change = match change {
            Some(change) if moved => Some(whole(change, cursor, rows)?),
            change => change,
        };
        Ok(Item { change, lsn, skip })
    };
    items.into_iter().zip(sides).map(one).collect()
}

/// A row that appears has its large values, too, which the server did not send: those that it has now. If it has none by now, a
/// change that comes says what became of it.
fn whole(mut change: Change, cursor: &Cursor, rows: &mut Rows) -> Result<Change> {
    let key = change.after.as_ref().and_then(|row| key(&change, cursor, row));
    let columns = &change.table.relation.columns;
    if let (Some(after), Some(key)) = (&mut change.after, key) {
        let cells = after.iter_mut().zip(columns).filter(|(cell, _)| **cell == Cell::Unchanged);
        let (cells, names): (Vec<_>, Vec<_>) = cells.map(|(cell, column)| (cell, column.name.as_str())).unzip();
        let values = if names.is_empty() { None } else { rows.values(cursor, &key, &names)? };
        for (cell, value) in cells.into_iter().zip(values.unwrap_or_default()) {
            *cell = value.map_or(Cell::Null, Cell::Text);
        }
    }
    Ok(change)
}

/// The sides of the row before and after a change.
fn sides(change: &Change, cursor: &Cursor, keys: &mut Vec<Vec<String>>) -> (Side, Side) {
    let relation = &change.table.relation;
    let place = (relation.schema.as_str(), relation.table.as_str());
    match place.cmp(&(cursor.schema.as_str(), cursor.table.as_str())) {
        std::cmp::Ordering::Less => return (Side::Covered, Side::Covered),
        std::cmp::Ordering::Greater => return (Side::Later, Side::Later),
        std::cmp::Ordering::Equal => {}
    }
    let mut side = |row: Option<&Tuple>| {
        let key = row.and_then(|row| key(change, cursor, row))?;
        keys.push(key);
        Some(Side::Asked(keys.len() - 1))
    };
    let (before, after) = (side(change.before.as_ref()), side(change.after.as_ref()));
    // A table that is emptied has covered rows; an update that does not say what was before leaves the key as it was.
    let some = before.clone().or_else(|| after.clone()).unwrap_or(Side::Covered);
    (before.unwrap_or_else(|| some.clone()), after.unwrap_or(some))
}

fn key(change: &Change, cursor: &Cursor, row: &Tuple) -> Option<Vec<String>> {
    let columns = &change.table.relation.columns;
    let value = |name: &String| match columns.iter().zip(row).find(|(column, _)| column.name == *name)?.1 {
        Cell::Text(value) => Some(String::from_utf8_lossy(value).into_owned()),
        Cell::Null | Cell::Unchanged => None,
    };
    cursor.key.iter().map(|(name, _)| value(name)).collect()
}

/// What is left of a change of a row that was on one side and is on another.
fn kept(change: Change, before: bool, after: bool) -> Option<Change> {
    match (before, after) {
        (true, true) => Some(change),
        (false, false) => None,
        (true, false) => Some(Change { deed: Deed::Delete, after: None, ..change }),
        (false, true) => Some(Change { deed: Deed::Create, before: None, key_only: false, ..change }),
    }
}
