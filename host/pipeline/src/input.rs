//! One producer of a pipeline as parts that can run: its source, its decoder, and the plugins of both.

use std::path::PathBuf;

use spout_base::secret::Secret;
use spout_plugin::Task;
use spout_producer::{
    DecoderFactory, DecoderSpec, NativeDecoder, Output, Producer, ProducerSpec, SchemaPin, Source, SourceContext,
    Standings, Upstream,
};
use spout_repo::Store;
use spout_spec::PluginUse;
use tokio_util::sync::CancellationToken;

use super::{Error, build::Loading, decide::Until, link::Place, run::RunConfig};

/// The parts of one producer.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// Its name; empty where there is one only.
    pub(super) name: String,
    pub(super) source: Source,
    source_task: Option<Task>,
    secret: Option<Secret>,
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
        let decoder = if source.spec.decodes() {
            let decoder = spec.decoder.clone().or_else(|| source.spec.usual_decoder());
            loading.part(decoder, &format!("{at}.decoder"))?
        } else {
            // It will get no message.
            NativeDecoder::RAW.into()
        };
        let source_task = match source.spec.plugin() {
            Some(plugin) => Some(loading.task(PluginUse::source(plugin, &spec.grants)).await?),
            None => None,
        };
        let secret = match source.spec.secret() {
            Some((key, secret)) => {
                let key = format!("{at}.{}.{key}", source.key);
                let failed = |reason| Error::Producer {
                    pipeline: pipeline.clone(),
                    source: Box::new(spout_producer::Error::Secret { key, reason }),
                };
                Some(secret.read(loading.base()).map_err(failed)?)
            }
            None => None,
        };
        let decoder_task = match &decoder {
            DecoderSpec::Plugin(plugin) => Some(loading.task(PluginUse::decoder(plugin, &spec.grants)).await?),
            DecoderSpec::Native(_) => None,
        };
        let (name, base) = (spec.name.clone(), loading.base().to_owned());
        Ok(Self { name, source, source_task, secret, decoder, decoder_task, pipeline, base })
    }

    /// What reads the source.
    pub(super) fn producer(
        &self,
        place: &Place,
        store: &Store,
        config: &RunConfig,
        output: &Output,
        standings: Standings,
    ) -> Result<Box<dyn Producer>, Error> {
        let upstream = self.source.spec.upstream();
        let context = SourceContext {
            pipeline: &self.pipeline,
            base: &self.base,
            decoder: &self.decoder,
            task: self.source_task.as_ref(),
            secret: self.secret.as_ref(),
            store,
            standings,
            publisher: match upstream {
                Some(Upstream::Link(pipeline)) => place.publisher(pipeline),
                _ => None,
            },
            writer_over: match upstream {
                Some(Upstream::Branch(repo, _)) => place.upstream_over(repo),
                _ => None,
            },
            until_ended: config.until == Until::Ended,
            output,
            access: config.access.as_ref(),
        };
        self.source
            .spec
            .producer(context)
            .map_err(|source| Error::Producer { pipeline: self.pipeline.clone(), source: Box::new(source) })
    }

    /// The same with plugins that are told by `draining` when the pipeline wants to stop.
    pub(super) fn told_by(&mut self, draining: &CancellationToken) {
        for task in [&mut self.source_task, &mut self.decoder_task].into_iter().flatten() {
            task.draining.clone_from(draining);
        }
    }

    pub(super) fn decoders(&self, pin: SchemaPin) -> DecoderFactory {
        DecoderFactory {
            spec: self.decoder.clone(),
            task: self.decoder_task.clone(),
            topic: self.source.topic().to_owned(),
            metadata: self.source.spec.metadata().to_vec(),
            decodes: self.source.spec.decodes(),
            pin,
            base: self.base.clone(),
            schemas: Default::default(),
        }
    }
}
