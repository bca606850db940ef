//! How the pipelines of one run hang together: who subscribes to whom, who reads whose repo, and what that must not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use spout_base::scratch::Scratch;
use spout_consumer::PublishSpec;
use spout_producer::{LinkedPublisher, Source, Upstream};
use spout_spec::{Loaded, advice, all_handlers};
use spout_wire::Endpoint;
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
    waits: BTreeMap<String, Vec<String>>,
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
    _private: Arc<Scratch>,
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
    /// What it subscribes to.
    upstream: Vec<Link>,
    /// The pipelines that it waits for, through a link or by reading their repos, and what becomes of each.
    waits_for: Vec<(String, Lifecycle)>,
    /// The same pipelines, each with what becomes of those before it: who ends because of one of them is told to have failed
    /// only later, when whoever reads it may have seen its end.
    before: Vec<(String, Vec<Lifecycle>)>,
    downstream: Vec<Link>,
    lifecycle: Lifecycle,
}

impl Place {
    /// Those who subscribe to it.
    pub(super) fn downstream(&self) -> &[Link] {
        &self.downstream
    }

    /// The publisher of `pipeline`, if it subscribes to that.
    pub(super) fn publisher(&self, pipeline: &str) -> Option<LinkedPublisher> {
        self.upstream.iter().find(|link| link.from == pipeline).map(|link| LinkedPublisher {
            data: Endpoint::Ipc(link.data.clone()),
            sync: Endpoint::Ipc(link.sync.clone()),
            over: link.upstream.over.clone(),
        })
    }

    /// Its own lifecycle, which the others see.
    pub(super) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// A pipeline that it waits for and that has failed, or has to because of one before it.
    pub(super) fn failed_upstream(&self) -> Option<&str> {
        let failed = |lifecycles: &[Lifecycle]| lifecycles.iter().any(|lifecycle| *lifecycle.failed.borrow());
        self.before.iter().find(|(_, all)| failed(all)).map(|(name, _)| name.as_str())
    }

    /// Cancelled when `pipeline`, which it waits for, is over; `None` if that is not of this run.
    pub(super) fn upstream_over(&self, pipeline: &str) -> Option<CancellationToken> {
        self.waits_for.iter().find(|(name, _)| name == pipeline).map(|(_, lifecycle)| lifecycle.over.clone())
    }

    /// Whether it subscribes to another pipeline, so that nothing can come when that is over.
    pub(super) fn subscribes(&self) -> bool {
        !self.upstream.is_empty()
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
    pub fn between<'a>(all: &'a [Loaded]) -> Result<Self, Error> {
        let of = |loaded: &'a Loaded| loaded.spec.sources().map(move |(at, source)| Reads { loaded, at, source });
        let sources: Vec<Reads<'_>> = all.iter().flat_map(of).collect();
        let names: BTreeSet<&str> = all.iter().map(name).collect();
        for Reads { loaded, at, source } in &sources {
            if let Some(Upstream::Link(upstream)) = source.spec.upstream()
                && !names.contains(upstream)
            {
                let others = names.iter().copied().filter(|other| *other != name(loaded));
                return Err(Error::NoUpstream {
                    at: loaded.place(&format!("{at}.{}.pipeline", source.key)).to_string(),
                    pipeline: name(loaded).to_owned(),
                    upstream: upstream.to_owned(),
                    advice: advice(upstream, others),
                });
            }
        }
        let writes = |named: &str| {
            let loaded = all.iter().find(|loaded| name(loaded) == named)?;
            Some(loaded.spec.commit.branch.as_str())
        };
        let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Reads { loaded, source, .. } in &sources {
            if let Some(from) = upstream(source, writes) {
                edges.entry(name(loaded)).or_default().push(from);
            }
        }
        for loaded in all {
            let tables = all_handlers(&loaded.spec.node, "node").into_iter().filter_map(|(_, node)| node.table());
            for table in tables.filter(|table| !table.pinned) {
                let writer =
                    all.iter().find(|other| name(other) == table.repo && other.spec.commit.branch == table.point);
                edges.entry(name(loaded)).or_default().extend(writer.map(name));
            }
        }
        if let Some(cycle) = cycle(&edges) {
            let first = all.iter().find(|loaded| cycle.first() == Some(&name(loaded)));
            let at = first.map(|loaded| loaded.place("producer").to_string()).unwrap_or_default();
            return Err(Error::Cycle { at, cycle: cycle.join(" reads ") });
        }
        let waits = edges
            .iter()
            .map(|(to, from)| ((*to).to_owned(), from.iter().copied().map(str::to_owned).collect()))
            .collect();
        Ok(Self { waits, ..Self::connect(&names, &sources)? })
    }

    fn connect(names: &BTreeSet<&str>, sources: &[Reads<'_>]) -> Result<Self, Error> {
        let lifecycles: BTreeMap<String, Lifecycle> =
            names.iter().map(|name| ((*name).to_owned(), Lifecycle::default())).collect();
        let linked = |Reads { loaded, source, .. }: &Reads<'_>| match source.spec.upstream() {
            Some(Upstream::Link(from)) => Some((from.to_owned(), name(loaded).to_owned())),
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

    /// What becomes of a pipeline and of all those before it. There are no circles.
    fn up_to(&self, name: &str) -> Vec<Lifecycle> {
        let own = self.lifecycles.get(name).cloned();
        let before = self.waits.get(name).into_iter().flatten().flat_map(|from| self.up_to(from));
        own.into_iter().chain(before).collect()
    }

    /// Where the pipeline of this name stands.
    pub(super) fn place(&self, name: &str) -> Place {
        let waits = self.waits.get(name).into_iter().flatten();
        let before = waits.clone().map(|from| (from.clone(), self.up_to(from))).collect();
        Place {
            before,
            upstream: self.links.iter().filter(|link| link.to == name).cloned().collect(),
            waits_for: waits.filter_map(|from| Some((from.clone(), self.lifecycles.get(from)?.clone()))).collect(),
            downstream: self.links.iter().filter(|link| link.from == name).cloned().collect(),
            lifecycle: self.lifecycles.get(name).cloned().unwrap_or_default(),
        }
    }
}

/// What a producer of a pipeline reads, and where it is written.
struct Reads<'a> {
    loaded: &'a Loaded,
    at: String,
    source: Source,
}

fn name(loaded: &Loaded) -> &str {
    &loaded.spec.pipeline.name
}

/// The pipeline that a source waits for: by subscribing, or by reading the branch that it `writes`.
fn upstream<'a>(source: &'a Source, writes: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    match source.spec.upstream()? {
        Upstream::Link(pipeline) => Some(pipeline),
        Upstream::Branch(repo, branch) => (writes(repo) == Some(branch)).then_some(repo),
    }
}

/// A circle, with its first name again at the end.
fn cycle<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    /// Goes on from the end of `path` to every name that leads back to its start.
    fn goes_on<'a>(
        path: &mut Vec<&'a str>,
        seen: &mut BTreeSet<&'a str>,
        edges: &BTreeMap<&'a str, Vec<&'a str>>,
    ) -> bool {
        for next in path.last().and_then(|last| edges.get(last)).into_iter().flatten() {
            let returns = path.first() == Some(next);
            if !returns && !seen.insert(next) {
                continue;
            }
            path.push(next);
            if returns || goes_on(path, seen, edges) {
                return true;
            }
            path.pop();
        }
        false
    }
    edges.keys().find_map(|start| {
        let mut path = vec![*start];
        goes_on(&mut path, &mut BTreeSet::new(), edges).then_some(path)
    })
}

/// A directory that only this user can look into.
fn private() -> io::Result<Scratch> {
    // Socket files have short paths; some systems have long names for temporary directories.
    if std::env::temp_dir().as_os_str().len() > LONGEST / 2 {
        Scratch::within(Path::new("/tmp"))
    } else {
        Scratch::new()
    }
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
    fn a_failure_is_known_to_all_behind_it_before_those_between_are_told_to_have_failed() {
        let all = specs(&[
            ("first", SOURCE),
            ("second", "subscribe: {pipeline: first}"),
            ("third", "subscribe: {pipeline: second}"),
            ("other", SOURCE),
        ]);
        let links = Links::between(&all).unwrap();
        let place = |name| links.place(name);
        assert_eq!(place("third").failed_upstream(), None);
        place("first").lifecycle().end(true);
        assert_eq!(
            ["second", "third", "other"].map(|name| place(name).failed_upstream().map(str::to_owned)),
            [Some("first".to_owned()), Some("second".to_owned()), None]
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
        let several = "pipeline: {name: a}\nproducers:\n  - {name: x, stream: {plugin: files, topic: t}, decoder: {type: raw}}\n  \
                       - {name: y, subscribe: {pipeline: b}}\n---\npipeline: {name: b}\nproducer: {subscribe: {pipeline: a}}\n";
        let error = Links::between(&parse(several, Path::new("s.yaml"), Path::new("/")).unwrap()).unwrap_err();
        assert!(error.to_string().contains("a reads b reads a"), "{error}");
        let lookup = |at: &str| {
            format!(
                "pipeline: {{name: a}}\nproducer: {{{SOURCE}, decoder: {{type: raw}}}}\n\
                 node: [{{type: lookup, repo: b, on: key{at}}}]\n---\n\
                 pipeline: {{name: b}}\nproducer: {{repo: {{repo: a}}}}\n"
            )
        };
        let links = |at: &str| Links::between(&parse(&lookup(at), Path::new("s.yaml"), Path::new("/")).unwrap());
        let error = links("").unwrap_err();
        assert!(error.to_string().contains("a reads b reads a"), "{error}");
        // A version that is there already is waited for by nobody.
        assert!(links(", at: v1").unwrap().place("a").upstream_over("b").is_none());
        check(
            &[("a", to("a"))],
            Some("s.yaml:2: pipelines read each other in a cycle: a reads a; let one of them read something else"),
        );
        check(
            &[("a", to("c")), ("b", to("a")), ("c", to("b")), ("d", to("a"))],
            Some(
                "s.yaml:2: pipelines read each other in a cycle: a reads c reads b reads a; let one of them read something else",
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
        assert!(links.place("b").publisher("a").is_some() && links.place("a").publisher("b").is_none());
        let long = "x".repeat(63);
        let (data, sync) = sockets(Path::new("/tmp/spout-links-abcdef"), &long, &long, 7);
        assert_eq!(data.file_name().unwrap(), "xxxxxxxx_to_xxxxxxxx_7");
        assert!(sync.as_os_str().len() <= LONGEST);
    }
}
