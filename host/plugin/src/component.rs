//! One plugin: its file, its digest, and the worlds it was found to have without running it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use spout_base::bounded;
use tokio::sync::OnceCell;
use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker},
};
use wasmtime_wasi::p2::bindings::exports::wasi::cli::run;

use super::{
    Error, Manifest, Offer,
    bindings::exports::spout::plugin as exports,
    host::{self, Held},
    manifest,
    net::{Resolver, System},
    reserved::Reserved,
};

/// Files larger than this are refused before anything is compiled.
pub(super) const LARGEST: u64 = 64 << 20;

/// What a plugin can be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// A source by partition.
    Source,
    /// A source that is read as a whole.
    StreamSource,
    /// Makes rows of messages.
    Decoder,
    /// Makes rows of rows.
    Handler,
    /// Drives itself and writes its own commits.
    SelfDriven,
    /// Makes files of a file.
    Transformer,
    /// A plain command of WASI, which knows nothing of this host.
    Command,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::StreamSource => "stream source",
            Self::Decoder => "decoder",
            Self::Handler => "handler",
            Self::SelfDriven => "self-driven spout",
            Self::Transformer => "transformer",
            Self::Command => "command",
        })
    }
}

/// The interfaces that a component was found to export.
#[derive(Clone)]
pub(super) struct Interfaces {
    pub(super) about: Option<exports::about::GuestIndices>,
    pub(super) provider: Option<exports::metadata_provider::GuestIndices>,
    pub(super) partition: Option<exports::partition_consumer::GuestIndices>,
    pub(super) stream: Option<exports::stream_consumer::GuestIndices>,
    pub(super) decoder: Option<exports::decoder::GuestIndices>,
    pub(super) handler: Option<exports::handler::GuestIndices>,
    pub(super) spout: Option<exports::spout::GuestIndices>,
    pub(super) transformer: Option<exports::transformer::GuestIndices>,
    pub(super) command: Option<run::GuestIndices>,
}

/// A plugin, compiled and linked; every task opens instances of its own.
#[derive(Clone)]
pub struct Plugin {
    name: String,
    path: PathBuf,
    digest: String,
    size: u64,
    manifest: Option<Manifest>,
    worlds: Vec<World>,
    pub(super) reserved: Arc<Reserved>,
    /// Where its instances have addresses of names from.
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) pre: InstancePre<Held>,
    pub(super) interfaces: Interfaces,
    /// Once it was asked.
    pub(super) offers: Arc<OnceCell<Vec<Offer>>>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .field("worlds", &self.worlds)
            .finish_non_exhaustive()
    }
}

/// `sha256:…` of a file's content.
#[must_use]
pub fn digest(wasm: &[u8]) -> String {
    let hash: String = Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

/// The content of a plugin's file, if it is not too large to be one.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    bounded::read_regular(path, LARGEST).map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge | io::ErrorKind::Other => {
            Error::Broken { path: path.to_path_buf(), reason: source.to_string() }
        }
        _ => Error::Directory { path: path.to_path_buf(), source },
    })
}

/// Refuses what cannot be a component, before anything looks at more than its size and its first bytes.
pub(super) fn check_header(path: &Path, wasm: &[u8]) -> Result<(), Error> {
    let broken = |reason: String| Error::Broken { path: path.to_path_buf(), reason };
    if wasm.len() as u64 > LARGEST {
        return Err(broken(format!("it has more than the {LARGEST} bytes it may have")));
    }
    if wasmparser::Parser::is_core_wasm(wasm) {
        return Err(Error::NotAComponent { path: path.to_path_buf() });
    }
    if !wasmparser::Parser::is_component(wasm) {
        return Err(broken("it does not start with a WebAssembly header".into()));
    }
    Ok(())
}

impl Plugin {
    /// Links `component`, which was compiled of `wasm`, without running any of it.
    pub(super) fn link(
        (engine, component): (&Engine, &Component),
        reserved: &Arc<Reserved>,
        name: &str,
        path: &Path,
        (wasm, digest): (&[u8], String),
    ) -> Result<Self, Error> {
        let broken = |reason: String| Error::Broken { path: path.to_path_buf(), reason };
        check_version(engine, component, path)?;
        let mut linker = Linker::new(engine);
        host::link(&mut linker).map_err(|error| Error::Runtime { reason: format!("{error:#}") })?;
        let pre = linker
            .instantiate_pre(component)
            .map_err(|error| broken(format!("it imports something that this host does not provide: {error:#}")))?;
        let interfaces = probe(&pre);
        let worlds = worlds(&interfaces);
        if worlds.is_empty() {
            let (plugin, has) = (name.to_owned(), exported(engine, component));
            return Err(Error::NoInterface { plugin, has });
        }
        let (size, manifest) = (wasm.len() as u64, manifest::read(wasm));
        let (name, path, reserved) = (name.to_owned(), path.to_path_buf(), Arc::clone(reserved));
        let (offers, resolver) = (Arc::default(), Arc::new(System));
        Ok(Self { name, path, digest, size, manifest, worlds, reserved, resolver, pre, interfaces, offers })
    }

    /// Its name: the file's, without `.wasm`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `sha256:…` of its file.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Bytes of its file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it can be used as.
    #[must_use]
    pub fn worlds(&self) -> &[World] {
        &self.worlds
    }

    /// What it says about itself without running.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The error of a plugin that lacks an interface.
    pub(super) fn lacks(&self, wanted: World) -> Error {
        let has: Vec<String> = self.worlds.iter().map(ToString::to_string).collect();
        let (plugin, wanted) = (self.name.clone(), wanted.to_string());
        Error::WrongWorld { plugin, wanted, has: format!("a {}", has.join(" and a ")) }
    }
}

fn probe(pre: &InstancePre<Held>) -> Interfaces {
    Interfaces {
        about: exports::about::GuestIndices::new(pre).ok(),
        provider: exports::metadata_provider::GuestIndices::new(pre).ok(),
        partition: exports::partition_consumer::GuestIndices::new(pre).ok(),
        stream: exports::stream_consumer::GuestIndices::new(pre).ok(),
        decoder: exports::decoder::GuestIndices::new(pre).ok(),
        handler: exports::handler::GuestIndices::new(pre).ok(),
        spout: exports::spout::GuestIndices::new(pre).ok(),
        transformer: exports::transformer::GuestIndices::new(pre).ok(),
        command: run::GuestIndices::new(pre).ok(),
    }
}

fn worlds(interfaces: &Interfaces) -> Vec<World> {
    [
        (interfaces.provider.is_some() && interfaces.partition.is_some(), World::Source),
        (interfaces.stream.is_some(), World::StreamSource),
        (interfaces.decoder.is_some(), World::Decoder),
        (interfaces.handler.is_some(), World::Handler),
        (interfaces.spout.is_some(), World::SelfDriven),
        (interfaces.transformer.is_some(), World::Transformer),
        (interfaces.command.is_some(), World::Command),
    ]
    .into_iter()
    .filter_map(|(has, world)| has.then_some(world))
    .collect()
}

fn names(engine: &Engine, component: &Component) -> Vec<String> {
    let component = component.component_type();
    let imports: Vec<String> = component.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let exports = component.exports(engine).map(|(name, _)| name.to_owned());
    imports.into_iter().chain(exports).collect()
}

fn exported(engine: &Engine, component: &Component) -> String {
    let component = component.component_type();
    let names: Vec<&str> = component.exports(engine).map(|(name, _)| name).collect();
    if names.is_empty() { "no exports".into() } else { format!("the exports {}", names.join(", ")) }
}

/// Refuses interfaces of ours in a version that this host does not speak.
fn check_version(engine: &Engine, component: &Component, path: &Path) -> Result<(), Error> {
    let foreign = names(engine, component).into_iter().find(|name| {
        name.starts_with("spout:plugin/") && !name.split('@').nth(1).is_some_and(|version| version.starts_with("0.1."))
    });
    match foreign {
        Some(name) => {
            let version = name.split('@').nth(1).unwrap_or("without a version");
            Err(Error::WrongVersion { path: path.to_path_buf(), found: format!("spout:plugin@{version}") })
        }
        None => Ok(()),
    }
}
