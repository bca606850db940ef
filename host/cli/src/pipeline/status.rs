//! `spout pipeline status`: what a pipeline is doing, for people.

use anyhow::Result;
use serde_json::{Map, Value};
use spout_api::{CommitTimes, Condition, PartitionState, PartitionStatus, QueueStatus, Status};
use spout_base::clock;

use super::parts;
use crate::print::{Printer, Table, count, grouped, local_time, short, size};

/// Said where nobody knows.
const UNKNOWN: &str = "unknown";

pub(super) fn show(status: &Status, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(status);
    }
    let lag = |lag: Option<u64>| lag.map_or_else(|| UNKNOWN.to_owned(), grouped);
    let last = status.last_commit.as_ref().map(|last| {
        format!("{} at {}, cut by {}: {}", short(&last.id), local_time(last.at_ms), last.reason, fates(&last.counts))
    });
    let runs = status.condition.is_seen();
    let since_start = format!("{} in {}", fates(&status.counts), count(status.commits, "commit"));
    let error = status.error.as_ref().map(|error| match &status.code {
        Some(code) => format!("[{code}] {error}"),
        None => error.clone(),
    });
    let retry = status.retry_at_ms.map(|at| format!("{} ({})", local_time(at), until(at)));
    printer.facts(&[
        ("pipeline", status.name.clone()),
        ("state", format!("{}, since {}", status.condition.words(), local_time(status.since_ms))),
        ("trouble", error.unwrap_or_default()),
        ("tried again", retry.unwrap_or_default()),
        ("listens on", status.address.clone().unwrap_or_default()),
        ("last commit", last.unwrap_or_else(|| status.head.as_deref().map_or("none yet".to_owned(), short))),
        ("since start", if runs { since_start } else { String::new() }),
        ("lag", if runs { lag(status.lag) } else { String::new() }),
        ("behind", if runs { time(status.time_lag_ms) } else { String::new() }),
        ("readers", if status.readers > 0 { grouped(status.readers) } else { String::new() }),
        ("queue", status.queue.filter(|_| runs).map(queue).unwrap_or_default()),
        ("commits take", status.commit_ms.map(took).unwrap_or_default()),
        ("what to do", advice(status).unwrap_or_default()),
    ])?;
    let tables = [
        (!status.members.is_empty()).then(|| parts::members(&status.members)),
        (!status.partitions.is_empty()).then(|| table(&status.partitions)),
        (!status.handlers.is_empty()).then(|| parts::handlers(&status.handlers)),
        (!status.plugin_use.is_empty()).then(|| parts::plugins(&status.plugin_use)),
    ];
    for table in tables.into_iter().flatten() {
        printer.line("")?;
        printer.table(&table)?;
    }
    Ok(())
}

fn queue(queue: QueueStatus) -> String {
    format!("{} fetched and not yet taken, of {}", size(queue.bytes), size(queue.capacity))
}

fn took(CommitTimes { last, p50, p99, .. }: CommitTimes) -> String {
    format!("{p50:.0} ms, 1 of 100 more than {p99:.0} ms, the last {last:.0} ms")
}

fn table(partitions: &[PartitionStatus]) -> Table {
    let number = |number: Option<u64>| number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string());
    let several = partitions.iter().any(|one| !one.producer.is_empty());
    let headers = [
        "producer",
        ">partition",
        "label",
        "state",
        ">committed",
        ">fetched",
        ">source has",
        ">lag",
        ">behind",
        "newest message",
        ">reader",
    ];
    Table::new(
        headers.get(usize::from(!several)..).unwrap_or(&headers),
        partitions.iter().map(|one| {
            let state = match (one.state, &one.code) {
                (PartitionState::Failing, Some(code)) => format!("failing [{code}]"),
                (state, _) => word(state).to_owned(),
            };
            let cells = [
                one.partition.to_string(),
                one.label.clone(),
                state,
                number(one.committed),
                number(one.fetched),
                number(one.end),
                one.lag.map_or_else(|| UNKNOWN.to_owned(), grouped),
                time(one.time_lag_ms),
                one.newest_ms.map_or_else(|| UNKNOWN.to_owned(), local_time),
                match (&one.member, one.reader) {
                    (Some(member), _) => short(member),
                    (None, Some(reader)) => reader.to_string(),
                    (None, None) => "-".to_owned(),
                },
            ];
            several.then(|| one.producer.clone()).into_iter().chain(cells).collect()
        }),
    )
}

fn word(state: PartitionState) -> &'static str {
    match state {
        PartitionState::Reading => "reading",
        PartitionState::Idle => "idle",
        PartitionState::Ended => "ended",
        PartitionState::Failing => "failing",
        PartitionState::Waiting => "waiting",
    }
}

/// A time in a word.
pub(super) fn time(ms: Option<u64>) -> String {
    match ms {
        None => UNKNOWN.to_owned(),
        Some(ms) if ms < 10_000 => format!("{:.1} s", ms as f64 / 1000.0),
        Some(ms) if ms < 600_000 => format!("{} s", ms / 1000),
        Some(ms) if ms < 36_000_000 => format!("{} min", ms / 60_000),
        Some(ms) => format!("{} h", grouped(ms / 3_600_000)),
    }
}

fn until(at_ms: i64) -> String {
    match u64::try_from(at_ms.saturating_sub(clock::wall_ms())) {
        Ok(left) if left > 0 => format!("in {}", time(Some(left))),
        _ => "now".to_owned(),
    }
}

/// Messages, and what became of them.
fn fates(counts: &Map<String, Value>) -> String {
    let sum = |key: &str| match counts.get(key) {
        Some(Value::Object(by_handler)) => by_handler.values().filter_map(Value::as_u64).sum(),
        other => other.and_then(Value::as_u64).unwrap_or_default(),
    };
    let fates = [
        ("dead_letters", "dead letter"),
        ("late", "late row"),
        ("filtered", "filtered row"),
        ("dropped", "dropped message"),
        ("empty", "empty message"),
    ];
    let fates = fates.iter().map(|(key, what)| (sum(key), what)).filter(|(number, _)| *number > 0);
    let said: Vec<String> =
        std::iter::once(format!("{} made {}", count(sum("messages"), "message"), count(sum("rows"), "row")))
            .chain(fates.map(|(number, what)| count(number, what)))
            .collect();
    said.join(", ")
}

fn advice(status: &Status) -> Option<String> {
    let name = &status.name;
    Some(match status.condition {
        Condition::Paused => format!("`spout pipeline resume {name}` has it go on"),
        Condition::WaitingToRestart => format!("`spout pipeline restart {name}` tries it at once"),
        Condition::Failed => {
            format!(
                "mend what failed, then `spout pipeline restart {name}`; `spout pipeline skip {name}` passes over a message"
            )
        }
        Condition::NotRunning => "`spout run SPEC` or `spout serve` runs it".to_owned(),
        Condition::Elsewhere => "ask there, or its server with --server URL".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let check = |ms: Option<u64>, expected: &str| assert_eq!(time(ms), expected);
        check(None, "unknown");
        check(Some(0), "0.0 s");
        check(Some(9_940), "9.9 s");
        check(Some(61_000), "61 s");
        check(Some(3_600_000), "60 min");
        check(Some(7_200_000_000), "2,000 h");
    }

    #[test]
    fn messages_are_told_with_their_fates() {
        let counts =
            serde_json::json!({"messages": 5, "rows": 2, "filtered": {"a": 1, "b": 1}, "late": {}, "dropped": 1});
        assert_eq!(fates(counts.as_object().unwrap()), "5 messages made 2 rows, 2 filtered rows, 1 dropped message");
    }
}
