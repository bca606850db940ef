//! One producer of a pipeline as parts that can run: its source, its decoder, and the plugins of both.

use std::{path::PathBuf, sync::Arc};

use spout_base::secret::Secret;
use spout_plugin::Task;
use spout_producer::{
    ArrowSpec, DecoderFactory, DecoderSpec, HttpProducer, HttpSpec, NativeDecoder, Producer, RepoProducer, Runs,
    SchemaPin, Source, StdinProducer, StreamProducer, SubscribeProducer, TcpProducer,
};
use spout_repo::Store;
use spout_spec::{PluginUse, ProducerSpec};

use super::{Error, build::Loading, decide::Until, link::Place, run::RunConfig};

/// The parts of one producer.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// Its name; empty where there is one only.
    pub(super) name: String,
    pub(super) source: Source,
    source_task: Option<Task>,
    token: Option<Secret>,
    pub(super) decoder: DecoderSpec,
    decoder_task: Option<Task>,
    pipeline: String,
    base: PathBuf,
}

impl Input {
    /// The parts of the producer that is written at `at`.
    pub(super) async fn build(loading: &mut Loading<'_>, at: &str, spec: &ProducerSpec) -> Result<Self, Error> {
        let pipeline = loading.pipeline().to_owned();
        let source = loading.part(spec.source(), at)?;
        let decoder = if source.decodes() {
            loading.part(spec.decoder.clone().or_else(|| linked(&source)), &format!("{at}.decoder"))?
        } else {
            // It will meet no message.
            DecoderSpec::Native(NativeDecoder::Raw)
        };
        let source_task = match &source {
            Source::Stream(stream) => Some(loading.task(PluginUse::stream(stream, &spec.grants)).await?),
            Source::Tcp(_) | Source::Http(_) | Source::Stdin(_) | Source::Repo(_) | Source::Subscribe(_) => None,
        };
        let token = match &source {
            Source::Http(HttpSpec { token: Some(token), .. }) => {
                let failed = |reason| Error::Producer {
                    pipeline: pipeline.clone(),
                    source: Box::new(spout_producer::Error::Secret { key: format!("{at}.http.token"), reason }),
                };
                Some(token.read(loading.base()).map_err(failed)?)
            }
            _ => None,
        };
        let decoder_task = match &decoder {
            DecoderSpec::Plugin(plugin) => Some(loading.task(PluginUse::decoder(plugin, &spec.grants)).await?),
            DecoderSpec::Native(_) => None,
        };
        let (name, base) = (spec.name.clone(), loading.base().to_owned());
        Ok(Self { name, source, source_task, token, decoder, decoder_task, pipeline, base })
    }

    /// What reads the source.
    pub(super) fn producer(
        &self,
        place: &Place,
        store: &Store,
        config: &RunConfig,
    ) -> Result<Box<dyn Producer>, Error> {
        let pipeline = &self.pipeline;
        Ok(match &self.source {
            Source::Stream(spec) => {
                let task = self.source_task.clone().ok_or_else(|| Error::Task { pipeline: pipeline.clone() })?;
                Box::new(StreamProducer::new(spec.clone(), task))
            }
            Source::Tcp(spec) => Box::new(TcpProducer::new(spec.clone(), pipeline, &self.decoder)),
            Source::Http(spec) => {
                Box::new(HttpProducer::new(spec.clone(), pipeline, self.token.as_ref(), self.decoder.clone()))
            }
            Source::Stdin(spec) => Box::new(StdinProducer::new(spec.clone(), &self.decoder)),
            Source::Subscribe(spec) => {
                let publisher = spec.pipeline.as_deref().and_then(|pipeline| place.publisher(pipeline));
                Box::new(SubscribeProducer::new(spec, &self.base, publisher))
            }
            Source::Repo(spec) => {
                let upstream = place.upstream_over(&spec.repo);
                let runs: Runs = Arc::new(move || upstream.as_ref().is_some_and(|over| !over.is_cancelled()));
                let ends = config.until == Until::Ended;
                Box::new(RepoProducer::new(spec.clone(), store.clone(), runs, ends))
            }
        })
    }

    pub(super) fn decoders(&self, pin: SchemaPin) -> DecoderFactory {
        DecoderFactory {
            spec: self.decoder.clone(),
            task: self.decoder_task.clone(),
            topic: self.source.topic().to_owned(),
            metadata: self.source.metadata().to_vec(),
            decodes: self.source.decodes(),
            pin,
            base: self.base.clone(),
        }
    }
}

/// The decoder of what another pipeline publishes, where the spec names none.
fn linked(source: &Source) -> Option<DecoderSpec> {
    let linked = matches!(source, Source::Subscribe(spec) if spec.pipeline.is_some());
    linked.then(|| DecoderSpec::Native(NativeDecoder::Arrow(ArrowSpec::default())))
}
