//! Everything that is wrong with specs, each with its place.

use std::{fs, path::PathBuf};

use anyhow::Result;
use spout_node::{NodeSpec, Shape};
use spout_pipeline::{Links, Parts, misfits};
use spout_plugin::{PluginRef, Plugins};
use spout_repo::{Differences, Store};
use spout_spec::{Loaded, PluginUse, all_handlers};

use super::{
    Global,
    check::PlannedPlugin,
    report::{Report, Reported},
};

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Finding {
    error: anyhow::Error,
    file: Option<PathBuf>,
    line: Option<usize>,
    key: Option<String>,
    /// A plugin crashed: what runs may try it again.
    crash: bool,
}

impl Finding {
    /// Whether a plugin crashed, which is of its pipeline alone.
    pub(super) fn is_crash(&self) -> bool {
        self.crash
    }

    /// Its code, if it has one.
    pub(super) fn code(&self) -> Option<&'static str> {
        self.report()?.code()
    }

    /// What it says, in one line; nothing where only nobody reads any more.
    pub(super) fn text(&self) -> Option<String> {
        Some(self.report()?.line())
    }

    /// An error that says where it is, if it is anywhere.
    pub(super) fn of(error: anyhow::Error) -> Self {
        Self { error, file: None, line: None, key: None, crash: false }
    }

    /// What is wrong at `key` of a spec.
    fn at(loaded: &Loaded, key: &str, error: impl Into<anyhow::Error>) -> Self {
        let place = loaded.place(key);
        let error: anyhow::Error = error.into();
        let said = format!("{place}: `{key}`: {error}");
        Self {
            error: error.context(said),
            line: (place.line > 0).then_some(place.line),
            file: Some(place.file),
            key: Some(key.to_owned()),
            crash: false,
        }
    }

    fn report(&self) -> Option<Report> {
        let report = Report::of(&self.error)?;
        Some(report.at(self.file.clone(), self.line, self.key.clone()))
    }
}

impl From<spout_spec::Error> for Finding {
    fn from(error: spout_spec::Error) -> Self {
        let (file, key) = (error.file().map(PathBuf::from), error.key());
        let line = error.place().map(|place| place.line).filter(|line| *line > 0);
        Self { error: error.into(), file, line, key, crash: false }
    }
}

/// Prints all that is wrong, and fails if anything is.
///
/// # Errors
/// That there were findings, which have been said.
pub(super) fn all(findings: &[Finding], json: bool) -> Result<()> {
    let reports: Vec<Report> = findings.iter().filter_map(Finding::report).collect();
    reports.iter().for_each(|report| report.say(json));
    match reports.iter().map(Report::exit).max() {
        None => Ok(()),
        Some(exit) => Err(Reported(exit).into()),
    }
}

/// Whether something of `wrong` is within the document of `loaded`, so that it cannot be built.
fn broken(loaded: &Loaded, all: &[Loaded], wrong: &[spout_spec::Error]) -> bool {
    let others = all.iter().filter(|other| other.path == loaded.path).map(|other| other.line);
    let end = others.filter(|line| *line > loaded.line).min().unwrap_or(usize::MAX);
    let within = |place: &spout_spec::Place| place.file == loaded.path && (loaded.line..end).contains(&place.line);
    wrong.iter().filter_map(spout_spec::Error::place).any(within)
}

/// What was found out about one pipeline.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    pub(super) plugins: Vec<PlannedPlugin>,
    /// What leaves the decoder and each handler; none if it cannot run.
    pub(super) typed: Option<Vec<(String, Shape)>>,
    /// How its Delta table will differ from its rows.
    pub(super) differences: Differences,
    /// What can run, if it can.
    pub(super) parts: Option<Parts>,
}

/// Looks at each of specs that were read, with what was wrong with them and others, as `check` and `run` do before anything starts;
/// what is wrong comes by itself.
pub(super) async fn examine_all(
    specs: Vec<Loaded>,
    wrong: Vec<spout_spec::Error>,
    global: &Global,
) -> (Vec<(Loaded, Examined)>, Vec<Finding>) {
    let broken: Vec<bool> = specs.iter().map(|loaded| broken(loaded, &specs, &wrong)).collect();
    let mut findings: Vec<Finding> = wrong.into_iter().map(Finding::from).collect();
    let plugins = global.open_plugins().map_err(|error| findings.push(Finding::of(error))).ok();
    let links = match Links::between(&specs) {
        Ok(links) => Some(links),
        Err(error) => {
            // Of specs that could not be read it is not known what they publish.
            if findings.is_empty() {
                findings.push(Finding::of(error.into()));
            }
            None
        }
    };
    // One that is not there yet has no tables to look in.
    let store = global.store().await.ok();
    let mut all = Vec::with_capacity(specs.len());
    for (loaded, broken) in specs.into_iter().zip(broken) {
        let links = links.as_ref().filter(|_| !broken);
        let mut examined = examine(&loaded, plugins.as_ref(), links, store.as_ref()).await;
        findings.append(&mut examined.findings);
        all.push((loaded, examined));
    }
    (all, findings)
}

/// Looks at everything that can be looked at without running: plugins, grants, settings, expressions. Without `links` it cannot be
/// built, and expressions are only read; without `store` nothing is known of the tables that handlers look in.
pub(super) async fn examine(
    loaded: &Loaded,
    plugins: Option<&Plugins>,
    links: Option<&Links>,
    store: Option<&Store>,
) -> Examined {
    let mut examined = Examined::default();
    if let Some(plugins) = plugins {
        for (key, error) in Parts::lacks(loaded, plugins).await {
            let key = granted(&error).unwrap_or(key);
            examined.findings.push(Finding::at(loaded, &key, error));
        }
        examined.findings.extend(directories(loaded));
        for (path, used) in spout_spec::plugins(&loaded.spec) {
            examined.part(loaded, plugins, &path, used).await;
        }
    }
    let built = match (plugins, links) {
        (Some(plugins), Some(links)) if examined.findings.is_empty() => {
            let built = Parts::build(loaded, plugins, links).await.map(|built| match store {
                Some(store) => built.with_tables_of(store),
                None => built,
            });
            built.map_err(|error| examined.findings.push(Finding::of(error.into()))).ok()
        }
        _ => None,
    };
    let (typed, refused) = match &built {
        None => (Vec::new(), None),
        Some(built) => match Box::pin(built.typed(store)).await {
            Ok(typed) => typed,
            Err(error) => {
                let crash = error.is_crash_at_start();
                examined.findings.push(Finding { crash, ..Finding::of(error.into()) });
                (Vec::new(), None)
            }
        },
    };
    let wrong = expressions(loaded, &typed);
    // What a handler says of its rows is mostly about the expressions that are named already.
    let named = |key: &str| wrong.iter().any(|(at, _)| at.starts_with(&format!("{key}.")));
    let refused = refused.map(|(number, error)| (format!("node[{number}]"), error)).filter(|(key, _)| !named(key));
    let sound = built.is_some() && wrong.is_empty() && refused.is_none();
    for (key, error) in wrong.into_iter().chain(refused) {
        examined.findings.push(Finding::at(loaded, &key, error));
    }
    if let (true, Some(built), Some((_, last))) = (sound, &built, typed.last()) {
        match built.differences(last) {
            Ok(differences) => examined.differences = differences,
            Err(error) => examined.findings.push(Finding::of(error.into())),
        }
    }
    let sound = sound && examined.findings.is_empty();
    examined.typed = sound.then_some(typed);
    let may_run = examined.findings.iter().all(Finding::is_crash);
    examined.parts = built.filter(|_| sound || may_run);
    examined
}

/// Everything that is wrong with the expressions of all handlers, by key; `typed` is what leaves the decoder and then each handler,
/// as far as it is known.
fn expressions(loaded: &Loaded, typed: &[(String, Shape)]) -> Vec<(String, spout_node::Error)> {
    let input = |path: &str| {
        // Only the handlers of the pipeline itself: what is within others is given rows by these.
        let number = path.strip_prefix("node[")?.strip_suffix(']')?.parse::<usize>().ok()?;
        typed.get(number)?.1.schema.as_ref()
    };
    let wrong = |(path, node): (String, &NodeSpec)| {
        let problems = spout_node::problems(node, input(&path));
        problems.into_iter().map(move |(key, error)| (format!("{path}.{key}"), error)).collect::<Vec<_>>()
    };
    all_handlers(&loaded.spec.node, "node").into_iter().flat_map(wrong).collect()
}

impl Examined {
    /// Looks at one use of a plugin; that it cannot be loaded, or is no such thing, has been said.
    async fn part(&mut self, loaded: &Loaded, plugins: &Plugins, path: &str, used: PluginUse<'_>) {
        let Ok(plugin) = plugins.get(used.reference).await else { return };
        let offer = PluginRef::parse(used.reference).offer;
        let Ok(offer) = plugin.offer(used.world, offer, &loaded.spec.limits).await else { return };
        let needs = plugin.manifest().map(|about| about.needs(used.world.interface(), &offer, used.topic));
        let asks: Vec<String> = needs.unwrap_or_default().lines().into_iter().map(|(what, _)| what).collect();
        match misfits(loaded, plugins, path, used).await {
            Ok(wrong) => self.findings.extend(wrong.into_iter().map(Finding::from)),
            Err(error) => self.findings.push(Finding::at(loaded, &format!("{path}.plugin"), error)),
        }
        let name = plugin.name().to_owned();
        match self.plugins.iter_mut().find(|known| known.name == name) {
            Some(known) => {
                let new: Vec<String> = asks.into_iter().filter(|ask| !known.asks.contains(ask)).collect();
                known.asks.extend(new);
            }
            None => {
                let (digest, worlds) = (plugin.digest().to_owned(), plugin.worlds().to_vec());
                self.plugins.push(PlannedPlugin { name, digest, worlds, asks });
            }
        }
    }
}

/// The grant that an error is about, if it is about one that is there.
fn granted(error: &spout_pipeline::Error) -> Option<String> {
    match error {
        spout_pipeline::Error::Plugin { source, .. } => match source.as_ref() {
            spout_plugin::Error::Reserved { plugin, name, .. } => Some(format!("grants.{plugin}.dirs.{name}")),
            _ => None,
        },
        _ => None,
    }
}

/// Granted directories that are not there; a run would find out when the plugin opens them.
fn directories(loaded: &Loaded) -> Vec<Finding> {
    let mut wrong = Vec::new();
    for (plugin, grant) in &loaded.spec.grants {
        for (inside, dir) in &grant.dirs {
            let path = loaded.resolve(dir.path());
            let Err(reason) = fs::read_dir(&path) else { continue };
            let (plugin, name, reason) = (plugin.clone(), inside.clone(), reason.to_string());
            let key = format!("grants.{plugin}.dirs.{inside}");
            wrong.push(Finding::at(loaded, &key, spout_plugin::Error::Grant { plugin, name, path, reason }));
        }
    }
    wrong
}
