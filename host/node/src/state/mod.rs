//! What handlers hold between batches, in a form whose snapshot costs as much as what is new.
//!
//! [`Segments`] is the ground: record batches that are written once and kept by name, merged now and then. [`Held`] keeps rows
//! in it, with their event time, source and order; [`Groups`] numbers group keys; [`RowStore`] holds rows that are looked at in any order. Each gives its parts for
//! [`Handler::snapshot`](super::Handler::snapshot) and takes them back; [`Limits`] says how much there may be.
//!
//! ```text
//! rows ──► Held::append ──► fresh ── snapshot ──► rows-1 (New) … next time rows-1 (Kept), rows-2 (New)
//! ```
//!
//! **Invariant**: what a snapshot writes follows what came since the last one, not what is held.

mod columns;
mod groups;
mod limits;
mod row_segment;
mod row_store;
mod rows;
mod seen;
mod segments;

pub use self::limits::LimitsSpec;
pub(crate) use self::{
    columns::{level, wider},
    groups::{Groups, fields},
    limits::Limits,
    row_store::RowStore,
    rows::{Held, Marks, ORDER, SOURCE, TIME, bare, column, in_order, number, one_schema},
    seen::Seen,
    segments::{Segments, by_schema, concat, decode, encode},
};
