//! What crosses to the host and back: schemas, and batches as parts.

pub mod parts;
pub mod schema;
