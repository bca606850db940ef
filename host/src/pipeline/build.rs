//! From a spec to parts that can run: plugins loaded, grants checked, handlers told apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Error, decide::Thresholds};
use crate::{
    consumer::{Consumer, ConsumerSpec, FileConsumer, PrintConsumer, Target},
    data::Marker,
    node::{self, Builder, Chain, NodeSpec, Shape, States},
    plugin::{DirGrant, GrantSpec, Metrics, Plugins, Settings, Task, check_grants},
    producer::{DecoderFactory, DecoderSpec, Discovery, SchemaPin, StreamSpec},
    spec::{ErrorsSpec, Loaded, PipelineSpec},
};

/// The parts of one pipeline. Building them reads plugins and nothing else: no source, no repo.
#[derive(Clone, Debug)]
pub struct Parts {
    pub(super) name: String,
    pub(super) spec: PipelineSpec,
    pub(super) digest: String,
    pub(super) base: PathBuf,
    pub(super) stream: StreamSpec,
    pub(super) source: Task,
    pub(super) decoder: DecoderSpec,
    pub(super) decoder_task: Option<Task>,
    pub(super) handler_tasks: BTreeMap<String, Task>,
    pub(super) digests: BTreeMap<String, String>,
    pub(super) draining: Arc<AtomicBool>,
    /// Handlers that start empty, and whether a commit since then holds their new state.
    pub(super) reset: BTreeSet<String>,
    pub(super) reset_done: Arc<AtomicBool>,
}

impl Parts {
    /// The parts of `loaded`.
    ///
    /// # Errors
    /// What the spec lacks, a plugin that cannot be loaded, a grant that is missing.
    pub async fn build(loaded: &Loaded, plugins: &Plugins) -> Result<Self, Error> {
        let spec = loaded.spec.clone();
        let mut loading = Loading::new(&spec, &loaded.base_dir, plugins);
        let stream = loading.part(spec.producer.stream.as_ref(), "producer.stream")?.clone();
        let decoder = loading.part(spec.producer.decoder.as_ref(), "producer.decoder")?.clone();
        let source = loading.task(&stream.plugin, &stream.settings).await?;
        let decoder_task = match &decoder {
            DecoderSpec::Plugin(plugin) => Some(loading.task(&plugin.plugin, &plugin.settings).await?),
            DecoderSpec::Native(_) => None,
        };
        let handler_tasks = loading.handler_tasks(&spec.node).await?;
        let (draining, digests) = (loading.draining, loading.digests);
        Ok(Self {
            name: spec.pipeline.name.clone(),
            digest: loaded.digest.clone(),
            base: loaded.base_dir.clone(),
            stream,
            source,
            decoder,
            decoder_task,
            handler_tasks,
            digests,
            draining,
            reset: BTreeSet::new(),
            reset_done: Arc::default(),
            spec,
        })
    }

    /// The same with `handlers` starting empty, whatever the last commit holds of them.
    #[must_use]
    pub fn with_reset(mut self, handlers: &[String]) -> Self {
        self.reset = handlers.iter().cloned().collect();
        self
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

    pub(super) fn discovery(&self) -> Discovery {
        Discovery::new(self.stream.clone(), self.source.clone())
    }

    pub(super) fn decoders(&self, pin: SchemaPin) -> DecoderFactory {
        DecoderFactory {
            spec: self.decoder.clone(),
            task: self.decoder_task.clone(),
            topic: self.stream.topic.clone(),
            metadata: self.stream.metadata.clone(),
            pin,
        }
    }

    /// The handlers that run in each lane: those before the first that has state.
    pub(super) async fn lane_chain(&self) -> Result<Chain, Error> {
        let (lane, _) = self.spec.node.split_at(self.meeting());
        self.chain(lane, &mut States::new()).await
    }

    /// The handlers that run where lanes meet, with the state of the last commit.
    pub(super) async fn meeting_chain(&self, states: &mut States) -> Result<Chain, Error> {
        let (_, meeting) = self.spec.node.split_at(self.meeting());
        let chain = self.chain(meeting, states).await?;
        self.builder().nothing_left(states).map_err(|source| self.not_restored(source))?;
        Ok(chain)
    }

    /// What leaves the last handler, as far as it is known before any row: errors in the spec show here.
    pub(super) async fn shape(&self, pin: &SchemaPin, meeting: &mut Chain) -> Result<Shape, Error> {
        let mut lane = self.lane_chain().await?;
        let schema = self.decoders(pin.clone()).schema().await;
        let input = Shape { schema, time: self.spec.time.clone(), ..Shape::default() };
        let refused = |source| Error::Chain { pipeline: self.name.clone(), source: Box::new(source) };
        let between = lane.shape(input).map_err(refused)?;
        meeting.shape(between).map_err(refused)
    }

    /// What leaves the decoder and then each handler, by id, as far as it is known before any row and without a repo.
    ///
    /// # Errors
    /// The first handler that such rows are not for.
    pub async fn typed(&self) -> Result<Vec<(String, Shape)>, Error> {
        let mut chain = self.chain(&self.spec.node, &mut States::new()).await?;
        let schema = self.decoders(SchemaPin::default()).schema().await;
        let input = Shape { schema, time: self.spec.time.clone(), ..Shape::default() };
        let mut all = vec![("decoder".to_owned(), input.clone())];
        let shapes = chain.shapes_of(input);
        all.extend(shapes.map_err(|source| Error::Chain { pipeline: self.name.clone(), source: Box::new(source) })?);
        Ok(all)
    }

    fn meeting(&self) -> usize {
        self.spec.node.iter().position(NodeSpec::stateful).unwrap_or(self.spec.node.len())
    }

    fn builder(&self) -> Builder {
        // A pipeline that starts again after trouble goes on with what was committed since.
        let reset = if self.reset_done.load(Ordering::Relaxed) { BTreeSet::new() } else { self.reset.clone() };
        Builder { tasks: self.handler_tasks.clone(), reset }
    }

    async fn chain(&self, nodes: &[NodeSpec], states: &mut States) -> Result<Chain, Error> {
        self.builder().chain(nodes, states).await.map_err(|source| self.not_restored(source))
    }

    fn not_restored(&self, source: node::Error) -> Error {
        Error::State { pipeline: self.name.clone(), doing: "restored", source: Box::new(source) }
    }

    /// The consumers besides the repo.
    pub(super) async fn consumers(&self, json: bool) -> Result<Vec<Box<dyn Consumer>>, Error> {
        let mut consumers: Vec<Box<dyn Consumer>> = Vec::new();
        for spec in &self.spec.consumers {
            consumers.push(match spec {
                ConsumerSpec::Print(spec) => Box::new(PrintConsumer::new(spec, &self.name, json)),
                ConsumerSpec::File(spec) => {
                    let opened = FileConsumer::open(spec, self.base.join(&spec.path)).await;
                    Box::new(
                        opened.map_err(|source| Error::Consumer {
                            pipeline: self.name.clone(),
                            source: Box::new(source),
                        })?,
                    )
                }
            });
        }
        Ok(consumers)
    }

    /// Whether nothing was ever committed, so that `start` counts.
    pub(super) fn initial(marker: &Marker) -> bool {
        marker.partitions.is_empty()
    }
}

/// Loads the plugins of one spec.
pub(super) struct Loading<'a> {
    spec: &'a PipelineSpec,
    base: &'a Path,
    plugins: &'a Plugins,
    draining: Arc<AtomicBool>,
    digests: BTreeMap<String, String>,
}

impl<'a> Loading<'a> {
    pub(super) fn new(spec: &'a PipelineSpec, base: &'a Path, plugins: &'a Plugins) -> Self {
        Self { spec, base, plugins, draining: Arc::new(AtomicBool::new(false)), digests: BTreeMap::new() }
    }

    /// The tasks of all plugin handlers, also of those within handlers.
    pub(super) async fn handler_tasks(&mut self, nodes: &[NodeSpec]) -> Result<BTreeMap<String, Task>, Error> {
        let mut tasks = BTreeMap::new();
        for plugin in nodes.iter().flat_map(NodeSpec::plugins) {
            tasks.insert(plugin.id.clone(), self.task(&plugin.plugin, &plugin.settings).await?);
        }
        Ok(tasks)
    }

    fn part<'b, T>(&self, part: Option<&'b T>, name: &str) -> Result<&'b T, Error> {
        part.ok_or_else(|| Error::Spec {
            pipeline: self.spec.pipeline.name.clone(),
            reason: format!("`{name}` is missing"),
        })
    }

    /// The plugin `name` with what the spec grants it.
    pub(super) async fn task(&mut self, name: &str, settings: &Settings) -> Result<Task, Error> {
        let pipeline = self.spec.pipeline.name.clone();
        let failed = |source| Error::Plugin { pipeline: pipeline.clone(), source: Box::new(source) };
        let plugin = self.plugins.get(name).await.map_err(failed)?;
        let grants = self.spec.grants.get(plugin.name()).map(|grant| self.absolute(grant)).unwrap_or_default();
        check_grants(&plugin, &grants).map_err(failed)?;
        self.digests.insert(plugin.name().to_owned(), plugin.digest().to_owned());
        Ok(Task {
            pipeline: pipeline.clone(),
            plugin,
            grants,
            limits: self.spec.limits.clone(),
            settings: settings.to_list(),
            draining: Arc::clone(&self.draining),
            metrics: Metrics::default(),
        })
    }

    fn absolute(&self, grant: &GrantSpec) -> GrantSpec {
        let dir = |(name, dir): (&String, &DirGrant)| {
            let (path, write) = (self.base.join(dir.path()), dir.writable());
            (name.clone(), DirGrant::Access { path, write })
        };
        GrantSpec { dirs: grant.dirs.iter().map(dir).collect() }
    }
}
