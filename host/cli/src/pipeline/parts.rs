//! What the handlers and plugins of a pipeline have done, as tables.

use std::collections::BTreeMap;

use spout_api::{HandlerStatus, MemberStatus, PluginUse};

use super::status::time;
use crate::print::{Table, grouped, short, size};

pub(super) fn handlers(handlers: &[HandlerStatus]) -> Table {
    Table::new(
        &["handler", "kind", ">rows in", ">rows out", ">time in it", "runs"],
        handlers.iter().map(|one| {
            let runs = if one.lane { "in each lane" } else { "where lanes meet" };
            let (id, kind) = (one.id.clone(), one.handler.clone());
            vec![id, kind, grouped(one.rows_in), grouped(one.rows_out), time(Some(one.busy_ms)), runs.to_owned()]
        }),
    )
}

/// The processes that share it; ids are as long as they have to be to be told apart.
pub(super) fn members(members: &[MemberStatus]) -> Table {
    Table::new(
        &["process", "at", "labels", "does", ">partitions", ">rows", ">bytes", ">fetched", ">plugin memory"],
        members.iter().map(|one| {
            let does = match (one.leads, one.leaves) {
                (true, _) => "leads",
                (false, true) => "leaves",
                (false, false) => "reads",
            };
            let labels = one.labels.iter().map(|(key, value)| format!("{key}={value}"));
            vec![
                short(&one.id),
                one.address.clone(),
                labels.collect::<Vec<_>>().join(" "),
                does.to_owned(),
                grouped(one.partitions),
                grouped(one.rows),
                size(one.bytes),
                one.queue.map_or_else(|| "-".to_owned(), |queue| size(queue.bytes)),
                size(one.plugin_memory),
            ]
        }),
    )
}

pub(super) fn plugins(plugins: &BTreeMap<String, PluginUse>) -> Table {
    Table::new(
        &["plugin", ">instances", ">calls", ">time in calls", ">processor time", ">memory", ">of", ">crashes"],
        plugins.iter().map(|(name, used)| {
            vec![
                name.clone(),
                grouped(used.instances),
                grouped(used.calls),
                time(Some(used.busy_ms)),
                time(used.cpu_ms),
                size(used.memory),
                size(used.memory_limit),
                grouped(used.traps),
            ]
        }),
    )
}
