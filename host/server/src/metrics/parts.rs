//! What the parts of a pipeline have done: its handlers, its plugins, its queue, its commits.

use serde_json::Value;
use spout_api::{HandlerStatus, MemberStatus, PluginUse, Status};

use super::{Families, Family};

/// Handlers of a pipeline that have samples of their own: the first of the chain.
const HANDLERS: usize = 200;

pub(super) fn of_parts(status: &Status, families: &mut Families) {
    let pipeline = ("pipeline", status.name.as_str());
    for handler in status.handlers.iter().take(HANDLERS) {
        of_handler(pipeline, handler, families);
    }
    for (name, used) in &status.plugin_use {
        of_plugin(&[pipeline, ("plugin", name)], used, families);
    }
    for member in &status.members {
        of_member(&[pipeline, ("process", &member.address)], member, families);
    }
    if let Some(queue) = status.queue {
        let said: [(Family<'_>, u64); 2] = [
            (("spout_queue_bytes", "gauge", "Bytes that were fetched and not yet taken."), queue.bytes),
            (("spout_queue_capacity_bytes", "gauge", "Bytes that may be fetched and not yet taken."), queue.capacity),
        ];
        said.into_iter().for_each(|(family, value)| families.add(family, &[pipeline], &value.into()));
    }
    if let Some(took) = status.commit_ms {
        let family = ("spout_commit_seconds", "summary", "How long commits took from the cut until they were durable.");
        families.add(family, &[pipeline, ("quantile", "0.5")], &seconds(took.p50));
        families.add(family, &[pipeline, ("quantile", "0.99")], &seconds(took.p99));
        families.add_part(family, "_sum", &[pipeline], &seconds(took.sum));
        families.add_part(family, "_count", &[pipeline], &took.count.into());
    }
}

fn of_handler(pipeline: (&str, &str), handler: &HandlerStatus, families: &mut Families) {
    let labels = [pipeline, ("handler", handler.id.as_str()), ("kind", handler.handler.as_str())];
    let said: [(Family<'_>, Value); 3] = [
        (("spout_handler_rows_in_total", "counter", "Rows that a handler was given."), handler.rows_in.into()),
        (("spout_handler_rows_out_total", "counter", "Rows that a handler passed on."), handler.rows_out.into()),
        (
            ("spout_handler_busy_seconds_total", "counter", "Time in a handler, over all lanes."),
            seconds(handler.busy_ms as f64),
        ),
    ];
    said.into_iter().for_each(|(family, value)| families.add(family, &labels, &value));
}

fn of_plugin(labels: &[(&str, &str)], used: &PluginUse, families: &mut Families) {
    let cpu = used.cpu_ms.map_or(Value::Null, |ms| seconds(ms as f64));
    let said: [(Family<'_>, Value); 7] = [
        (("spout_plugin_instances", "gauge", "Instances of a plugin."), used.instances.into()),
        (("spout_plugin_calls_total", "counter", "Calls into a plugin."), used.calls.into()),
        (
            ("spout_plugin_busy_seconds_total", "counter", "Time in calls into a plugin, over all instances."),
            seconds(used.busy_ms as f64),
        ),
        (("spout_plugin_cpu_seconds_total", "counter", "Processor time in calls into a plugin."), cpu),
        (("spout_plugin_memory_bytes", "gauge", "Memory of all instances of a plugin."), used.memory.into()),
        (
            ("spout_plugin_memory_limit_bytes", "gauge", "Memory that all instances of a plugin may have."),
            used.memory_limit.into(),
        ),
        (("spout_plugin_traps_total", "counter", "Instances of a plugin that were lost."), used.traps.into()),
    ];
    said.into_iter().for_each(|(family, value)| families.add(family, labels, &value));
}

fn of_member(labels: &[(&str, &str)], member: &MemberStatus, families: &mut Families) {
    let said: [(Family<'_>, u64); 3] = [
        (("spout_member_partitions", "gauge", "Partitions that a process of a cluster reads."), member.partitions),
        (
            ("spout_member_rows_total", "counter", "Rows that a process of a cluster has taken for commits."),
            member.rows,
        ),
        (("spout_member_bytes_total", "counter", "Bytes of rows that it has taken for commits."), member.bytes),
    ];
    said.into_iter().for_each(|(family, value)| families.add(family, labels, &value.into()));
}

fn seconds(ms: f64) -> Value {
    (ms / 1000.0).into()
}
