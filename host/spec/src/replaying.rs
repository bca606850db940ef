//! The spec by which the dead letters of a pipeline are read once more.

use serde_json::{Map, Value};
use spout_plugin::PluginRef;

use super::{
    Loaded,
    check::{self, contradiction},
    document,
    error::{Error, Place},
    plugins::plugins,
};

/// Keys by which a spec says what it reads, and what it promises of that.
const READS: [&str; 6] = ["producer", "producers", "input", "transform", "streamConfigs", "guarantee"];

impl Loaded {
    /// The pipeline `name`, which reads the dead letters of this one instead of its sources, and does the same with them.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if it has no messages: it is a `transform`, or reads rows. Or `name` is its own.
    pub fn replaying(mut self, name: &str) -> Result<Self, Error> {
        check::name(&self, "pipeline.name", name, "the name of a pipeline")?;
        let own = self.spec.pipeline.name.clone();
        if own == name {
            let what = "a replay writes a repo of its own, since its commits are made from those of the pipeline";
            return Err(contradiction(&self, "pipeline.name", what));
        }
        self.reading_letters(&own, false)?;
        self.spec.pipeline.name = name.to_owned();
        self.spec.guarantee = None;
        Ok(self)
    }

    /// The pipeline itself, which reads its own dead letters instead of its sources, and commits what comes of them to its own table.
    ///
    /// # Errors
    /// As [`Loaded::replaying`]; and [`Error::NotReplayed`] if a handler has state, whose rows have an order that letters do not keep.
    pub fn replaying_into_source(mut self) -> Result<Self, Error> {
        let stateful = self.spec.node.iter().find(|node| node.stateful());
        if let Some(handler) = stateful.map(|node| node.id().to_owned()) {
            let pipeline = self.spec.pipeline.name.clone();
            return Err(Error::NotReplayed { at: self.place("node"), pipeline, handler });
        }
        let own = self.spec.pipeline.name.clone();
        self.reading_letters(&own, true)?;
        self.spec.guarantee = None;
        Ok(self)
    }

    /// The text of this spec where it replays: what its author wrote, but for its name and what it reads.
    ///
    /// # Errors
    /// What was written cannot be read any more.
    pub fn replay_text(&self) -> Result<String, Error> {
        let failed = |what: String| Error::Syntax { at: Place::new(&self.path, self.line), what };
        let mut written = String::new();
        if let Some(node) = document::read(&self.text, &self.path)?.first() {
            node.write_json(&mut written);
        }
        let mut spec: Map<String, Value> = serde_json::from_str(&written).map_err(|error| failed(error.to_string()))?;
        spec.retain(|key, _| !READS.contains(&key.as_str()));
        let named = serde_json::to_value(&self.spec.pipeline).map_err(|error| failed(error.to_string()))?;
        spec.insert("pipeline".into(), named);
        let (key, reads) = if self.spec.producers.is_empty() {
            ("producer", serde_json::to_value(&self.spec.producer))
        } else {
            ("producers", serde_json::to_value(&self.spec.producers))
        };
        spec.insert(key.into(), without_nothing(reads.map_err(|error| failed(error.to_string()))?));
        // The source's plugin is not used any more.
        let used: Vec<&str> =
            plugins(&self.spec).iter().map(|(_, used)| PluginRef::parse(used.reference).plugin).collect();
        let producers = spec.get_mut("producers").and_then(Value::as_array_mut).into_iter().flatten();
        producers.for_each(|producer| keep_grants(producer, &used));
        spec.get_mut("producer").into_iter().for_each(|producer| keep_grants(producer, &used));
        let mut spec = Value::Object(spec);
        keep_grants(&mut spec, &used);
        serde_saphyr::to_string(&spec).map_err(|error| failed(error.to_string()))
    }

    /// Has each producer read the dead letters of the branch of `own` that are of it.
    fn reading_letters(&mut self, own: &str, into_own: bool) -> Result<(), Error> {
        let branch = self.spec.commit.branch.clone();
        let without = self
            .spec
            .producers()
            .find_map(|(at, producer)| producer.of_dead_letters(own, &branch, into_own).is_none().then_some(at));
        if let Some(at) = without {
            let what = "it takes no messages that a decoder makes rows of, so that none was set aside";
            return Err(contradiction(self, &at, what));
        }
        for producer in self.spec.producers.iter_mut().chain([&mut self.spec.producer]) {
            if let Some(replay) = producer.of_dead_letters(own, &branch, into_own) {
                *producer = replay;
            }
        }
        Ok(())
    }
}

/// Leaves only the grants of plugins that are used.
fn keep_grants(within: &mut Value, used: &[&str]) {
    if let Some(grants) = within.get_mut("grants").and_then(Value::as_object_mut) {
        grants.retain(|plugin, _| used.contains(&plugin.as_str()));
    }
}

/// What says nothing is left out.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let said = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(said.map(|(key, value)| (key, without_nothing(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nothing).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::parse;

    #[test]
    fn a_replay_can_be_written_down() {
        let check = |text: &str| {
            let (path, base) = (Path::new("s.yaml"), Path::new("/specs"));
            let replay = parse(text, path, base).unwrap().remove(0).replaying("again").unwrap();
            let written = replay.replay_text().unwrap();
            let read = parse(&written, path, base).unwrap_or_else(|error| panic!("{error}: {written}")).remove(0);
            let of = |spec: &crate::PipelineSpec| crate::PipelineSpec { grants: Default::default(), ..spec.clone() };
            assert_eq!(of(&read.spec), of(&replay.spec), "{written}");
        };
        check(crate::EXAMPLE);
        check(
            "pipeline: {name: p}\ndescription: x\nproducer: {http: {listen: '127.0.0.1:0', metadata: [key]}, decoder: {type: json}}\n",
        );
        check(
            "pipeline: {name: p}\ncommit: {branch: dev}\nproducers:\n- {name: a, stdin: {}, decoder: {type: json}}\n- {name: b, tcp: {listen: '127.0.0.1:0'}, decoder: {type: csv, schema: {x: int64}}}\nnode: [{type: filter, where: 'true'}]\n",
        );
    }

    #[test]
    fn each_producer_reads_its_own_dead_letters() {
        let load = |text: &str| parse(text, Path::new("s.yaml"), Path::new("/specs")).unwrap().remove(0);
        let one = load(
            "pipeline: {name: p}\nproducer: {http: {listen: '127.0.0.1:0', metadata: [key]}, decoder: {type: json}}\n",
        );
        let one = one.replaying("p-again").unwrap().spec;
        assert_eq!(one.pipeline.name, "p-again");
        let source = one.producer.source().unwrap();
        assert!(source.spec.reads().starts_with("dead letters of the commits of p@master"), "{}", source.spec.reads());
        assert_eq!(source.spec.metadata().len(), 1);
        assert!(one.producer.decoder.is_some());
        let two = load(
            "pipeline: {name: p}\ncommit: {branch: dev}\nproducers:\n- {name: a, stdin: {}, decoder: {type: json}}\n- {name: b, tcp: {listen: '127.0.0.1:0'}, decoder: {type: csv, schema: {x: int64}}}\n",
        );
        let two = two.replaying("q").unwrap().spec;
        let repos = two.producers.iter().filter_map(|producer| producer.repo.as_ref());
        let read: Vec<_> = repos.map(|repo| (repo.branch.as_str(), repo.producer.as_deref())).collect();
        assert_eq!(read, [("dev", Some("a")), ("dev", Some("b"))]);
        let rows = load("pipeline: {name: p}\nproducer: {repo: {repo: events}}\n");
        assert!(rows.clone().replaying("q").unwrap_err().to_string().contains("takes no messages"));
        assert!(rows.replaying("p").unwrap_err().to_string().contains("a repo of its own"));
    }
}
