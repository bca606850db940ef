//! What the parts of a pipeline have done, as a status says it.

use std::{collections::BTreeMap, time::Duration};

use spout_api::{CommitTimes, HandlerStatus, MemberStatus, PluginUse, QueueStatus, Status};
use spout_data::PartitionId;
use spout_pipeline::{CommitTimes as Took, Done, Figures, HandlerDone, HandlerFigures, MemberFigures, Queue};
use spout_plugin::Usage;

/// Says in `status` what `figures` are now.
pub(super) fn put(figures: &Figures, status: &mut Status) {
    let (Done { handlers, plugins, queue }, members) = (figures.done(), figures.members());
    status.handlers = figures.handlers().iter().zip(handlers).map(handler).collect();
    // Each process may have as much of it.
    let processes = members.len().max(1) as u64;
    let used = |name: &str| plugins.get(name).copied().unwrap_or_default();
    let limit = |memory: u64| memory.saturating_mul(processes);
    let plugin_use = figures.plugin_memory();
    status.plugin_use = plugin_use.map(|(name, memory)| (name.to_owned(), plugin(used(name), limit(memory)))).collect();
    status.queue = queue.map(fetched);
    status.commit_ms = figures.commits().map(commits);
    status.members = members.into_iter().map(member).collect();
}

/// Which process reads each partition, where several share them.
pub(super) fn owners(figures: &Figures) -> BTreeMap<PartitionId, String> {
    let read = |member: MemberFigures| {
        let id = member.member.id;
        member.partitions.into_iter().map(move |partition| (partition, id.clone()))
    };
    figures.members().into_iter().flat_map(read).collect()
}

fn handler((figures, done): (&HandlerFigures, HandlerDone)) -> HandlerStatus {
    let HandlerDone { rows_in, rows_out, busy } = done;
    let HandlerFigures { word, id, lane, .. } = figures;
    HandlerStatus { handler: (*word).to_owned(), id: id.clone(), rows_in, rows_out, busy_ms: whole(busy), lane: *lane }
}

fn member(MemberFigures { member, leads, partitions, rows, bytes, done, .. }: MemberFigures) -> MemberStatus {
    MemberStatus {
        id: member.id,
        address: member.address,
        labels: member.labels,
        leads,
        leaves: member.leaves,
        partitions: partitions.len() as u64,
        rows,
        bytes,
        plugin_memory: done.plugins.values().map(|usage| usage.memory).sum(),
        queue: done.queue.map(fetched),
    }
}

fn fetched(Queue { bytes, capacity }: Queue) -> QueueStatus {
    QueueStatus { bytes, capacity }
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
