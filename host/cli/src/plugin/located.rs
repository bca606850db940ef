//! A plugin that is named, as in a spec, or as a file anywhere.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use spout_plugin::{LimitsSpec, Offer, Plugin, PluginRef};

use crate::Global;

/// A plugin, and which of its offers is meant: all of that name, or every one.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) plugin: Arc<Plugin>,
    pub(super) part: Option<String>,
}

impl Located {
    /// The offers that are meant.
    pub(super) async fn offers(&self) -> Result<Vec<&Offer>, spout_plugin::Error> {
        self.plugin.parts(self.part.as_deref(), &LimitsSpec::default()).await
    }
}

/// The plugin `named`: a name in the plugins directory, or a path that ends in `.wasm`; or one of the things it offers,
/// `weblog/access`.
///
/// # Errors
/// If there is none, or it cannot be loaded.
pub(super) async fn plugin(named: &str, global: &Global) -> Result<Located> {
    let path = Path::new(named);
    let (plugins, name, part) = match (path.extension(), path.file_stem().and_then(|stem| stem.to_str())) {
        (Some(extension), Some(stem)) if extension == "wasm" => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let elsewhere = global.with_plugins(dir.to_owned());
            (elsewhere.open_plugins()?, stem.to_owned(), None)
        }
        _ => (global.open_plugins()?, named.to_owned(), PluginRef::parse(named).offer.map(str::to_owned)),
    };
    Ok(Located { plugin: plugins.get(&name).await?, part })
}
