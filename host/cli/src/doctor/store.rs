//! The store: whether it is there, can be written, keeps two writers apart, and how its clock goes.

use std::path::Path;

use rustix::fs::{Access, access};
use spout_base::error::{Coded, chain};
use spout_repo::{Error, Store, TriedOut};

use super::{
    Line,
    machine::{self, Room},
};

/// Clocks may be so far apart, in milliseconds.
const APART: u64 = 5_000;
/// An object may take so long, in milliseconds, before commits are called slow.
const SLOW: u128 = 500;

/// What is to be said of the store at `url`, and the store, if it is there.
pub(super) async fn look(url: &str) -> (Vec<Line>, Option<Store>) {
    let mut lines = Vec::new();
    let store = match Store::open_existing(url).await {
        Ok(store) => store,
        Err(Error::NoStore { .. }) => {
            lines.extend(absent(url));
            return (lines, None);
        }
        Err(error) => {
            lines.push(wrong("store", &error));
            return (lines, None);
        }
    };
    lines.push(match store.names().await {
        Ok(names) => Line::ok("store", format!("{url}, {} repos", names.len())),
        Err(error) => wrong("store", &error),
    });
    match store.version().await {
        Ok(0) => lines.push(Line::warning(
            "format",
            "the store does not say which version of the format it is of",
            "`spout upgrade --dry-run` says what would be done about that",
        )),
        Ok(version) => lines.push(Line::ok("format", format!("version {version}"))),
        Err(error) => lines.push(wrong("format", &error)),
    }
    match store.try_out().await {
        Ok(TriedOut { took, ahead_ms }) => {
            let is = format!("a name can be created only once; an object takes {} ms", took.as_millis());
            lines.push(if took.as_millis() > SLOW {
                let advice = "each commit takes several of these: a larger `commit.flush` makes fewer of them";
                Line::warning("writing", is, advice)
            } else {
                Line::ok("writing", is)
            });
            lines.extend(ahead_ms.map(clock));
        }
        Err(error) => lines.push(wrong("writing", &error)),
    }
    if let Some(directory) = Store::local(url) {
        lines.push(machine::room("disk of the store", &directory, Room::DATA));
    }
    (lines, Some(store))
}

/// There is none yet.
fn absent(url: &str) -> Vec<Line> {
    let Some(directory) = Store::local(url) else {
        let advice = "the first `spout run` makes it";
        return vec![Line::warning("store", format!("nothing is at {url} yet"), advice)];
    };
    if directory.exists() {
        let is = format!("{url} is there and is no directory");
        return vec![Line::error("store", is, "name a directory with --store")];
    }
    let above = directory.ancestors().find(|above| above.exists()).filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    let there = match access(above, Access::WRITE_OK) {
        Ok(()) => Line::ok("store", format!("{url} is not there yet; the first `spout run` makes it")),
        Err(error) => Line::error(
            "store",
            format!("{url} is not there, and {} cannot be written: {error}", above.display()),
            "name another place with --store, or have the directory made for this user",
        ),
    };
    // That is the disk on which it would be made.
    vec![there, machine::room("disk of the store", above, Room::DATA)]
}

fn clock(ahead_ms: i64) -> Line {
    let (apart, how) = (ahead_ms.unsigned_abs(), if ahead_ms < 0 { "behind" } else { "ahead of" });
    if apart <= APART {
        return Line::ok("clock", "goes with that of the store");
    }
    let is = format!("the store's is {} s {how} that of this machine", apart / 1000);
    Line::warning(
        "clock",
        is,
        "set both by NTP: buckets turn down requests whose time is far off, and ages of commits are wrong",
    )
}

/// What an error says.
pub(super) fn wrong(what: &str, error: &dyn Coded) -> Line {
    Line::error(
        what,
        format!("[{}] {}", error.code(), chain(error)),
        format!("`spout explain {}` says more", error.code()),
    )
}
