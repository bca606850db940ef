//! An unwanted column: checked like any other, but not built.
//!
//! The verdict on a message must not depend on who reads it, so a value of the wrong type, a repeated key or a missing
//! value is the same fault as in a wanted column.

use super::{
    plan::{Column, Kind},
    rows::{Aside, Read},
    scan::Scanner,
    settings::Duplicates,
    wrong::Wrong,
};
use crate::ArrayBuilder;

/// A column that is only checked.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) column: Column,
    /// Holds a value while it is checked.
    spare: ArrayBuilder,
    /// The last message that had it.
    seen: u64,
}

impl Passed {
    pub(super) fn new(column: Column) -> Self {
        let spare = ArrayBuilder::new(&column.node.data_type);
        Self { column, spare, seen: 0 }
    }

    /// Whether this message had it so far.
    pub(super) fn is_in(&self, message: u64) -> bool {
        self.seen == message
    }

    /// Skips the next value, if the column could take it.
    #[inline(never)]
    pub(super) fn check(&mut self, scanner: &mut Scanner<'_>, level: usize, aside: &mut Aside) -> Read {
        if self.is_in(aside.message) && aside.duplicates == Duplicates::Fail {
            return Err(Wrong::twice(scanner.offset(scanner.at)).within(&self.column.name));
        }
        self.seen = aside.message;
        let first = scanner.peek();
        let fits = match &self.column.node.kind {
            Kind::Text if first == b'"' => {
                scanner.string().map_err(|wrong| wrong.within(&self.column.name))?;
                true
            }
            Kind::Int64 => scanner.short_integer().is_some(),
            Kind::Float64 => scanner.short_float().is_some(),
            Kind::Bool => scanner.take_all(b"true") || scanner.take_all(b"false"),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let read = self.column.read(scanner, &mut self.spare, 0, level, aside);
        self.spare.truncate(0);
        read
    }
}
