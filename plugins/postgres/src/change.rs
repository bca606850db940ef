//! What comes out of a slot, one row at a time.

use std::rc::Rc;

use crate::{
    Lsn,
    pgoutput::{Cell, Relation, Tuple},
    render::{Deed, Transaction},
};

/// A table, and what identifies its rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) relation: Relation,
    /// The columns of the key.
    pub(crate) key: Vec<String>,
    pub(crate) wanted: bool,
}

/// A change of one row, or of a whole table.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) table: Rc<Table>,
    pub(crate) deed: Deed,
    pub(crate) before: Option<Tuple>,
    /// Whether only the key is known of what was before.
    pub(crate) key_only: bool,
    pub(crate) after: Option<Tuple>,
    pub(crate) transaction: Transaction,
}

impl Change {
    fn bytes(&self) -> usize {
        let one = |cell: &Cell| if let Cell::Text(text) = cell { text.len() } else { 0 };
        self.before.iter().chain(&self.after).flatten().map(one).sum()
    }
}

impl Item {
    /// How large it is.
    pub(crate) fn bytes(&self) -> usize {
        self.change.as_ref().map_or(0, Change::bytes)
    }
}

/// What comes out of the slot.
#[derive(Debug)]
pub(crate) struct Item {
    /// None where only the place changes.
    pub(crate) change: Option<Change>,
    /// Where to go on after it.
    pub(crate) lsn: Lsn,
    /// Changes given of the transaction there.
    pub(crate) skip: u64,
}

/// What an update left as it was is what it was before, where that is known.
pub(crate) fn filled(after: Tuple, before: Option<&Tuple>) -> Tuple {
    let Some(before) = before else { return after };
    let one = |(new, old): (Cell, &Cell)| if new == Cell::Unchanged { old.clone() } else { new };
    after.into_iter().zip(before).map(one).collect()
}
