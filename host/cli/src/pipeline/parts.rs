//! What the handlers and plugins of a pipeline have done, as tables.

use std::collections::BTreeMap;

use spout_api::{HandlerStatus, PluginUse};

use super::status::time;
use crate::print::{Table, grouped, size};

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
