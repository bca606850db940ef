//! Runs the tests of a spec: rows go through decoder and handlers, with no source, no repo and no clock.
//!
//! [`Rehearsal`] holds what the pipeline's handlers need, [`Verdict`] says how one test went. Each test runs twice: with its
//! messages or rows in batches as they are written, and with every one alone, before the decoder as after it; both have to give the
//! same rows and set the same aside.
//!
//! **Invariant**: what a test sees is what a run would commit; there is no second way through the handlers.

mod cell;
mod compare;
mod performance;
mod rows;
mod tables;

use std::path::PathBuf;

use serde::Serialize;
use spout_data::PartitionId;
use spout_node::{Builder, NodeSpec};
use spout_plugin::{Plugins, Task};
use spout_producer::{DecoderSpec, NativeDecoder};
use spout_spec::{Loaded, PipelineSpec, PluginUse, ProducerSpec, Row, StepSpec, TestSpec};

pub(crate) use self::compare::{as_rows, as_values};
use self::performance::{Cutting, Performance};
use super::{Error, build::Loading};

/// The handlers of one pipeline, ready for its tests.
#[derive(Debug)]
pub struct Rehearsal {
    spec: PipelineSpec,
    /// Directory of the spec, where the paths in it start.
    base: PathBuf,
    /// Of each producer.
    decoders: Vec<(DecoderSpec, Option<Task>)>,
    builder: Builder,
}

/// How one test went.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// What the test shows.
    pub test: String,
    /// Whether everything was as expected.
    pub passed: bool,
    /// What was not.
    pub problems: Vec<Problem>,
}

/// Something that was not as expected.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Problem {
    /// What, in words.
    pub what: String,
    /// Expected rows that did not come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Row>,
    /// Rows that came and were not expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unexpected: Vec<Row>,
    /// Both with the rows around them, a line each: `-` is missing, `+` unexpected.
    #[serde(skip)]
    pub diff: Vec<String>,
}

impl Problem {
    fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }
}

impl Rehearsal {
    /// Whether the tests of `spec` need plugins at all.
    #[must_use]
    pub fn needs_plugins(spec: &PipelineSpec) -> bool {
        let plugin = |producer: &ProducerSpec| matches!(producer.decoder, Some(DecoderSpec::Plugin(_)));
        spec.producers().any(|(_, producer)| plugin(producer))
            || spec.node.iter().any(|node| !node.plugins().is_empty())
    }

    /// What the tests of `loaded` need; `plugins` only if [`Rehearsal::needs_plugins`].
    ///
    /// # Errors
    /// A plugin that cannot be loaded, or lacks a grant.
    pub async fn open(loaded: &Loaded, plugins: Option<&Plugins>) -> Result<Self, Error> {
        let spec = loaded.spec.clone();
        let (mut decoders, mut builder) = (Vec::new(), Builder::default());
        let mut loading = plugins.map(|plugins| Loading::new(&spec, &loaded.base_dir, plugins));
        for (_, producer) in spec.producers() {
            let decoder = producer.decoder.clone().unwrap_or_else(|| NativeDecoder::RAW.into());
            let task = match (&decoder, &mut loading) {
                (DecoderSpec::Plugin(plugin), Some(loading)) => {
                    Some(loading.task(PluginUse::decoder(plugin, &producer.grants)).await?)
                }
                _ => None,
            };
            decoders.push((decoder, task));
        }
        if let Some(loading) = &mut loading {
            builder.tasks = loading.handler_tasks(&spec.node).await?;
        }
        Ok(Self { decoders, builder, base: loaded.base_dir.clone(), spec })
    }

    /// The place of a step's producer in the spec.
    fn producer_of(&self, step: &StepSpec) -> usize {
        let named = |producer: &ProducerSpec| step.producer.as_deref() == Some(producer.name.as_str());
        self.spec.producers.iter().position(named).unwrap_or(0)
    }

    /// The partition that a step is about.
    fn partition_of(&self, step: &StepSpec) -> PartitionId {
        let producer = u16::try_from(self.producer_of(step)).unwrap_or(u16::MAX);
        PartitionId { producer, number: step.partition }
    }

    /// Runs one test.
    ///
    /// # Errors
    /// A handler that cannot be opened at all. What handlers and decoder say of the rows is part of the verdict.
    pub async fn run(&self, test: &TestSpec) -> Result<Verdict, Error> {
        let whole = Performance::of(self, test, Cutting::Whole).await?;
        let mut problems = whole.check(test);
        let steps_matter = test.steps.iter().any(|step| step.expect.is_some());
        if problems.is_empty() && test.one_by_one && !steps_matter && whole.failure.is_none() {
            let single = Performance::of(self, test, Cutting::Single).await?;
            problems = single.same_as(&whole, test);
        }
        Ok(Verdict { test: test.name.clone(), passed: problems.is_empty(), problems })
    }

    /// The handlers that `test` is about.
    fn nodes(&self, test: &TestSpec) -> &[NodeSpec] {
        let nodes = &self.spec.node;
        let at = |id: &Option<String>| id.as_ref().and_then(|id| nodes.iter().position(|node| node.id() == id));
        let from = at(&test.from).unwrap_or(0);
        let to = at(&test.to).map_or(nodes.len(), |to| to + 1);
        nodes.get(from..to).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    async fn verdicts(loaded: &[Loaded]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for loaded in loaded {
            let rehearsal = Rehearsal::open(loaded, None).await.unwrap();
            for test in &loaded.spec.tests {
                verdicts.push(rehearsal.run(test).await.unwrap());
            }
        }
        verdicts
    }

    #[tokio::test]
    async fn the_cases_and_the_example_pass() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files =
            vec![root.join("examples/tested.yaml"), root.join("examples/join.yaml"), root.join("examples/lookup.yaml")];
        for entry in std::fs::read_dir(root.join("tests/cases")).unwrap() {
            let file = entry.unwrap().path().join("spec.yaml");
            // A plugin is for the suite, which has them built.
            let loaded = spout_spec::load_all(&[&file]).unwrap_or_else(|error| panic!("{error}"));
            if loaded.iter().all(|loaded| !Rehearsal::needs_plugins(&loaded.spec)) {
                files.push(file);
            }
        }
        let mut failed = Vec::new();
        for file in files {
            let all = verdicts(&spout_spec::load(&file).unwrap()).await;
            assert!(!all.is_empty(), "{} has no test", file.display());
            failed.extend(all.into_iter().filter(|verdict| !verdict.passed).map(|verdict| (file.clone(), verdict)));
        }
        assert!(failed.is_empty(), "{failed:#?}");
    }

    #[tokio::test]
    async fn a_text_is_cut_as_the_source_cuts_files() {
        let text = r#"pipeline: {name: p}
producer:
  stream: {plugin: files, topic: in, settings: {framing: csv, header: true, delimiter: ";"}}
  decoder: {type: csv, delimiter: ";", schema: {id: int64, name: utf8}}
tests:
  - name: records
    text: "name;id\n\"a\nb\";1\n\nc;2\n"
    expect: [{id: 1, name: "a\nb"}, {id: 2, name: c}]
  - name: each text has a header
    steps: [{text: "id;name\n1;a\n"}, {text: "name;id\nb;2\n"}]
    expect: [{id: 1, name: a}, {id: 2, name: b}]
"#;
        let loaded = spout_spec::parse(text, Path::new("p.yaml"), Path::new(".")).unwrap();
        let verdicts = verdicts(&loaded).await;
        assert!(verdicts.iter().take(2).all(|verdict| verdict.passed), "{verdicts:#?}");
        assert_eq!(verdicts.len(), 2);
    }

    #[tokio::test]
    async fn what_a_test_does_not_expect_is_a_problem() {
        let text = "pipeline: {name: p}
producer: {stream: {plugin: files, topic: in}, decoder: {type: json}}
node: [{id: low, type: filter, where: 'n < 3'}]
tests:
  - {name: schema, input: [{n: 1}], expectSchema: {n: utf8}}
  - {name: failure, input: [{n: 1}], expectFailure: E0401}
  - {name: stopped, input: [{m: 1}], expect: []}
  - {name: late, input: [{n: 1}], expectLate: 1}
  - {name: error, lines: ['{', '{\"n\": 1}'], expect: [{n: 1}]}
  - {name: row, schema: {n: int64}, input: [{n: x}, {k: 1}], expect: []}
  - {name: good, lines: ['{', '{\"n\": 1}'], expect: [{n: 1}], expectErrors: [{code: json.syntax}]}
";
        let loaded = spout_spec::parse(text, Path::new("p.yaml"), Path::new(".")).unwrap();
        let said = |verdict: Verdict| {
            let what: Vec<String> = verdict.problems.into_iter().map(|problem| problem.what).collect();
            (verdict.test, what.join("; "))
        };
        let said: Vec<(String, String)> = verdicts(&loaded).await.into_iter().map(said).collect();
        let expected = [
            ("schema", "the columns should be {n: Utf8}, but are {n: Int64}"),
            ("failure", "it should have stopped with `E0401`, but did not"),
            ("stopped", "it stopped: [E0401]"),
            ("late", "1 row should have come too late, but 0 did"),
            ("error", "0 messages should have been set aside, but 1 were"),
            ("row", "the test's own row {\"n\":\"x\"} does not fit its columns"),
            ("good", ""),
        ];
        for ((test, what), (name, part)) in said.iter().zip(expected) {
            assert!(test == name && what.contains(part) && what.is_empty() == part.is_empty(), "{test}: {what}");
        }
        assert_eq!(said.len(), expected.len());
    }
}
