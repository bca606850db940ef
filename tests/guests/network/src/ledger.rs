//! A service whose answers are promises: a line is answered with the id of the commit that holds it, once that is durable.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    time::Duration,
};

use spout_guest::{Pfs, Result, Spout, draining, net::TcpListener};

/// Takes nothing from its spec.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {}

/// One client after the other.
#[derive(Debug)]
pub(crate) struct Ledger;

impl Spout for Ledger {
    type Settings = Settings;

    fn run(_: Settings, pfs: &Pfs) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:8000")?;
        while !draining() {
            let Some(client) = listener.accept_within(Duration::from_millis(100))? else { continue };
            let mut client = BufReader::new(client);
            let mut line = String::new();
            if client.read_line(&mut line).is_ok_and(|read| read > 0) {
                let mut commit = pfs.begin()?;
                commit.append("/lines.txt", line)?;
                let id = commit.finish()?;
                // The client may have gone; what it sent is there all the same.
                drop(writeln!(client.get_mut(), "{id}"));
            }
        }
        Ok(())
    }
}
