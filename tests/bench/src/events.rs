//! The events that benchmarks read: 150 bytes a line, the same on every machine.

use std::io::{self, Write};

/// The schema of the events, as a spec writes it.
pub(crate) const SCHEMA: &str =
    r#"{"id":"int64","ts":"timestamp(ms, UTC)","level":"utf8","host":"utf8","latency":"float64","message":"utf8"}"#;

/// Writes event `n` as a line.
pub(crate) fn write(n: u64, to: &mut impl Write) -> io::Result<()> {
    let dice = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let level = ["debug", "info", "info", "warn"][(dice >> 60) as usize % 4];
    let (seconds, millis) = (n / 1000 % 60, n % 1000);
    let (minutes, hours) = (n / 60_000 % 60, n / 3_600_000 % 24);
    writeln!(
        to,
        r#"{{"id":{n},"ts":"2026-01-01T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z","level":"{level:5}","host":"web-{:03}","latency":{:3}.{:02},"message":"request {:08x} served by worker {:02}"}}"#,
        dice >> 54,
        100 + (dice >> 40) % 900,
        (dice >> 20) % 100,
        dice as u32,
        dice >> 48 & 63,
    )
}

/// `count` events from `first` on, a line each.
pub(crate) fn lines(first: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    (first..first + count).try_for_each(|n| write(n, &mut text))?;
    Ok(text)
}
