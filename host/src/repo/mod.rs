//! Versioned file trees: commits, heads, readers. The only room that knows the object store.

mod format;

pub use format::Format;
