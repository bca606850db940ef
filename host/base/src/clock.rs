//! The only room that reads the time and throws dice.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
pub use tokio::time::Instant;

/// Wall-clock time in milliseconds since 1970; for people to read, never for ordering.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(shift_ms())
}

/// The same in nanoseconds.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
pub fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).saturating_add_signed(shift_ms().saturating_mul(1_000_000))
}

/// How far this clock is off: `SPOUT_CLOCK_SHIFT` in seconds, for tests of clocks that jump.
fn shift_ms() -> i64 {
    static SHIFT: OnceLock<i64> = OnceLock::new();
    let read = || std::env::var("SPOUT_CLOCK_SHIFT").ok()?.parse::<i64>().ok()?.checked_mul(1000);
    *SHIFT.get_or_init(|| read().unwrap_or(0))
}

/// Monotonic time, for thresholds and time-outs.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Processor time that this thread has taken so far, where the system knows.
#[must_use]
pub fn processor() -> Option<Duration> {
    let taken = clock_gettime(ClockId::ThreadCPUTime);
    Some(Duration::new(u64::try_from(taken.tv_sec).ok()?, u32::try_from(taken.tv_nsec).ok()?))
}

/// 128 random bits as 32 lower-case hexadecimal digits: commit ids and writer nonces.
#[must_use]
pub fn nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The id of a trace: random bits, not all of them zero.
#[must_use]
pub fn trace_id() -> u128 {
    rand::random::<u128>().max(1)
}

/// The id of a span: random bits, not all of them zero.
#[must_use]
pub fn span_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// `base` with up to half of itself added or taken away, so that many waiters do not wake together.
#[must_use]
pub fn jittered(base: Duration) -> Duration {
    base.mul_f64(0.5 + rand::random::<f64>())
}
