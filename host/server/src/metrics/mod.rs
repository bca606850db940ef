//! The route of Prometheus: what pipelines have done since they started, in its text format.

mod parts;

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use spout_api::{PartitionStatus, Status};
use spout_base::figures::{self, Kind, Sample};

use crate::{Board, Service, answer::Answer, endpoint::Endpoint, guard::Caller};

/// Partitions of a pipeline that have samples of their own: the first of those that are furthest behind.
const PARTITIONS: usize = 200;

const TEXT: &str = "text/plain; version=0.0.4";

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/metrics", "What the pipelines of this server have done, for Prometheus.", metrics)
            .gives_bytes("text/plain"),
    ]
}

async fn metrics(State(service): State<Arc<Service>>, caller: Caller) -> Answer<Response> {
    let all = service.board.statuses().of_this_process();
    let seen: Vec<Status> = all.into_values().filter(|status| caller.sees(&status.name)).collect();
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(TEXT))], text(&seen)).into_response())
}

/// Counts of a status that only rise, with what each is.
const COUNTERS: [(&str, &str); 6] = [
    ("messages", "Messages fetched since the pipeline started."),
    ("rows", "Rows that reached the consumers since the pipeline started."),
    ("dead_letters", "Messages and rows set aside since the pipeline started."),
    ("dropped", "Messages dropped since the pipeline started."),
    ("empty", "Messages without rows since the pipeline started."),
    ("bytes", "Payload bytes fetched since the pipeline started."),
];

/// The name of a metric, its kind, and what it is.
type Family<'a> = (&'a str, &'static str, &'static str);

/// Samples by the name of their metric.
#[derive(Default)]
struct Families(figures::Families);

impl Families {
    fn add(&mut self, family: Family<'_>, labels: &[(&str, &str)], value: &Value) {
        self.add_part(family, "", labels, value);
    }

    /// Adds a sample whose name has `part` at its end, as those of a summary do.
    fn add_part(&mut self, (name, kind, help): Family<'_>, part: &'static str, labels: &[(&str, &str)], value: &Value) {
        let Some(value) = value.as_f64().filter(|value| value.is_finite()) else { return };
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let new = || figures::Family { kind: Kind::of(kind), help, samples: Vec::new() };
        self.0.entry(name.to_owned()).or_insert_with(new).samples.push(Sample { part, labels, value });
    }
}

impl Board {
    /// What the pipelines have done, for whoever watches: the same as `/metrics` shows to one who may see all of them.
    #[must_use]
    pub fn figures(&self) -> figures::Families {
        let mut families = Families::default();
        self.statuses().of_this_process().values().for_each(|status| of_status(status, &mut families));
        families.0
    }
}

fn text(all: &[Status]) -> String {
    let mut families = Families::default();
    for status in all {
        of_status(status, &mut families);
    }
    let mut text = String::new();
    for (name, figures::Family { kind, help, samples }) in families.0 {
        text += &format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.word());
        for Sample { part, labels, value } in samples {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            text += &format!("{name}{part}{{{}}} {value}\n", labels.join(","));
        }
    }
    text
}

fn of_status(status: &Status, families: &mut Families) {
    let pipeline = ("pipeline", status.name.as_str());
    let state = serde_json::to_value(status.state).unwrap_or_default();
    let state = [pipeline, ("state", state.as_str().unwrap_or_default())];
    families.add(("spout_pipeline_state", "gauge", "What the pipeline is doing: 1 for that."), &state, &1.into());
    let commits = ("spout_commits_total", "counter", "Commits since the pipeline started.");
    families.add(commits, &[pipeline], &status.commits.into());
    // One that has only just started has counted nothing so far.
    let none = if status.state.is_at_work() { Value::from(0) } else { Value::Null };
    for (key, help) in COUNTERS {
        let value = status.counts.get(key).unwrap_or(&none);
        families.add((&format!("spout_{key}_total"), "counter", help), &[pipeline], value);
    }
    for (key, help) in
        [("filtered", "Rows that a handler filtered out."), ("late", "Rows that were too late for a handler.")]
    {
        for (handler, value) in status.counts.get(key).and_then(Value::as_object).into_iter().flatten() {
            families.add((&format!("spout_{key}_total"), "counter", help), &[pipeline, ("handler", handler)], value);
        }
    }
    let lag = (
        "spout_lag_messages",
        "gauge",
        "Offsets between what was fetched and what the sources have, where they say so.",
    );
    families.add(lag, &[pipeline], status.counts.get("lag").unwrap_or(&Value::Null));
    of_partitions(status, families);
    parts::of_parts(status, families);
    for (plugin, metrics) in &status.metrics {
        for (name, value) in metrics.as_object().into_iter().flatten() {
            of_plugin(&[pipeline, ("plugin", plugin), ("name", name)], value, families);
        }
    }
}

/// How the partitions of a pipeline stand. What is not known has no sample.
fn of_partitions(status: &Status, families: &mut Families) {
    let pipeline = ("pipeline", status.name.as_str());
    let whole: [((&str, &'static str, &'static str), Value); 3] = [
        (("spout_partitions", "gauge", "Partitions of the pipeline."), status.partition_count.into()),
        (("spout_readers", "gauge", "Readers that share them."), status.readers.into()),
        (
            ("spout_time_lag_seconds", "gauge", "How far the slowest partition is behind in time."),
            seconds(status.time_lag_ms),
        ),
    ];
    for (family, value) in whole {
        families.add(family, &[pipeline], &value);
    }
    let condition = serde_json::to_value(status.condition).unwrap_or_default();
    let condition = [pipeline, ("condition", condition.as_str().unwrap_or_default())];
    families.add(
        ("spout_pipeline_condition", "gauge", "What the pipeline is doing, for people: 1 for that."),
        &condition,
        &1.into(),
    );
    let mut worst: Vec<&PartitionStatus> = status.partitions.iter().collect();
    // Those that say nothing come last.
    worst.sort_by_key(|one| std::cmp::Reverse((one.time_lag_ms, one.lag)));
    worst.truncate(PARTITIONS);
    worst.sort_by_key(|one| (&one.producer, one.partition));
    for one in worst {
        let number = one.partition.to_string();
        let producer = (!one.producer.is_empty()).then_some(("producer", one.producer.as_str()));
        let named = [Some(pipeline), producer, Some(("partition", number.as_str()))];
        let labels: Vec<(&str, &str)> = named.into_iter().flatten().collect();
        let said: [((&str, &'static str, &'static str), Value); 4] = [
            (
                ("spout_partition_lag_messages", "gauge", "Offsets between what was fetched and what the source has."),
                one.lag.into(),
            ),
            (
                ("spout_partition_time_lag_seconds", "gauge", "How old the newest fetched message is; 0 at the end."),
                seconds(one.time_lag_ms),
            ),
            (("spout_partition_committed_offset", "gauge", "Where the last commit ends."), one.committed.into()),
            (("spout_partition_end_offset", "gauge", "What follows the newest message of the source."), one.end.into()),
        ];
        for (family, value) in said {
            families.add(family, &labels, &value);
        }
    }
}

fn seconds(ms: Option<u64>) -> Value {
    ms.map_or(Value::Null, |ms| (ms as f64 / 1000.0).into())
}

/// What a plugin counts has names of its own, which are labels, so that no plugin takes the name of another metric.
fn of_plugin(labels: &[(&str, &str)], value: &Value, families: &mut Families) {
    match value {
        Value::Object(histogram) => {
            let of = |key: &str| histogram.get(key).unwrap_or(&Value::Null);
            families.add(
                ("spout_plugin_observations_count", "counter", "Values that a plugin observed."),
                labels,
                of("count"),
            );
            families.add(
                ("spout_plugin_observations_sum", "counter", "The sum of what a plugin observed."),
                labels,
                of("sum"),
            );
        }
        value if value.is_u64() => {
            families.add(("spout_plugin_counter", "counter", "A counter of a plugin."), labels, value);
        }
        value => {
            families.add(("spout_plugin_gauge", "gauge", "A value of a plugin."), labels, value);
        }
    }
}

/// The value of a label, as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_metric_is_said_once_with_a_sample_a_pipeline() {
        let status = |name: &str| -> Status {
            serde_json::from_value(json!({
                "name": name, "state": "running", "since_ms": 1, "commits": 2, "head": null,
                "counts": {"messages": 7, "rows": 5, "lag": null, "filtered": {"f": 2}},
                "metrics": {"pl\"ug": {"hits": 3, "load": 0.5, "times": {"count": 2, "sum": 1.5, "min": 0.5, "max": 1.0}}},
                "handlers": [
                    {"handler": "filter", "id": "f", "rows_in": 7, "rows_out": 5, "busy_ms": 1500, "lane": true}
                ],
                "plugin_use": {"csv": {
                    "instances": 2, "calls": 9, "busy_ms": 4, "memory": 65_536, "memory_limit": 131_072, "traps": 0
                }},
                "queue": {"bytes": 3, "capacity": 10},
                "commit_ms": {"count": 2, "sum": 750.0, "last": 500.0, "p50": 250.0, "p99": 500.0},
            }))
            .unwrap()
        };
        let text = text(&[status("a"), status("b")]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("# TYPE spout_messages_total counter")).count(), 1);
        for line in [
            "spout_messages_total{pipeline=\"a\"} 7",
            "spout_messages_total{pipeline=\"b\"} 7",
            "spout_filtered_total{pipeline=\"a\",handler=\"f\"} 2",
            "spout_pipeline_state{pipeline=\"a\",state=\"running\"} 1",
            "spout_plugin_counter{pipeline=\"a\",plugin=\"pl\\\"ug\",name=\"hits\"} 3",
            "spout_plugin_gauge{pipeline=\"a\",plugin=\"pl\\\"ug\",name=\"load\"} 0.5",
            "spout_plugin_observations_sum{pipeline=\"a\",plugin=\"pl\\\"ug\",name=\"times\"} 1.5",
            "spout_handler_rows_in_total{pipeline=\"a\",handler=\"f\",kind=\"filter\"} 7",
            "spout_handler_rows_out_total{pipeline=\"b\",handler=\"f\",kind=\"filter\"} 5",
            "spout_handler_busy_seconds_total{pipeline=\"a\",handler=\"f\",kind=\"filter\"} 1.5",
            "spout_plugin_calls_total{pipeline=\"a\",plugin=\"csv\"} 9",
            "spout_plugin_memory_bytes{pipeline=\"a\",plugin=\"csv\"} 65536",
            "spout_plugin_memory_limit_bytes{pipeline=\"a\",plugin=\"csv\"} 131072",
            "spout_queue_bytes{pipeline=\"a\"} 3",
            "# TYPE spout_commit_seconds summary",
            "spout_commit_seconds{pipeline=\"a\",quantile=\"0.5\"} 0.25",
            "spout_commit_seconds{pipeline=\"a\",quantile=\"0.99\"} 0.5",
            "spout_commit_seconds_sum{pipeline=\"a\"} 0.75",
            "spout_commit_seconds_count{pipeline=\"a\"} 2",
        ] {
            assert!(lines.contains(&line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("spout_lag_messages"), "a lag that nobody knows is none");
        assert!(!text.contains("spout_plugin_cpu_seconds_total"), "nor is processor time that nobody knows");
        let help = lines.iter().filter(|line| line.starts_with("# HELP")).count();
        assert_eq!(help, lines.iter().filter(|line| line.starts_with("# TYPE")).count());
    }

    #[test]
    fn partitions_have_samples_as_far_as_they_are_known_and_not_too_many() {
        let one = |partition: u32| match partition {
            0 => json!({"partition": 0, "state": "reading", "committed": 7}),
            n => {
                json!({"partition": n, "state": "reading", "committed": 7, "lag": n, "time_lag_ms": n * 1000, "end": 9})
            }
        };
        let status: Status = serde_json::from_value(json!({
            "name": "p", "state": "running", "condition": "catching-up", "since_ms": 1, "commits": 2, "head": null,
            "partition_count": 1000, "readers": 2, "time_lag_ms": 999_000,
            "partitions": (0..1000).map(one).collect::<Vec<_>>(),
        }))
        .unwrap();
        let text = text(&[status]);
        let count = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(count("spout_partition_lag_messages{"), PARTITIONS);
        for line in [
            "spout_partition_lag_messages{pipeline=\"p\",partition=\"999\"} 999",
            "spout_partition_time_lag_seconds{pipeline=\"p\",partition=\"999\"} 999",
            "spout_time_lag_seconds{pipeline=\"p\"} 999",
            "spout_partitions{pipeline=\"p\"} 1000",
            "spout_pipeline_condition{pipeline=\"p\",condition=\"catching-up\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("partition=\"0\""), "what is furthest behind goes first");
    }
}
