//! How the pipelines of one run hang together: who subscribes to whom, who reads whose repo, and what that must not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use spout_consumer::PublishSpec;
use spout_producer::{LinkedPublisher, Source};
use spout_spec::{Loaded, advice};
use spout_wire::Endpoint;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Error;

/// Longest path of a socket file that every system takes.
const LONGEST: usize = 100;

/// The links between the pipelines of one run.
#[derive(Debug, Default)]
pub struct Links {
    links: Vec<Link>,
    lifecycles: BTreeMap<String, Lifecycle>,
    /// Who waits for whom, by name.
    waits: BTreeMap<String, String>,
}

/// One pipeline subscribes to another.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) from: String,
    to: String,
    data: PathBuf,
    sync: PathBuf,
    /// Of the publishing pipeline, and of the subscribing one.
    upstream: Lifecycle,
    downstream: Lifecycle,
    _private: Arc<TempDir>,
}

/// What has become of a pipeline.
#[derive(Clone, Debug)]
pub(super) struct Lifecycle {
    over: CancellationToken,
    failed: watch::Sender<bool>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { over: CancellationToken::new(), failed: watch::Sender::new(false) }
    }
}

impl Lifecycle {
    /// It will not come again in this run.
    pub(super) fn end(&self, failed: bool) {
        self.failed.send_replace(failed);
        self.over.cancel();
    }
}

/// Where one pipeline stands between the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    upstream: Option<Link>,
    /// The pipeline that it waits for, through a link or by reading its repo, and what becomes of that.
    waits_for: Option<(String, Lifecycle)>,
    downstream: Vec<Link>,
    lifecycle: Lifecycle,
}

impl Place {
    /// Those who subscribe to it.
    pub(super) fn downstream(&self) -> &[Link] {
        &self.downstream
    }

    /// What it subscribes to.
    pub(super) fn publisher(&self) -> Option<LinkedPublisher> {
        self.upstream.as_ref().map(|link| LinkedPublisher {
            data: Endpoint::Ipc(link.data.clone()),
            sync: Endpoint::Ipc(link.sync.clone()),
            over: link.upstream.over.clone(),
        })
    }

    /// Its own lifecycle, which the others see.
    pub(super) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// The pipeline that it waits for, if that has failed.
    pub(super) fn failed_upstream(&self) -> Option<&str> {
        self.waits_for.as_ref().filter(|(_, lifecycle)| *lifecycle.failed.borrow()).map(|(name, _)| name.as_str())
    }

    /// Cancelled when the pipeline that it waits for is over; `None` if none of this run is.
    pub(super) fn upstream_over(&self) -> Option<CancellationToken> {
        self.waits_for.as_ref().map(|(_, lifecycle)| lifecycle.over.clone())
    }

    /// Whether it subscribes to another pipeline, so that nothing can come when that is over.
    pub(super) fn subscribes(&self) -> bool {
        self.upstream.is_some()
    }
}

impl Link {
    /// What the publishing pipeline consumes into.
    pub(super) fn publish(&self) -> PublishSpec {
        PublishSpec::linked(&self.data, &self.sync)
    }

    /// Cancelled when nobody will ever subscribe again.
    pub(super) fn gone(&self) -> CancellationToken {
        self.downstream.over.clone()
    }
}

impl Links {
    /// The links between these pipelines, which are about to run together.
    ///
    /// # Errors
    /// One subscribes to a pipeline that is not among them, or they wait for each other in a circle; or there is no room for
    /// their sockets.
    pub fn between(all: &[Loaded]) -> Result<Self, Error> {
        let sources: Vec<(&Loaded, Source)> =
            all.iter().filter_map(|loaded| Some((loaded, loaded.spec.producer.source()?))).collect();
        let names: BTreeSet<&str> = all.iter().map(name).collect();
        for (loaded, source) in &sources {
            if let Source::Subscribe(spec) = source
                && let Some(upstream) = &spec.pipeline
                && !names.contains(upstream.as_str())
            {
                let others = names.iter().copied().filter(|other| *other != name(loaded));
                return Err(Error::NoUpstream {
                    at: loaded.place("producer.subscribe.pipeline").to_string(),
                    pipeline: name(loaded).to_owned(),
                    upstream: upstream.clone(),
                    advice: advice(upstream, others),
                });
            }
        }
        let writes = |named: &str| {
            let loaded = all.iter().find(|loaded| name(loaded) == named)?;
            Some(loaded.spec.commit.branch.as_str())
        };
        let edges: BTreeMap<&str, &str> =
            sources.iter().filter_map(|(loaded, source)| Some((name(loaded), upstream(source, writes)?))).collect();
        if let Some(cycle) = cycle(&edges) {
            let first = all.iter().find(|loaded| cycle.first() == Some(&name(loaded)));
            let at = first.map(|loaded| loaded.place("producer").to_string()).unwrap_or_default();
            return Err(Error::Cycle { at, cycle: cycle.join(" reads ") });
        }
        let waits = edges.iter().map(|(to, from)| ((*to).to_owned(), (*from).to_owned())).collect();
        Ok(Self { waits, ..Self::connect(&names, &sources)? })
    }

    fn connect(names: &BTreeSet<&str>, sources: &[(&Loaded, Source)]) -> Result<Self, Error> {
        let lifecycles: BTreeMap<String, Lifecycle> =
            names.iter().map(|name| ((*name).to_owned(), Lifecycle::default())).collect();
        let linked = |(loaded, source): &(&Loaded, Source)| match source {
            Source::Subscribe(spec) => Some((spec.pipeline.clone()?, name(loaded).to_owned())),
            _ => None,
        };
        let pairs: Vec<(String, String)> = sources.iter().filter_map(linked).collect();
        if pairs.is_empty() {
            return Ok(Self { lifecycles, ..Self::default() });
        }
        let private = Arc::new(private().map_err(|source| Error::Sockets { source })?);
        let mut links = Vec::with_capacity(pairs.len());
        for (index, (from, to)) in pairs.into_iter().enumerate() {
            let (data, sync) = sockets(private.path(), &from, &to, index);
            let lifecycle = |name: &str| lifecycles.get(name).cloned().unwrap_or_default();
            let (upstream, downstream) = (lifecycle(&from), lifecycle(&to));
            links.push(Link { from, to, data, sync, upstream, downstream, _private: Arc::clone(&private) });
        }
        Ok(Self { links, lifecycles, ..Self::default() })
    }

    /// Where the pipeline of this name stands.
    pub(super) fn place(&self, name: &str) -> Place {
        Place {
            upstream: self.links.iter().find(|link| link.to == name).cloned(),
            waits_for: self.waits.get(name).and_then(|from| Some((from.clone(), self.lifecycles.get(from)?.clone()))),
            downstream: self.links.iter().filter(|link| link.from == name).cloned().collect(),
            lifecycle: self.lifecycles.get(name).cloned().unwrap_or_default(),
        }
    }
}

fn name(loaded: &Loaded) -> &str {
    &loaded.spec.pipeline.name
}

/// The pipeline that a source waits for: by subscribing, or by reading the branch that it `writes`.
fn upstream<'a>(source: &'a Source, writes: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    match source {
        Source::Subscribe(spec) => spec.pipeline.as_deref(),
        Source::Repo(spec) => (writes(&spec.repo) == Some(spec.branch.as_str())).then_some(spec.repo.as_str()),
        Source::Stream(_) | Source::Tcp(_) | Source::Http(_) | Source::Stdin(_) => None,
    }
}

/// A circle, with its first name again at the end. Each pipeline reads at most one other.
fn cycle<'a>(edges: &BTreeMap<&'a str, &'a str>) -> Option<Vec<&'a str>> {
    for start in edges.keys() {
        let mut path = vec![*start];
        while let Some(next) = path.last().and_then(|last| edges.get(last)) {
            if next == start {
                path.push(start);
                return Some(path);
            }
            if path.contains(next) {
                break;
            }
            path.push(next);
        }
    }
    None
}

/// A directory that only this user can look into.
fn private() -> io::Result<TempDir> {
    let named = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("spout-links-");
        builder
    };
    // Socket files have short paths; some systems have long names for temporary directories.
    if std::env::temp_dir().as_os_str().len() > LONGEST / 2 { named().tempdir_in("/tmp") } else { named().tempdir() }
}

/// `from_to_to` and `from_to_to_sync`, shorter where that would be too long.
fn sockets(directory: &Path, from: &str, to: &str, index: usize) -> (PathBuf, PathBuf) {
    let path = |stem: &str| (directory.join(stem), directory.join(format!("{stem}_sync")));
    let whole = path(&format!("{from}_to_{to}"));
    if whole.1.as_os_str().len() <= LONGEST {
        return whole;
    }
    let short = |name: &str| name.chars().take(8).collect::<String>();
    path(&format!("{}_to_{}_{index}", short(from), short(to)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spout_spec::parse;

    fn specs(links: &[(&str, &str)]) -> Vec<Loaded> {
        let spec = |(name, producer): &(&str, &str)| {
            format!("pipeline: {{name: {name}}}\nproducer:\n  {producer}\n  decoder: {{type: raw}}\n")
        };
        let text: Vec<String> = links.iter().map(spec).collect();
        parse(&text.join("---\n"), Path::new("s.yaml"), Path::new("/")).unwrap()
    }

    const SOURCE: &str = "stream: {plugin: files, topic: t}";

    #[test]
    fn pipelines_that_are_not_there_are_refused_with_the_nearest_name() {
        let all = specs(&[("events", SOURCE), ("b", "subscribe: {pipeline: event}")]);
        let error = Links::between(&all).unwrap_err();
        assert_eq!(
            error.to_string(),
            "s.yaml:8: pipeline `b` subscribes to `event`, which is not in this run; did you mean `events`?"
        );
    }

    #[test]
    fn circles_are_refused_by_name() {
        let check = |links: &[(&str, &str)], expected: Option<&str>| {
            let said = Links::between(&specs(links)).err().map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected);
        };
        let to = |name: &'static str| match name {
            "a" => "subscribe: {pipeline: a}",
            "b" => "subscribe: {pipeline: b}",
            _ => "subscribe: {pipeline: c}",
        };
        check(&[("a", SOURCE), ("b", to("a")), ("c", to("a")), ("d", to("b"))], None);
        check(
            &[("a", to("a"))],
            Some("s.yaml:2: pipelines read each other in a circle: a reads a; let one of them read something else"),
        );
        check(
            &[("a", to("c")), ("b", to("a")), ("c", to("b")), ("d", to("a"))],
            Some(
                "s.yaml:2: pipelines read each other in a circle: a reads c reads b reads a; let one of them read something else",
            ),
        );
    }

    #[test]
    fn sockets_are_named_by_both_and_never_too_long() {
        let all = specs(&[("a", SOURCE), ("b", "subscribe: {pipeline: a}"), ("c", "subscribe: {pipeline: a}")]);
        let links = Links::between(&all).unwrap();
        let place = links.place("a");
        let names: Vec<_> =
            place.downstream().iter().map(|link| link.data.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a_to_b", "a_to_c"]);
        assert!(links.place("b").publisher().is_some() && links.place("a").publisher().is_none());
        let long = "x".repeat(63);
        let (data, sync) = sockets(Path::new("/tmp/spout-links-abcdef"), &long, &long, 7);
        assert_eq!(data.file_name().unwrap(), "xxxxxxxx_to_xxxxxxxx_7");
        assert!(sync.as_os_str().len() <= LONGEST);
    }
}
