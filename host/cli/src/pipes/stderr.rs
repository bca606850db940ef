//! Standard error that holds nobody up: where nobody reads it, lines are left out and counted.
//!
//! A pipe takes 64 KiB and then makes whoever writes wait. Log lines are written by whatever task has something to say, so a
//! pipe that nobody reads would hold up pipelines, their commits and their end.

use std::{
    io::{self, Stderr, Write},
    os::fd::AsFd,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use super::{AT_ONCE, PATIENCE, has_room};

static STDERR: LazyLock<Mutex<Patient<Stderr>>> = LazyLock::new(|| Mutex::new(Patient::new(io::stderr())));

/// Writes `text`, one line or more; `left_out` says how many were left out before, once somebody reads again.
///
/// # Errors
/// What the system says of standard error. That nobody reads is none.
pub(crate) fn write(text: &str, left_out: impl FnOnce(u64) -> String) -> io::Result<()> {
    STDERR.lock().unwrap_or_else(PoisonError::into_inner).write(text, left_out)
}

/// The same for the last words of a process, which are waited for again even if nobody read before.
///
/// # Errors
/// As there.
pub(crate) fn write_last(text: &str, left_out: impl FnOnce(u64) -> String) -> io::Result<()> {
    let mut stderr = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    stderr.stuck = false;
    stderr.write(text, left_out)
}

/// What is written to where somebody may not read.
#[derive(Debug)]
struct Patient<W> {
    into: W,
    /// Nobody read for as long as there was patience.
    stuck: bool,
    /// How many lines were left out since.
    left_out: u64,
    /// The last line was not written to its end.
    cut: bool,
}

impl<W: Write + AsFd> Patient<W> {
    fn new(into: W) -> Self {
        Self { into, stuck: false, left_out: 0, cut: false }
    }

    fn write(&mut self, text: &str, left_out: impl FnOnce(u64) -> String) -> io::Result<()> {
        let mut all = String::new();
        if self.left_out > 0 {
            all = format!("{}{}", if self.cut { "\n" } else { "" }, left_out(self.left_out));
        }
        all += text;
        let mut rest = all.as_bytes();
        while !rest.is_empty() {
            let patience = if self.stuck { Duration::ZERO } else { PATIENCE };
            if !has_room(&self.into, patience)? {
                // What was begun is what the next line must not be taken for a part of.
                self.cut |= rest.len() < all.len();
                self.stuck = true;
                self.left_out += 1;
                return Ok(());
            }
            self.stuck = false;
            let (now, later) = rest.split_at(rest.len().min(AT_ONCE));
            self.into.write_all(now)?;
            rest = later;
        }
        (self.left_out, self.cut) = (0, false);
        self.into.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[test]
    fn who_does_not_read_holds_nobody_up_and_is_told_what_is_missing() {
        let (reader, writer) = io::pipe().unwrap();
        let mut patient = Patient::new(writer);
        let told = |lines| format!("{lines} left out\n");
        let line = format!("{}\n", "x".repeat(9_999));
        for _ in 0..1000 {
            patient.write(&line, told).unwrap();
        }
        let missing = patient.left_out;
        assert!(patient.stuck && missing > 900, "{missing} of 1000 are left out");
        let read = std::thread::spawn(move || BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>());
        // The reader starts some time or other.
        while patient.left_out > 0 {
            patient.stuck = false;
            patient.write("at last\n", told).unwrap();
        }
        patient.write("and on\n", told).unwrap();
        drop(patient);
        let lines = read.join().unwrap();
        let whole = lines.iter().filter(|text| text.len() == 9_999).count() as u64;
        assert_eq!(whole + missing, 1000);
        let end: Vec<&str> = lines.iter().filter(|text| !text.starts_with('x')).map(String::as_str).collect();
        assert_eq!(end, [&format!("{missing} left out")[..], "at last", "and on"]);
        assert!(lines.iter().filter(|text| text.starts_with('x')).count() as u64 - whole <= 1, "one was begun at most");
    }

    #[test]
    fn who_went_away_is_said() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let said = Patient::new(writer).write("x\n", |_| String::new()).unwrap_err();
        assert_eq!(said.kind(), io::ErrorKind::BrokenPipe);
    }
}
