//! What can be said about specs without running anything: names, paths, thresholds, contradictions.

use std::collections::BTreeMap;

use spout_node::NodeSpec;
use spout_producer::{ConsumerType, DecoderSpec, Source, Start};

use super::{
    CommitSpec, Loaded, PipelineSpec,
    error::{Error, Place},
    evolve, near, test_spec,
};

const NAME_RULE: &str = "use letters, digits, `-`, `_` and `.`, at most 63, starting with a letter or a digit";
const PATH_RULE: &str = "write it like /events/ or /{commit}.parquet: from the root, without `..`, and with \
                         no placeholder but {commit} and {part}";

/// Checks one pipeline, and gives ids to handlers that have none: everything that is wrong, each at its line.
pub(super) fn alone(loaded: &mut Loaded) -> Vec<Error> {
    name_handlers(&mut loaded.spec.node, "");
    let loaded = &*loaded;
    let names = [
        name(loaded, "pipeline.name", &loaded.spec.pipeline.name, "the name of a pipeline"),
        name(loaded, "commit.branch", &loaded.spec.commit.branch, "the name of a branch"),
    ];
    let mut wrong: Vec<Error> = names.into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() {
        wrong.extend(stored(loaded).err());
    }
    wrong.extend(paths(loaded).err());
    wrong.extend(producer(loaded).err());
    wrong.extend(references(loaded));
    wrong.extend(handlers(loaded));
    wrong.extend(positive(loaded));
    wrong.extend(guarantee(loaded).err());
    wrong.extend(consumers(loaded));
    wrong.extend(grants(loaded));
    wrong.extend(evolve::problems(loaded));
    wrong.extend(test_spec::check(loaded));
    wrong
}

/// What keeps pipelines from running beside each other: two of them have one name, or write one branch.
#[must_use]
pub fn together(all: &[Loaded]) -> Vec<Error> {
    let mut names: BTreeMap<&str, &Loaded> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut reads_stdin = all.iter().filter(|loaded| loaded.spec.producer.stdin.is_some());
    if let Some(first) = reads_stdin.next() {
        let what = format!("{} already reads standard input, and there is only one", first.place("producer.stdin"));
        wrong.extend(reads_stdin.map(|second| contradiction(second, "producer.stdin", what.as_str())));
    }
    for loaded in all {
        let PipelineSpec { pipeline, commit, .. } = &loaded.spec;
        let Some(first) = names.insert(&pipeline.name, loaded) else { continue };
        let at = loaded.place("pipeline.name");
        let pipeline = pipeline.name.clone();
        let name = first.place("pipeline.name");
        // A pipeline writes the repo of its own name, so that one branch can only be written twice under one name.
        wrong.push(if first.spec.commit.branch == commit.branch {
            Error::TwiceBranch { at, branch: format!("{pipeline}@{}", commit.branch), pipeline, first: name }
        } else {
            Error::TwicePipeline { at, pipeline, first: name }
        });
    }
    wrong
}

/// The plugin references of a spec with the path of each, in the order in which messages pass them.
#[must_use]
pub fn plugins(spec: &PipelineSpec) -> Vec<(String, &str)> {
    let mut out = Vec::new();
    if let Some(stream) = &spec.producer.stream {
        out.push(("producer.stream.plugin".to_owned(), stream.plugin.as_str()));
    }
    if let Some(DecoderSpec::Plugin(decoder)) = &spec.producer.decoder {
        out.push(("producer.decoder.plugin".to_owned(), decoder.plugin.as_str()));
    }
    for (path, node) in all_handlers(&spec.node, "node") {
        out.extend(node.plugin().map(|plugin| (format!("{path}.plugin"), plugin.plugin.as_str())));
    }
    out
}

/// A plugin reference without its digest.
#[must_use]
pub fn plugin_name(reference: &str) -> &str {
    reference.split('@').next().unwrap_or(reference)
}

fn name_handlers(nodes: &mut [NodeSpec], within: &str) {
    for (index, node) in nodes.iter_mut().enumerate() {
        let (kind, id) = node.named();
        if id.is_empty() {
            *id = format!("{within}{kind}-{index}");
        }
        let inner = format!("{id}-");
        name_handlers(node.within_mut(), &inner);
    }
}

/// All handlers of a chain that is written at `under`, with the path of each, those within others behind these.
#[must_use]
pub fn all_handlers<'a>(nodes: &'a [NodeSpec], under: &str) -> Vec<(String, &'a NodeSpec)> {
    let mut all = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("{under}[{index}]");
        let within = all_handlers(node.within(), &format!("{path}.nodes"));
        all.push((path, node));
        all.extend(within);
    }
    all
}

fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn name(loaded: &Loaded, path: &str, value: &str, what: &'static str) -> Result<(), Error> {
    if is_name(value) { Ok(()) } else { Err(bad_name(loaded, path, value, what, NAME_RULE)) }
}

/// What the repo itself would refuse: it judges the names it stores.
fn stored(loaded: &Loaded) -> Result<(), Error> {
    let CommitSpec { branch, path, .. } = &loaded.spec.commit;
    let name = &loaded.spec.pipeline.name;
    let refused =
        |key: &str, value: &str, what, error: spout_repo::Error| bad_name(loaded, key, value, what, &error.to_string());
    spout_repo::path::repo_name(name).map_err(|error| refused("pipeline.name", name, "the name of a repo", error))?;
    spout_repo::path::branch_name(branch)
        .map_err(|error| refused("commit.branch", branch, "the name of a branch", error))?;
    let file = format!("{}x", path.replace("{commit}", "c").replace("{part}", "p"));
    if path.starts_with('/') && is_template(path) {
        spout_repo::path::file_path(&file)
            .map_err(|error| refused("commit.path", path, "the path of data files", error))?;
    }
    let Some(marker) = &loaded.spec.spout.marker else { return Ok(()) };
    spout_repo::path::file_path(marker).map_err(|error| refused("spout.marker", marker, "the marker's file", error))?;
    Ok(())
}

fn bad_name(loaded: &Loaded, path: &str, value: &str, what: &'static str, rule: &str) -> Error {
    Error::BadName {
        at: loaded.place(path),
        path: path.to_owned(),
        value: value.to_owned(),
        what,
        rule: rule.to_owned(),
    }
}

pub(super) fn contradiction(loaded: &Loaded, path: &str, what: impl Into<String>) -> Error {
    let (key, pipeline) = (path.to_owned(), loaded.spec.pipeline.name.clone());
    Error::Contradiction { at: loaded.place(path), key, pipeline, what: what.into() }
}

fn paths(loaded: &Loaded) -> Result<(), Error> {
    let CommitSpec { path, .. } = &loaded.spec.commit;
    if !is_template(path) {
        return Err(bad_name(loaded, "commit.path", path, "the path of data files", PATH_RULE));
    }
    if path.starts_with("/dead-letter/") {
        return Err(contradiction(
            loaded,
            "commit.path",
            "/dead-letter/ is reserved for dead letters; choose another path",
        ));
    }
    let Some(marker) = &loaded.spec.spout.marker else { return Ok(()) };
    let file = marker.trim_start_matches('/');
    if path.trim_start_matches('/') == file || file.starts_with("dead-letter/") {
        return Err(contradiction(
            loaded,
            "spout.marker",
            format!("the marker's file /{file} is also a data file; rename it"),
        ));
    }
    Ok(())
}

fn is_file(path: &str) -> bool {
    !path.is_empty() && path.len() <= 512 && path.split('/').all(is_segment)
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty() && segment != "." && segment != ".." && !segment.contains(|c: char| c.is_control() || c == '\\')
}

fn is_template(path: &str) -> bool {
    let Some(inner) = path.strip_prefix('/') else { return false };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let plain = inner.replace("{commit}", "c").replace("{part}", "p");
    !plain.contains(['{', '}']) && (plain.is_empty() || is_file(&plain))
}

fn producer(loaded: &Loaded) -> Result<(), Error> {
    let producer = &loaded.spec.producer;
    let missing = |missing: &str, advice: &str| Error::Missing {
        at: loaded.place("producer"),
        within: "`producer`".into(),
        missing: missing.into(),
        advice: advice.into(),
    };
    let sources = producer.sources();
    let source = match sources.as_slice() {
        [source] => source,
        [] => {
            return Err(missing(
                "source",
                "add one of `stream` (or Pinot's `streamConfigs`), `tcp`, `http`, `stdin`, `repo` or `subscribe`",
            ));
        }
        [first, second, ..] => {
            let (path, keys) = (format!("producer.{}", second.key()), (first.key(), second.key()));
            let what = format!(
                "a pipeline reads one source, but this one has `{}` and `{}`; keep one of them, and give the other a pipeline of its own",
                keys.0, keys.1
            );
            return Err(contradiction(loaded, &path, what));
        }
    };
    let linked = matches!(source, Source::Subscribe(subscribe) if subscribe.pipeline.is_some());
    if source.decodes() && producer.decoder.is_none() && !linked {
        return Err(missing("`decoder`", "add `decoder: {type: json}`, `{type: raw}` or `{plugin: …}`"));
    }
    if !source.decodes() && producer.decoder.is_some() {
        let what = format!(
            "`{}` delivers rows as it is set up here, so there is nothing to decode; leave `decoder` out",
            source.key()
        );
        return Err(contradiction(loaded, "producer.decoder", what));
    }
    if let Some(DecoderSpec::Native(native)) = &producer.decoder
        && let Err(reason) = native.check(&loaded.base_dir)
    {
        let setting = reason.strip_prefix("setting").and_then(|reason| reason.split('`').nth(1));
        let path = setting.map(|setting| format!("producer.decoder.{setting}")).filter(|path| loaded.says(path));
        let what = format!("the decoder {} cannot work: {reason}", native.name());
        return Err(contradiction(loaded, path.as_deref().unwrap_or("producer.decoder"), what));
    }
    if let Some((key, what)) = super::sources::problem(source) {
        return Err(contradiction(loaded, &format!("producer.{}.{key}", source.key()), what));
    }
    if let Some((path, what)) = super::csv::problem(producer) {
        return Err(contradiction(loaded, path, what));
    }
    let Some(stream) = &producer.stream else { return Ok(()) };
    let by_time = matches!(stream.start, Start::Time(_) | Start::Ago(_) | Start::Offset(_));
    if stream.consumer_type == ConsumerType::Highlevel && by_time {
        let what = "a stream read as a whole (consumerType: highlevel) can start at earliest or latest only; \
                    read it by partition (lowlevel) to start at a time or an offset";
        return Err(contradiction(loaded, "producer.stream.start", what));
    }
    Ok(())
}

/// References of plugins that are none.
fn references(loaded: &Loaded) -> Vec<Error> {
    let rule = "write the plugin's name, or name@sha256:… with its digest";
    let sound = |reference: &str| {
        let digest = reference.split_once('@').is_none_or(|(_, digest)| {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            (8..=64).contains(&hex.len()) && hex.chars().all(|c| c.is_ascii_hexdigit())
        });
        is_name(plugin_name(reference)) && digest
    };
    let wrong = plugins(&loaded.spec).into_iter().filter(|(_, reference)| !sound(reference));
    wrong.map(|(path, reference)| bad_name(loaded, &path, reference, "the name of a plugin", rule)).collect()
}

/// Compares the guarantee that the spec demands with what its source can promise.
fn guarantee(loaded: &Loaded) -> Result<(), Error> {
    let (Some(wanted), Some(source)) = (loaded.spec.guarantee, loaded.spec.producer.source()) else { return Ok(()) };
    let promise = source.promise();
    if promise.keeps(wanted) {
        Ok(())
    } else {
        let what = format!(
            "`guarantee` demands {wanted}, but the producer `{}` promises {promise}; demand less, or read a source that promises more",
            source.key()
        );
        Err(contradiction(loaded, "guarantee", what))
    }
}

fn handlers(loaded: &Loaded) -> Vec<Error> {
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for (at, node) in all_handlers(&loaded.spec.node, "node") {
        let path = format!("{at}.id");
        let id = node.id();
        wrong.extend(name(loaded, &path, id, "the id of a handler").err());
        if id == "decode" {
            wrong.push(bad_name(loaded, &path, id, "the id of a handler", "it is the decoder's; choose another"));
        }
        if seen.contains(&id) {
            let pipeline = loaded.spec.pipeline.name.clone();
            wrong.push(Error::TwiceHandler { at: loaded.place(&path), pipeline, id: id.to_owned() });
        }
        seen.push(id);
        if let Some(gap) = node.gap() {
            let at = gap.key.map_or_else(|| at.clone(), |key| format!("{at}.{key}"));
            wrong.push(contradiction(loaded, &at, format!("the handler `{id}` {}", gap.what)));
        }
    }
    wrong
}

fn positive(loaded: &Loaded) -> Vec<Error> {
    let spec = &loaded.spec;
    let (flush, limits) = (&spec.commit.flush, &spec.limits);
    let mut zero = vec![
        ("commit.flush.rows", flush.rows == 0),
        ("commit.flush.bytes", flush.bytes.0 == 0),
        ("commit.flush.time", flush.time.0.is_zero()),
        ("limits.memory", limits.memory.0 == 0),
        ("limits.call", limits.call.0.is_zero()),
        ("limits.answer", limits.answer.0 == 0),
        ("limits.handles", limits.handles == 0),
        ("limits.columns", limits.columns == 0),
        ("limits.depth", limits.depth == 0),
        ("limits.tableElements", limits.table_elements == 0),
    ];
    if let Some(stream) = &spec.producer.stream {
        zero.push(("producer.stream.fetch.messages", stream.fetch.messages == 0));
        zero.push(("producer.stream.fetch.bytes", stream.fetch.bytes.0 == 0));
        zero.push(("producer.stream.discoverEvery", stream.discover_every.0.is_zero()));
    }
    let wrong = zero.into_iter().filter(|(_, is_zero)| *is_zero).map(|(path, _)| Error::WrongValue {
        at: loaded.place(path),
        path: path.to_owned(),
        found: "0".into(),
        expected: "it must be more than 0; leave it out for the default".into(),
    });
    wrong.collect()
}

fn consumers(loaded: &Loaded) -> Vec<Error> {
    let problem = |(index, consumer): (usize, &spout_consumer::ConsumerSpec)| {
        let (key, what) = consumer.problem()?;
        Some(contradiction(loaded, &format!("consumers[{index}].{key}"), what))
    };
    loaded.spec.consumers.iter().enumerate().filter_map(problem).collect()
}

fn grants(loaded: &Loaded) -> Vec<Error> {
    let used: Vec<&str> = plugins(&loaded.spec).into_iter().map(|(_, reference)| plugin_name(reference)).collect();
    let mut wrong = Vec::new();
    for (plugin, grant) in &loaded.spec.grants {
        let path = format!("grants.{plugin}");
        if !used.contains(&plugin.as_str()) {
            let (at, pipeline): (Place, String) = (loaded.place(&path), loaded.spec.pipeline.name.clone());
            let advice = near::advice(plugin, used.iter().copied());
            wrong.push(Error::StrayGrant { at, pipeline, plugin: plugin.clone(), advice });
        }
        for inside in grant.dirs.keys() {
            let path = format!("{path}.dirs.{inside}");
            wrong.extend(name(loaded, &path, inside, "the name of a directory inside the plugin").err());
        }
    }
    wrong
}
