//! From a spec to parts that can run: plugins loaded, grants checked, handlers told apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use spout_consumer::{Consumer, ConsumerContext, PublishConsumer, Target};
use spout_data::{Marker, PartitionId};
use spout_format::Format;
use spout_node::{Builder, Chain, NodeSpec, Shape, States, Tables};
use spout_plugin::{EnvGrant, Exposed, Metrics, PluginRef, Plugins, Quotas, Task, World};
use spout_producer::{Output, Producer, Producers, Service, ServiceSpec, Standings};
use spout_repo::{Differences, Store};
use spout_spec::{ErrorsSpec, Loaded, PipelineSpec, PluginUse, Publish, SpoutSpec, all_handlers};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Figures, Links, PluginMetrics, columns::Columns, decide::Thresholds, input::Input, keyed::Handlers,
    link::Place, run::RunConfig, settings, tables::RepoTables, taps::Taps,
};

/// The parts of one pipeline. Building them reads plugins and nothing else: no source, no repo.
#[derive(Clone, Debug)]
pub struct Parts {
    pub(super) name: String,
    pub(super) spec: PipelineSpec,
    pub(super) digest: String,
    /// The spec as it was written.
    pub(super) text: String,
    pub(super) base: PathBuf,
    /// Its producers, in the order of the spec.
    pub(super) inputs: Vec<Input>,
    pub(super) handler_tasks: BTreeMap<String, Task>,
    /// What handlers look in; nothing is known of them before it runs.
    pub(super) tables: Tables,
    pub(super) digests: BTreeMap<String, String>,
    /// What each plugin reports about itself.
    metrics: BTreeMap<String, Metrics>,
    pub(super) draining: CancellationToken,
    /// The plugin's port that connections of the service are led to.
    pub(super) exposed: Option<Exposed>,
    /// Where it stands between the other pipelines of the run.
    pub(super) place: Place,
    /// Handlers that start empty, and whether a commit since then holds their new state.
    pub(super) reset: BTreeSet<String>,
    pub(super) reset_done: Arc<AtomicBool>,
    /// Whether its branch begins anew when it starts next.
    pub(super) reprocess: Arc<AtomicBool>,
    /// How its partitions stand while it runs.
    pub(super) standings: Standings,
    /// What its parts have done since it was built.
    pub(super) figures: Figures,
    /// Where its rows can be looked at while it runs.
    pub(super) taps: Taps,
}

impl Parts {
    /// The parts of `loaded`, which runs beside the others that `links` is about.
    ///
    /// # Errors
    /// What the spec lacks, a plugin that cannot be loaded or take its settings, a grant that is missing.
    pub async fn build(loaded: &Loaded, plugins: &Plugins, links: &Links) -> Result<Self, Error> {
        let spec = loaded.spec.clone();
        plugins.prepare(spout_spec::plugins(&spec).iter().map(|(_, used)| used.reference)).await;
        let mut loading = Loading::new(&spec, &loaded.base_dir, plugins);
        let mut inputs = Vec::new();
        for (at, producer) in spec.producers() {
            inputs.push(Input::build(&mut loading, &at, producer).await?);
        }
        if let Some((key, secret)) = spec.spout.service.as_ref().and_then(ServiceSpec::secret) {
            // It is read anew where the service opens.
            secret.read(&loaded.base_dir).map_err(|reason| Error::Producer {
                pipeline: spec.pipeline.name.clone(),
                source: Box::new(spout_producer::Error::Secret { key: key.into(), reason }),
            })?;
        }
        let handler_tasks = loading.handler_tasks(&spec.node).await?;
        settings::check(loaded, plugins).await?;
        let Loading { draining, digests, metrics, quotas, exposed, .. } = loading;
        let memory = spec.limits.together();
        let plugins = quotas.into_iter().map(|(name, quotas)| (name, (quotas, memory))).collect();
        Ok(Self {
            figures: Figures::new(&spec.node, meeting(&spec.node), plugins),
            name: spec.pipeline.name.clone(),
            digest: loaded.digest.clone(),
            text: loaded.text.clone(),
            base: loaded.base_dir.clone(),
            inputs,
            handler_tasks,
            tables: Tables::default(),
            digests,
            metrics,
            draining,
            exposed,
            place: links.place(&spec.pipeline.name),
            reset: BTreeSet::new(),
            reset_done: Arc::default(),
            reprocess: Arc::default(),
            standings: Standings::default(),
            taps: Taps::of(&spec),
            spec,
        })
    }

    /// The same with `handlers` starting empty, whatever the last commit holds of them.
    #[must_use]
    pub fn with_reset(mut self, handlers: &[String]) -> Self {
        self.reset = handlers.iter().cloned().collect();
        self
    }

    /// The same with the tables of `store`, as they are now.
    #[must_use]
    pub fn with_tables_of(mut self, store: &Store) -> Self {
        self.tables = Tables::new(Arc::new(RepoTables::lenient(store)));
        self
    }

    /// The same for a run on `store`, which has the tables to itself.
    pub(super) fn running(&self, store: &Store, config: &RunConfig) -> Self {
        let tables = RepoTables::new(store, &self.place, &config.stop);
        Self { tables: Tables::new(Arc::new(tables)), ..self.clone() }
    }

    /// The same for another run: its plugins are told by `draining` that it wants to stop, and not by what told them before.
    pub(super) fn told_by(&self, draining: CancellationToken) -> Self {
        let mut parts = self.clone();
        parts.inputs.iter_mut().for_each(|input| input.told_by(&draining));
        parts.handler_tasks.values_mut().for_each(|task| task.draining.clone_from(&draining));
        Self { draining, ..parts }
    }

    /// How its partitions stand while it runs.
    #[must_use]
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// What its parts have done since it was built, and do now.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Where its rows can be looked at while it runs.
    #[must_use]
    pub fn taps(&self) -> &Taps {
        &self.taps
    }

    /// Name of the pipeline.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Digests of the plugins it uses, by name.
    #[must_use]
    pub fn digests(&self) -> &BTreeMap<String, String> {
        &self.digests
    }

    pub(super) fn thresholds(&self) -> Thresholds {
        let flush = &self.spec.commit.flush;
        Thresholds { rows: flush.rows, bytes: flush.bytes.0, time: flush.time.0 }
    }

    /// What can be done where everything read so far is committed and the end is waited for.
    pub(super) fn how_to_end(&self) -> String {
        let each: BTreeSet<String> = self.inputs.iter().map(|input| input.source.how_to_end()).collect();
        each.into_iter().collect::<Vec<_>>().join("; ")
    }

    pub(super) fn errors(&self) -> &ErrorsSpec {
        &self.spec.errors
    }

    pub(super) fn target(&self) -> Target {
        Target {
            branch: self.spec.commit.branch.clone(),
            path: self.spec.commit.path.clone(),
            format: self.spec.commit.format,
            overwrite: self.spec.spout.overwrite,
        }
    }

    /// What reads the sources; `marker` says by what number commits know each, where there are several.
    pub(super) fn producer(&self, store: &Store, config: &RunConfig, marker: &Marker) -> Result<Reading, Error> {
        let names: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        let replays = self.inputs.iter().any(|input| input.source.spec.replays());
        let numbers = if replays {
            (0..names.len()).map(PartitionId::replays).collect()
        } else {
            let numbers = spout_producer::numbers(&names, marker);
            numbers.map_err(|reason| Error::Spec { pipeline: self.name.clone(), reason })?
        };
        let output = self.output();
        let mut all = BTreeMap::new();
        for (input, &number) in self.inputs.iter().zip(&numbers) {
            let standings = self.standings.of_producer(number);
            all.insert(number, input.producer(&self.place, store, config, &output, standings)?);
        }
        let several = names != [""];
        let producer = match all.pop_first() {
            Some((_, only)) if !several && !replays => only,
            first => Box::new(Producers::new(first.into_iter().chain(all).collect())),
        };
        let named = numbers.iter().zip(&names).filter(|_| several);
        Ok(Reading {
            producer,
            names: named.map(|(&number, &name)| (number, name.to_owned())).collect(),
            indices: numbers.iter().enumerate().map(|(index, &number)| (number, index)).collect(),
        })
    }

    /// Where it commits, for sources that make commits of their own.
    pub(super) fn output(&self) -> Output {
        let SpoutSpec { overwrite, marker, on_exit, .. } = self.spec.spout.clone();
        let on_failed_file = self.spec.errors.file;
        Output { branch: self.spec.commit.branch.clone(), overwrite, marker, on_exit, on_failed_file }
    }

    /// Opens the service, if it is one; it takes no more connections once `drain` is cancelled.
    pub(super) async fn service(&self, drain: &CancellationToken) -> Result<Option<Service>, Error> {
        let (Some(spec), Some(exposed)) = (&self.spec.spout.service, &self.exposed) else { return Ok(None) };
        let opened = spec.open(&self.name, &self.base, exposed.clone(), drain).await;
        opened.map(Some).map_err(|source| Error::Producer { pipeline: self.name.clone(), source: Box::new(source) })
    }

    /// The handlers that run in each lane: those before the first that has state.
    pub(super) async fn lane_chain(&self) -> Result<Chain, Error> {
        let (lane, _) = self.spec.node.split_at(meeting(&self.spec.node));
        let chain = self.chain(lane, &mut States::new()).await?.watched(self.taps.watcher(), 0, true);
        Ok(chain.counted_by(self.figures.tallies(true)))
    }

    /// Whether nothing is left to do where lanes meet but to write files.
    pub(super) fn ends_in_lanes(&self) -> bool {
        meeting(&self.spec.node) == self.spec.node.len() && self.spec.consumers.is_empty()
    }

    /// The handlers that run where lanes meet, with the state of the last commit.
    pub(super) async fn meeting_chain(&self, states: &mut States) -> Result<Chain, Error> {
        let (lane, meeting) = self.spec.node.split_at(meeting(&self.spec.node));
        let chain = self.chain(meeting, states).await?.watched(self.taps.watcher(), lane.len(), false);
        self.builder().nothing_left(states).map_err(|source| self.not_restored(source))?;
        Ok(chain.counted_by(self.figures.tallies(false)))
    }

    /// The handlers that run where lanes meet.
    pub(super) fn meeting_nodes(&self) -> &[NodeSpec] {
        self.spec.node.get(meeting(&self.spec.node)..).unwrap_or_default()
    }

    /// What leaves the last handler, as far as it is known before any row; errors in the spec and in tables show here.
    pub(super) async fn shape(&self, columns: &Columns, meeting: &mut Handlers) -> Result<Shape, Error> {
        let refused = |source| Error::Chain { pipeline: self.name.clone(), source: Box::new(source) };
        let shape = meeting.shape(self.between(columns).await?).await.map_err(refused)?;
        self.tables.load().await.map_err(|source| self.no_table(source))?;
        Ok(shape)
    }

    /// What reaches the handlers where lanes meet.
    pub(super) async fn between(&self, columns: &Columns) -> Result<Shape, Error> {
        let mut lane = self.lane_chain().await?;
        let input = self.input(columns).await?;
        let refused = |source| Error::Chain { pipeline: self.name.clone(), source: Box::new(source) };
        // What cannot be read is refused before the first row, also where no column is known.
        let handlers = all_handlers(&self.spec.node, "node");
        if let Some((_, error)) = handlers.into_iter().flat_map(|(_, node)| spout_node::problems(node, None)).next() {
            return Err(refused(error));
        }
        lane.prepare(&input).await.map_err(refused)?;
        lane.shape(input).map_err(refused)
    }

    /// The plugins of `loaded` that cannot be loaded or lack a grant, by their key of the spec.
    pub async fn lacks(loaded: &Loaded, plugins: &Plugins) -> Vec<(String, Error)> {
        plugins.prepare(spout_spec::plugins(&loaded.spec).iter().map(|(_, used)| used.reference)).await;
        let mut loading = Loading::new(&loaded.spec, &loaded.base_dir, plugins);
        let mut lacks: Vec<(String, Error)> = Vec::new();
        for (path, used) in spout_spec::plugins(&loaded.spec) {
            if let Err(error) = loading.task(used).await
                && lacks.iter().all(|(_, known)| known.to_string() != error.to_string())
            {
                let image = format!("{path}.image");
                // As Pachyderm's specs name what runs.
                let key = if loaded.says(&image) { image } else { format!("{path}.plugin") };
                lacks.push((key, error));
            }
        }
        lacks
    }

    /// How the Delta table of rows of this shape will differ from them; nothing where there is none, or where the columns
    /// are not known yet.
    ///
    /// # Errors
    /// If the files of the commit cannot hold a column.
    pub fn differences(&self, shape: &Shape) -> Result<Differences, Error> {
        let Some(schema) = &shape.schema else { return Ok(Differences::default()) };
        let commit = &self.spec.commit;
        let refused = |source: spout_format::Error| Error::Consumer {
            pipeline: self.name.clone(),
            source: Box::new(spout_consumer::Error::Repo(Box::new(source.into()))),
        };
        spout_format::storable(commit.format, schema).map_err(refused)?;
        Ok(match (commit.format, commit.publish) {
            (Format::Parquet, Publish::Delta) => spout_repo::differences(schema),
            _ => Differences::default(),
        })
    }

    /// What reaches the first handler.
    pub(super) async fn input(&self, columns: &Columns) -> Result<Shape, Error> {
        let schema = columns.schema().await.map_err(|source| self.refused(source))?;
        Ok(Shape { schema, time: self.spec.time.clone(), ..Shape::default() })
    }

    fn refused(&self, source: spout_producer::Error) -> Error {
        Error::Producer { pipeline: self.name.clone(), source: Box::new(source) }
    }

    pub(super) fn builder(&self) -> Builder {
        // A pipeline that starts again after trouble goes on with what was committed since.
        let reset = if self.reset_done.load(Ordering::Relaxed) { BTreeSet::new() } else { self.reset.clone() };
        Builder { tasks: self.handler_tasks.clone(), tables: self.tables.clone(), reset }
    }

    pub(super) async fn chain(&self, nodes: &[NodeSpec], states: &mut States) -> Result<Chain, Error> {
        self.builder().chain(nodes, states).await.map_err(|source| match source {
            spout_node::Error::NoTable { .. } | spout_node::Error::Table { .. } => self.no_table(source),
            spout_node::Error::Spec { .. } => Error::Chain { pipeline: self.name.clone(), source: Box::new(source) },
            source => self.not_restored(source),
        })
    }

    pub(super) fn no_table(&self, source: spout_node::Error) -> Error {
        Error::Table { pipeline: self.name.clone(), source: Box::new(source) }
    }

    pub(super) fn not_restored(&self, source: spout_node::Error) -> Error {
        Error::State { pipeline: self.name.clone(), doing: "restored", source: Box::new(source) }
    }

    /// The consumers besides the repo: those of the spec, and one for each pipeline that subscribes to this one.
    pub(super) async fn consumers(
        &self,
        json: bool,
        stop: &CancellationToken,
    ) -> Result<Vec<Box<dyn Consumer>>, spout_consumer::Error> {
        let around = ConsumerContext { pipeline: self.name.clone(), base: self.base.clone(), json, stop: stop.clone() };
        let mut consumers = Vec::new();
        for spec in &self.spec.consumers {
            consumers.push(spec.open(&around).await?);
        }
        for link in self.place.downstream() {
            let publish = PublishConsumer::open(&link.publish(), &around, Some(link.gone())).await?;
            consumers.push(Box::new(publish) as Box<dyn Consumer>);
        }
        Ok(consumers)
    }

    /// What the plugins have reported about themselves, but for those that have reported nothing.
    pub(super) fn metrics(&self) -> PluginMetrics {
        let values = self.metrics.iter().map(|(plugin, metrics)| (plugin.clone(), metrics.values()));
        values.filter(|(_, values)| !values.is_empty()).collect()
    }

    /// Whether nothing was ever committed, so that `start` counts.
    pub(super) fn initial(marker: &Marker) -> bool {
        marker.partitions.is_empty()
    }
}

/// How many handlers run in each lane: those before the first that has state.
fn meeting(nodes: &[NodeSpec]) -> usize {
    nodes.iter().position(NodeSpec::stateful).unwrap_or(nodes.len())
}

/// What reads the sources of a pipeline.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) producer: Box<dyn Producer>,
    /// Name of each producer by number; none where there is one only.
    pub(super) names: BTreeMap<u16, String>,
    /// Which of the spec each number is.
    pub(super) indices: BTreeMap<u16, usize>,
}

/// Loads the plugins of one spec.
pub(super) struct Loading<'a> {
    spec: &'a PipelineSpec,
    base: &'a Path,
    plugins: &'a Plugins,
    draining: CancellationToken,
    digests: BTreeMap<String, String>,
    metrics: BTreeMap<String, Metrics>,
    /// What each plugin has used up.
    quotas: BTreeMap<String, Quotas>,
    exposed: Option<Exposed>,
}

impl<'a> Loading<'a> {
    pub(super) fn new(spec: &'a PipelineSpec, base: &'a Path, plugins: &'a Plugins) -> Self {
        let (draining, digests, metrics) = (CancellationToken::new(), BTreeMap::new(), BTreeMap::new());
        let quotas = BTreeMap::new();
        let exposed = spec.spout.service.as_ref().map(|service| Exposed::new(service.internal_port));
        Self { spec, base, plugins, draining, digests, metrics, quotas, exposed }
    }

    /// The tasks of all plugin handlers, also of those within handlers.
    pub(super) async fn handler_tasks(&mut self, nodes: &[NodeSpec]) -> Result<BTreeMap<String, Task>, Error> {
        let mut tasks = BTreeMap::new();
        for plugin in nodes.iter().flat_map(NodeSpec::plugins) {
            tasks.insert(plugin.id.clone(), self.task(PluginUse::handler(plugin)).await?);
        }
        Ok(tasks)
    }

    pub(super) fn pipeline(&self) -> &str {
        &self.spec.pipeline.name
    }

    pub(super) fn base(&self) -> &Path {
        self.base
    }

    pub(super) fn part<T>(&self, part: Option<T>, name: &str) -> Result<T, Error> {
        part.ok_or_else(|| Error::Spec {
            pipeline: self.spec.pipeline.name.clone(),
            reason: format!("`{name}` is missing"),
        })
    }

    /// The plugin and which of its offers are meant, with what the producer grants it, or else the pipeline.
    pub(super) async fn task(&mut self, used: PluginUse<'_>) -> Result<Task, Error> {
        let PluginUse { reference, world, settings, topic, grants: own, env, acked: _ } = used;
        let pipeline = self.spec.pipeline.name.clone();
        let failed = |source| Error::Plugin { pipeline: pipeline.clone(), source: Box::new(source) };
        let plugin = self.plugins.get(reference).await.map_err(failed)?;
        let PluginRef { offer, label, .. } = PluginRef::parse(reference);
        let offer = plugin.offer(world, offer, &self.spec.limits).await.map_err(failed)?;
        let grant = own.and_then(|own| own.get(plugin.name())).or_else(|| self.spec.grants.get(plugin.name()));
        let mut grants = grant.map(|grant| grant.absolute(self.base)).unwrap_or_default();
        for (name, value) in env.into_iter().flatten() {
            grants.env.entry(name.clone()).or_insert_with(|| EnvGrant::Text(value.clone()));
        }
        let is_source = matches!(world, World::Source | World::StreamSource | World::SelfDriven | World::Command);
        let exposed = self.exposed.clone().filter(|_| is_source);
        self.digests.insert(plugin.name().to_owned(), plugin.digest().to_owned());
        let quotas = self.quotas.entry(plugin.name().to_owned()).or_default().clone();
        let task = Task {
            pipeline: pipeline.clone(),
            plugin,
            offer,
            grants,
            exposed,
            limits: self.spec.limits.clone(),
            quotas,
            settings: settings.to_list(),
            draining: self.draining.clone(),
            metrics: self.metrics.entry(label.to_owned()).or_default().clone(),
        };
        task.check_grants(world, topic).await.map_err(failed)?;
        Ok(task)
    }
}
