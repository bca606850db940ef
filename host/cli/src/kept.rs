//! Plugins that a store keeps by digest: what the verbs `put`, `list` and `delete` do with them.

use std::path::Path;

use anyhow::Result;
use spout_api::{KeptPlugin, PluginPut};
use spout_base::bounded;

use super::{
    Global,
    error::Error,
    print::{Printer, Table, count, size},
};

/// Larger ones would not be loaded.
const LARGEST: u64 = 64 << 20;

pub(super) async fn put(name: &str, file: &Path, global: &Global, printer: &mut Printer) -> Result<()> {
    let unreadable = |source| Error::ReadFile { path: file.to_owned(), source };
    let wasm = bounded::read_regular(file, LARGEST).map_err(unreadable)?;
    let put = global.kept_plugins_to_make().await?.put_plugin(name, wasm).await?;
    if printer.json() {
        return printer.value(&put);
    }
    let PluginPut { name, digest, size: bytes, worlds } = put;
    printer.line(format!("put {name} ({}, {}), {}@{digest} in a spec", worlds.join(", "), size(bytes), name))
}

pub(super) async fn list(global: &Global, printer: &mut Printer) -> Result<()> {
    let table = |all: &[KeptPlugin]| {
        Table::new(
            &["name", "stands for", ">versions", ">size"],
            all.iter().map(|kept| {
                let bytes = kept.versions.iter().map(|version| version.size).sum();
                let newest = kept.newest.clone().unwrap_or_else(|| "-".to_owned());
                vec![kept.name.clone(), newest, kept.versions.len().to_string(), size(bytes)]
            }),
        )
    };
    let none = "no plugins in this store; `spout put plugin NAME -f FILE` puts one, and a server keeps those that its pipelines run";
    printer.list(&global.kept_plugins().await?.plugins().await?, table, none)
}

pub(super) async fn delete(name: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    let gone = global.kept_plugins_to_write().await?.delete_plugin(name).await?;
    if printer.json() {
        return printer.value(&gone);
    }
    printer.line(format!("deleted plugin {} ({})", gone.name, count(gone.versions.len() as u64, "version")))
}
