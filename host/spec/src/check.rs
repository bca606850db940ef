//! What can be said about specs without running anything: names, paths, thresholds, contradictions.

use std::collections::BTreeMap;

use spout_node::NodeSpec;
use spout_plugin::PluginRef;

use super::{
    CommitSpec, Loaded, PipelineSpec,
    error::{Error, Place},
    evolve, near, plugins, producers, test_spec,
};

pub(super) const NAME_RULE: &str =
    "use letters, digits, `-`, `_` and `.`, at most 63, starting with a letter or a digit";
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
    wrong.extend(producers::problems(loaded));
    wrong.extend(service(loaded));
    wrong.extend(references(loaded));
    wrong.extend(handlers(loaded));
    wrong.extend(positive(loaded));
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
    let mut taken: BTreeMap<&str, (&Loaded, String)> = BTreeMap::new();
    for (loaded, (at, source)) in
        all.iter().flat_map(|loaded| loaded.spec.sources().map(move |source| (loaded, source)))
    {
        let Some(exclusive) = source.spec.exclusive() else { continue };
        let at = PipelineSpec::written_at(&at, source.key);
        if let Some((first, place)) = taken.get(exclusive) {
            let what = format!("{} already reads {exclusive}, and there is only one", first.place(place));
            wrong.push(contradiction(loaded, &at, what));
        } else {
            taken.insert(exclusive, (loaded, at));
        }
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

pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

pub(super) fn name(loaded: &Loaded, path: &str, value: &str, what: &'static str) -> Result<(), Error> {
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

pub(super) fn bad_name(loaded: &Loaded, path: &str, value: &str, what: &'static str, rule: &str) -> Error {
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

/// References of plugins that are none.
fn references(loaded: &Loaded) -> Vec<Error> {
    let rule = "write the plugin's name, name/offer if it offers several, or name@sha256:… with its digest";
    let sound = |reference: &str| {
        let PluginRef { plugin, offer, digest, .. } = PluginRef::parse(reference);
        let digest = digest.is_none_or(|digest| {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            (8..=64).contains(&hex.len()) && hex.chars().all(|c| c.is_ascii_hexdigit())
        });
        is_name(plugin) && offer.is_none_or(is_name) && digest
    };
    let wrong = plugins(&loaded.spec).into_iter().filter(|(_, used)| !sound(used.reference));
    let bad = |path: &str, reference| bad_name(loaded, path, reference, "the name of a plugin", rule);
    wrong.map(|(path, used)| bad(&format!("{path}.plugin"), used.reference)).collect()
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
    let zero = [
        ("commit.flush.rows", flush.rows == 0),
        ("commit.flush.bytes", flush.bytes.0 == 0),
        ("commit.flush.time", flush.time.0.is_zero()),
        ("limits.memory", limits.memory.0 == 0),
        ("limits.call", limits.call.0.is_zero()),
        ("limits.answer", limits.answer.0 == 0),
        ("limits.handles", limits.handles == 0),
        ("limits.totalMemory", limits.total_memory.is_some_and(|total| total.0 == 0)),
        ("limits.processors", limits.processors == Some(0)),
        ("limits.files", limits.files == Some(0)),
        ("limits.disk", limits.disk.0 == 0),
        ("limits.partitions", limits.partitions == 0),
        ("limits.columns", limits.columns == 0),
        ("limits.depth", limits.depth == 0),
        ("limits.tableElements", limits.table_elements == 0),
    ];
    let wrong = zero.into_iter().filter(|(_, is_zero)| *is_zero).map(|(path, _)| Error::WrongValue {
        at: loaded.place(path),
        path: path.to_owned(),
        found: "0".into(),
        expected: "it must be more than 0; leave it out for the default".into(),
    });
    wrong.collect()
}

/// What keeps `spout.service` from reaching a plugin.
fn service(loaded: &Loaded) -> Option<Error> {
    let service = loaded.spec.spout.service.as_ref()?;
    if let Some((key, what)) = service.problem() {
        return Some(contradiction(loaded, &format!("spout.service.{key}"), what));
    }
    let plugins = loaded.spec.sources().filter(|(_, source)| source.spec.plugin().is_some()).count();
    let what = match plugins {
        0 => {
            "`spout.service` has no plugin that its connections could reach; name one as `transform: {plugin: …}` or `producer: {stream: {plugin: …}}`"
        }
        1 => return None,
        _ => {
            "several producers read a plugin, and connections of `spout.service` can reach only one; put the others into pipelines of their own"
        }
    };
    Some(contradiction(loaded, "spout.service", what))
}

fn consumers(loaded: &Loaded) -> Vec<Error> {
    let problem = |(index, consumer): (usize, &spout_consumer::ConsumerSpec)| {
        let (key, what) = consumer.problem()?;
        Some(contradiction(loaded, &format!("consumers[{index}].{key}"), what))
    };
    loaded.spec.consumers.iter().enumerate().filter_map(problem).collect()
}

fn grants(loaded: &Loaded) -> Vec<Error> {
    let of = |within: &str| -> Vec<&str> {
        let used = plugins(&loaded.spec).into_iter().filter(|(at, _)| at.starts_with(within));
        used.map(|(_, used)| PluginRef::parse(used.reference).plugin).collect()
    };
    let own =
        loaded.spec.producers().map(|(at, producer)| (format!("{at}.grants"), of(&format!("{at}.")), &producer.grants));
    let all: Vec<_> = std::iter::once(("grants".to_owned(), of(""), &loaded.spec.grants)).chain(own).collect();
    let mut wrong = Vec::new();
    let granted = all
        .iter()
        .flat_map(|(within, used, grants)| grants.iter().map(move |(plugin, grant)| (within, used, plugin, grant)));
    for (within, used, plugin, grant) in granted {
        let path = format!("{within}.{plugin}");
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
