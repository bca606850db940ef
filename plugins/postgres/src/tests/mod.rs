//! What comes of messages built byte by byte, and of servers that follow a script.

pub(crate) mod bytes;
mod rendering;
mod server;
mod sessions;
mod streams;
