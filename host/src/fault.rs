//! Named fail points on both sides of every durable step, armed by tests from outside the process.
//!
//! `SPOUT_FAULT="repo.record.before=kill@3"` kills the process (as `kill -9` would) when that point is passed for
//! the third time; `=error@n` makes it fail once instead; `=error` makes it fail every time. Unarmed points cost one load.

use std::{
    io,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

#[derive(Debug)]
struct Armed {
    point: String,
    kill: bool,
    at: Option<u64>,
    passed: AtomicU64,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED.get_or_init(|| parse(&std::env::var("SPOUT_FAULT").ok()?)).as_ref()
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
    let Some(armed) = armed().filter(|armed| armed.point == name) else { return Ok(()) };
    let pass = armed.passed.fetch_add(1, Ordering::Relaxed) + 1;
    match (armed.at.is_none_or(|at| at == pass), armed.kill) {
        (false, _) => Ok(()),
        (true, true) => std::process::abort(),
        (true, false) => Err(io::Error::other(format!("fail point {name} is armed"))),
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
        assert!(point("never.armed").is_ok());
    }
}
