//! What cannot be together with a schema that gets more columns while the pipeline runs.

use spout_format::Format;
use spout_producer::DecoderSpec;

use super::{
    Loaded,
    check::{all_handlers, contradiction},
    error::Error,
};

/// Files that have no place for the columns, and handlers that would take other rows because of them.
pub(super) fn problems(loaded: &Loaded) -> Vec<Error> {
    let decoders = loaded.spec.producers().filter_map(|(_, producer)| producer.decoder.as_ref());
    let evolving: Vec<&DecoderSpec> = decoders.filter(|decoder| decoder.evolves()).collect();
    if evolving.is_empty() {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    let nests = evolving.iter().any(|decoder| matches!(decoder, DecoderSpec::Native(native) if native.nests()));
    if nests && loaded.spec.commit.format == Format::Csv {
        let what = "the decoder adds columns (`evolve: add-columns`), also of objects and lists, which CSV files cannot hold; choose another format, or leave `evolve` out";
        wrong.push(contradiction(loaded, "commit.format", what));
    }
    for (index, consumer) in loaded.spec.consumers.iter().enumerate() {
        if let Some((key, why)) = consumer.fixed_columns() {
            let what = format!("the decoder adds columns (`evolve: add-columns`), but {why}");
            wrong.push(contradiction(loaded, &format!("consumers[{index}].{key}"), what));
        }
    }
    for (path, node) in all_handlers(&loaded.spec.node, "node") {
        if node.by_all_columns() {
            let what = "the decoder adds columns (`evolve: add-columns`), but this handler compares all columns, so a row would count as a different one once there are more; name the columns to compare: `by: [id]`";
            wrong.push(contradiction(loaded, &path, what));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::parse_every;

    /// What is wrong with a pipeline of this decoder, and `rest`.
    fn complaints(decoder: &str, rest: &str) -> Vec<String> {
        let text = format!(
            "pipeline: {{name: p}}\nproducer:\n  stream: {{plugin: files, topic: t}}\n  decoder: {decoder}\n{rest}"
        );
        let (_, wrong) = parse_every(&text, Path::new("s.yaml"), Path::new("/specs"));
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let check = |decoder: &str, rest: &str, parts: &[&str]| {
            let wrong = complaints(decoder, rest);
            assert_eq!(wrong.len(), usize::from(!parts.is_empty()), "{decoder} {rest}: {wrong:?}");
            parts.iter().for_each(|part| assert!(wrong[0].contains(part), "{part}: {wrong:?}"));
        };
        let json = "{type: json, evolve: add-columns}";
        check(json, "", &[]);
        check("{type: json, evolve: none, unknown: fail}", "", &[]);
        check("{type: influx, evolve: add-columns}", "commit: {format: csv}", &[]);
        check("{type: graphite, evolve: add-columns}", "", &[]);
        for decoder in ["json", "influx", "graphite"] {
            for unknown in ["fail", "capture"] {
                let decoder = format!("{{type: {decoder}, evolve: add-columns, unknown: {unknown}}}");
                check(&decoder, "", &["s.yaml:4", "`evolve: add-columns`", &format!("`unknown: {unknown}`")]);
            }
        }
        for decoder in ["csv", "avro", "arrow", "raw", "syslog"] {
            check(&format!("{{type: {decoder}, evolve: add-columns}}"), "", &["unknown key `evolve`"]);
        }
        check(json, "commit: {format: csv}", &["s.yaml:5", "which CSV files cannot hold"]);
        let file = |more: &str| format!("consumers:\n  - {{type: file, path: 'out/{{n}}.csv', format: csv{more}}}");
        check(json, &file(", rotate: {size: 1MiB}"), &[]);
        check(json, &file("").replace("{n}", "a"), &["s.yaml:6", "set `rotate`"]);
        check(json, "node: [{type: sample, fraction: 0.5}]", &["compares all columns", "`by: [id]`"]);
        check(json, "node: [{type: dedupe, last: 5}]", &["compares all columns"]);
        check(json, "node: [{type: sample, every: 2}, {type: dedupe, last: 5, by: [id]}]", &[]);
        check("{type: json, evolve: columns}", "", &["evolve"]);
    }
}
