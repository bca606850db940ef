//! The route of Prometheus: what pipelines have done since they started, in its text format.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use spout_keeper::Status;

use crate::{Service, answer::Answer, endpoint::Endpoint, guard::Caller};

const TEXT: &str = "text/plain; version=0.0.4";

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/metrics", "What the pipelines of this server have done, for Prometheus.", metrics)
            .gives_bytes("text/plain"),
    ]
}

async fn metrics(State(service): State<Arc<Service>>, caller: Caller) -> Answer<Response> {
    let all = service.board.statuses().all();
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

/// Samples by the name of their metric.
#[derive(Default)]
struct Families(BTreeMap<String, (&'static str, &'static str, Vec<String>)>);

impl Families {
    fn add(&mut self, (name, kind, help): (&str, &'static str, &'static str), labels: &[(&str, &str)], value: &Value) {
        let Some(value) = value.as_f64().filter(|value| value.is_finite()) else { return };
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let sample = format!("{{{}}} {value}", labels.join(","));
        self.0.entry(name.to_owned()).or_insert((kind, help, Vec::new())).2.push(sample);
    }
}

fn text(all: &[Status]) -> String {
    let mut families = Families::default();
    for status in all {
        of_status(status, &mut families);
    }
    let mut text = String::new();
    for (name, (kind, help, samples)) in families.0 {
        text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        samples.iter().for_each(|sample| text += &format!("{name}{sample}\n"));
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
    for (key, help) in COUNTERS {
        let value = status.counts.get(key).unwrap_or(&Value::Null);
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
    for (plugin, metrics) in &status.metrics {
        for (name, value) in metrics.as_object().into_iter().flatten() {
            of_plugin(&[pipeline, ("plugin", plugin), ("name", name)], value, families);
        }
    }
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
        ] {
            assert!(lines.contains(&line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("spout_lag_messages"), "a lag that nobody knows is none");
    }
}
