//! What the parts of a pipeline have done, as a status says it.

use std::time::Duration;

use spout_api::{CommitTimes, HandlerStatus, PluginUse, QueueStatus, Status};
use spout_pipeline::{CommitTimes as Took, Figures, HandlerFigures, Queue};
use spout_plugin::Usage;

/// Says in `status` what `figures` are now.
pub(super) fn put(figures: &Figures, status: &mut Status) {
    status.handlers = figures.handlers().iter().map(handler).collect();
    status.plugin_use = figures.plugins().map(|(name, usage, limit)| (name.to_owned(), plugin(usage, limit))).collect();
    status.queue = figures.queue().map(|Queue { bytes, capacity }| QueueStatus { bytes, capacity });
    status.commit_ms = figures.commits().map(commits);
}

fn handler(HandlerFigures { word, id, lane, tally }: &HandlerFigures) -> HandlerStatus {
    HandlerStatus {
        handler: (*word).to_owned(),
        id: id.clone(),
        rows_in: tally.rows_in(),
        rows_out: tally.rows_out(),
        busy_ms: whole(tally.busy()),
        lane: *lane,
    }
}

fn plugin(Usage { instances, calls, busy, cpu, memory, crashes }: Usage, memory_limit: u64) -> PluginUse {
    let (busy_ms, cpu_ms) = (whole(busy), cpu.map(whole));
    PluginUse { instances, calls, busy_ms, cpu_ms, memory, memory_limit, traps: crashes }
}

fn commits(Took { count, sum, last, p50, p99 }: Took) -> CommitTimes {
    let [sum, last, p50, p99] = [sum, last, p50, p99].map(|took| took.as_secs_f64() * 1000.0);
    CommitTimes { count, sum, last, p50, p99 }
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
