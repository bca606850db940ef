//! A plugin that is named, as in a spec, or as a file anywhere.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use spout_plugin::Plugin;

use crate::Global;

/// The plugin `named`: a name in the plugins directory, or a path that ends in `.wasm`.
///
/// # Errors
/// If there is none, or it cannot be loaded.
pub(super) async fn plugin(named: &str, global: &Global) -> Result<Arc<Plugin>> {
    let path = Path::new(named);
    let (plugins, name) = match (path.extension(), path.file_stem().and_then(|stem| stem.to_str())) {
        (Some(extension), Some(stem)) if extension == "wasm" => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let elsewhere = Global { plugins: dir.to_owned(), ..global.clone() };
            (elsewhere.open_plugins()?, stem.to_owned())
        }
        _ => (global.open_plugins()?, named.to_owned()),
    };
    Ok(plugins.get(&name).await?)
}
