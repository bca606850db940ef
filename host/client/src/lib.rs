//! The verbs on a server: every function of [`Api`](spout_api::Api) is a request, and its answer the same as on a store.
//!
//! [`download`] is not of a server of ours: it reads any URL, for files to be put.
//!
//! [`Remote`] builds the requests, `link` sends them and reads what comes back, `putting` sends files while they are read,
//! `rows` reads those of a query while they are found.
//!
//! **Invariant**: nothing is decided here: what is wrong with a request is said by the server, in its words.

mod download;
mod lines;
mod link;
mod markers;
mod pipelines;
mod plugins;
mod putting;
mod remote;
mod rows;

pub use self::{
    download::{download, is_url, name_of_url, shown_url},
    remote::Remote,
};
