//! Named fail points on both sides of every durable step, armed by tests from outside the process.
//!
//! `SPOUT_FAULT="repo.record.before=kill@3"` kills the process (as `kill -9` would) when that point is passed for
//! the third time; `=error@n` makes it fail once instead; `=error` makes it fail every time. `SPOUT_FAULT=count` counts how
//! often each is passed. Unarmed points cost one load.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

#[derive(Debug)]
enum Mode {
    Armed(Armed),
    Count(Mutex<BTreeMap<String, u64>>),
}

#[derive(Debug)]
struct Armed {
    point: String,
    kill: bool,
    at: Option<u64>,
    passed: AtomicU64,
}

fn mode() -> Option<&'static Mode> {
    static MODE: OnceLock<Option<Mode>> = OnceLock::new();
    let read = || match std::env::var("SPOUT_FAULT").ok()?.as_str() {
        "count" => Some(Mode::Count(Mutex::default())),
        text => parse(text).map(Mode::Armed),
    };
    MODE.get_or_init(read).as_ref()
}

fn parse(text: &str) -> Option<Armed> {
    let (point, what) = text.split_once('=')?;
    let (what, at) = match what.split_once('@') {
        Some((what, at)) => (what, Some(at.parse().ok()?)),
        None => (what, None),
    };
    let kill = match what {
        "kill" => true,
        "error" => false,
        _ => return None,
    };
    Some(Armed { point: point.to_owned(), kill, at, passed: AtomicU64::new(0) })
}

/// Passes the point `name`.
///
/// # Errors
/// Only if the point is armed with `error`.
pub fn point(name: &str) -> io::Result<()> {
    let armed = match mode() {
        None => return Ok(()),
        Some(Mode::Armed(armed)) if armed.point != name => return Ok(()),
        Some(Mode::Armed(armed)) => armed,
        Some(Mode::Count(passes)) => {
            *passes.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default() += 1;
            return Ok(());
        }
    };
    let pass = armed.passed.fetch_add(1, Ordering::Relaxed) + 1;
    match (armed.at.is_none_or(|at| at == pass), armed.kill) {
        (false, _) => Ok(()),
        (true, true) => std::process::abort(),
        (true, false) => Err(io::Error::other(format!("fail point {name} is armed"))),
    }
}

/// How often each point was passed; empty unless they are counted.
#[must_use]
pub fn passes() -> BTreeMap<String, u64> {
    match mode() {
        Some(Mode::Count(passes)) => passes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_armed_by_name_and_pass() {
        let armed = parse("a.b=kill@3").unwrap();
        assert_eq!((armed.point.as_str(), armed.kill, armed.at), ("a.b", true, Some(3)));
        assert!(parse("a.b=error").unwrap().at.is_none());
        assert!(parse("a.b=smile").is_none());
        assert!(passes().is_empty());
        assert!(point("never.armed").is_ok());
    }
}
