//! What is shown of a pipeline: of what is not said, nothing.

use serde_json::Value;
use spout_base::counted::grouped;

use crate::print::size;

/// What the cells of a pipeline are called.
pub(super) const HEADS: [&str; 10] =
    ["pipeline", "state", ">messages/s", ">messages", ">rows", ">lag", ">behind", ">commits", ">commit ms", "trouble"];

/// What is shown of a pipeline.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) name: String,
    /// Messages since its start.
    pub(super) messages: u64,
    /// Messages a second, since it was asked before.
    rate: Option<f64>,
    about: Value,
}

/// A table of what a pipeline is made of.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) title: &'static str,
    pub(super) heads: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

impl Look {
    pub(super) fn of(about: &Value) -> Self {
        let (name, messages) = (word(&about["name"]), about["counts"]["messages"].as_u64().unwrap_or_default());
        Self { name, messages, rate: None, about: about.clone() }
    }

    /// The same where so many messages come a second.
    pub(super) fn with_rate(self, rate: Option<f64>) -> Self {
        Self { rate, ..self }
    }

    /// What it is doing, in a word.
    pub(super) fn state(&self) -> String {
        word(&self.about["condition"]).replace('-', " ")
    }

    /// Whether something is wrong with it.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.about["error"].is_string()
    }

    /// Its cells, as the heads call them.
    pub(super) fn cells(&self) -> [String; 10] {
        let about = &self.about;
        let trouble = match (about["code"].as_str(), about["error"].as_str()) {
            (Some(code), Some(error)) => format!("[{code}] {error}"),
            (_, error) => error.unwrap_or_default().to_owned(),
        };
        [
            self.name.clone(),
            self.state(),
            self.rate.map(|rate| grouped(rate.round() as u64)).unwrap_or_default(),
            grouped(self.messages),
            number(&about["counts"]["rows"]),
            number(&about["lag"]),
            time(&about["time_lag_ms"]),
            number(&about["commits"]),
            about["commit_ms"]["p99"].as_f64().map(|ms| format!("{ms:.0}")).unwrap_or_default(),
            trouble,
        ]
    }

    /// What it is made of, as far as that is said.
    pub(super) fn parts(&self) -> Vec<Part> {
        let all = [self.partitions(), self.handlers(), self.plugins(), self.queue()];
        all.into_iter().filter(|part| !part.rows.is_empty()).collect()
    }

    fn partitions(&self) -> Part {
        let row = |one: &Value| {
            let state = match one["code"].as_str() {
                Some(code) => format!("{} [{code}]", word(&one["state"])),
                None => word(&one["state"]),
            };
            let label = match (word(&one["producer"]).as_str(), word(&one["label"])) {
                ("", label) => label,
                (producer, label) => format!("{producer}: {label}"),
            };
            let [partition, committed, fetched, lag] =
                ["partition", "committed", "fetched", "lag"].map(|key| number(&one[key]));
            vec![partition, label, state, committed, fetched, lag, time(&one["time_lag_ms"])]
        };
        Part {
            title: "partitions",
            heads: &[">partition", "label", "state", ">committed", ">fetched", ">lag", ">behind"],
            rows: list(&self.about["partitions"]).map(row).collect(),
        }
    }

    fn handlers(&self) -> Part {
        let row = |one: &Value| {
            let name = match one["id"].as_str() {
                Some(id) => id.to_owned(),
                None => word(&one["handler"]),
            };
            let place = if one["lane"].as_bool().unwrap_or_default() { "in lanes" } else { "where lanes meet" };
            let [rows_in, rows_out] = ["rows_in", "rows_out"].map(|key| number(&one[key]));
            vec![name, word(&one["handler"]), rows_in, rows_out, time(&one["busy_ms"]), place.to_owned()]
        };
        Part {
            title: "handlers",
            heads: &["handler", "type", ">rows in", ">rows out", ">busy", "runs"],
            rows: list(&self.about["handlers"]).map(row).collect(),
        }
    }

    fn plugins(&self) -> Part {
        let row = |(name, one): (&String, &Value)| {
            let bytes = |key: &str| one[key].as_u64().map(size).unwrap_or_default();
            let [instances, calls, traps] = ["instances", "calls", "traps"].map(|key| number(&one[key]));
            let [busy, processor] = ["busy_ms", "cpu_ms"].map(|key| time(&one[key]));
            vec![name.clone(), instances, calls, busy, processor, bytes("memory"), bytes("memory_limit"), traps]
        };
        Part {
            title: "plugins",
            heads: &["plugin", ">instances", ">calls", ">busy", ">processor", ">memory", ">at most", ">traps"],
            rows: self.about["plugin_use"].as_object().into_iter().flatten().map(row).collect(),
        }
    }

    fn queue(&self) -> Part {
        let queue = &self.about["queue"];
        let row = queue["bytes"].as_u64().map(|bytes| {
            let capacity = queue["capacity"].as_u64().unwrap_or_default();
            vec![
                size(bytes),
                size(capacity),
                format!("{} %", bytes.saturating_mul(100).checked_div(capacity).unwrap_or_default()),
            ]
        });
        Part {
            title: "fetched and not yet taken",
            heads: &[">bytes", ">at most", ">full"],
            rows: row.into_iter().collect(),
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> String {
    value.as_u64().map(grouped).unwrap_or_default()
}

/// Milliseconds as people say them.
fn time(value: &Value) -> String {
    match value.as_u64() {
        None => String::new(),
        Some(ms @ 0..1000) => format!("{ms} ms"),
        Some(ms @ 1000..120_000) => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        Some(ms @ 120_000..7_200_000) => format!("{} min", ms / 60_000),
        Some(ms) => format!("{} h", ms / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_is_not_shown() {
        let bare = Look::of(&json!({"name": "p", "condition": "catching-up", "counts": {}}));
        assert_eq!(bare.cells()[..4], ["p", "catching up", "", "0"].map(str::to_owned));
        assert!(bare.parts().is_empty());
        let about = json!({
            "name": "p", "condition": "running", "counts": {"messages": 1200}, "commit_ms": {"p99": 12.4},
            "handlers": [{"handler": "filter", "id": "low", "rows_in": 10, "rows_out": 4, "busy_ms": 1500, "lane": true}],
            "plugin_use": {"kafka": {"instances": 2, "calls": 9, "busy_ms": 3, "memory": 1048576, "memory_limit": 2097152, "traps": 0}},
            "queue": {"bytes": 512, "capacity": 1024},
        });
        let full = Look::of(&about).with_rate(Some(99.6));
        assert_eq!((full.cells()[2].as_str(), full.cells()[8].as_str()), ("100", "12"));
        let rows: Vec<Vec<String>> = full.parts().into_iter().flat_map(|part| part.rows).collect();
        assert_eq!(rows[0], ["low", "filter", "10", "4", "1.5 s", "in lanes"]);
        assert_eq!(rows[1], ["kafka", "2", "9", "3 ms", "", "1.0 MiB", "2.0 MiB", "0"]);
        assert_eq!(rows[2], ["512 B", "1.0 KiB", "50 %"]);
    }
}
