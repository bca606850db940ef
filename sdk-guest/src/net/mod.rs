//! TCP and HTTP, to and from what the spec grants.
//!
//! A plugin reaches nothing of the network by itself. A spec grants it where it may connect to, by name or by number, and at which
//! ports it may listen; anything else fails with [`std::io::ErrorKind::PermissionDenied`], and the host's log says what to grant.
//!
//! A [`Connection`] is one that the host makes: to an endpoint that the spec names, with TLS if it says so, or to what `net` grants. A
//! [`TcpStream`] is a socket of the plugin's own, to what `net` grants.
//!
//! ```yaml
//! grants:
//!   quotes: {net: ["api.example.com:80", "10.0.0.0/8:5432"], listen: [8000]}
//! ```
//!
//! ```no_run
//! use std::io::{BufRead, BufReader, Write};
//! use spout_guest::net::{Client, TcpStream};
//!
//! # fn main() -> spout_guest::Result<()> {
//! let mut stream = TcpStream::connect("broker:9092")?;
//! stream.write_all(b"hello\n")?;
//! let mut answer = String::new();
//! BufReader::new(stream).read_line(&mut answer)?;
//!
//! let page = Client::new().get("http://api.example.com/quotes")?.success()?;
//! # Ok(())
//! # }
//! ```
//!
//! A call into a plugin has a limit (`limits.call`), and who waits beyond it is stopped as if it had crashed. So everything here
//! waits for [`PATIENCE`] unless told otherwise, and then says [`std::io::ErrorKind::TimedOut`].

mod body;
mod client;
pub(crate) mod connection;
#[cfg(test)]
mod fuzz;
mod head;
mod server;
mod tcp;
#[cfg(test)]
mod tests;
mod url;
mod wire;

#[cfg_attr(target_arch = "wasm32", path = "wasi.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "native.rs")]
mod sys;

#[cfg_attr(target_arch = "wasm32", path = "hosted.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "hosted_native.rs")]
pub(crate) mod hosted;

use std::time::Duration;

pub use self::{
    client::{Client, HttpError, Request, Response},
    connection::Connection,
    server::{Broken, Server},
    tcp::{TcpListener, TcpStream},
    url::escaped,
    wire::{Wire, trouble},
};

/// How long a connection, a read or a write may take, unless it is told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(5);
