//! `spout plugin pack`: puts a manifest into a component that no SDK made.

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::Args;
use spout_plugin::{Asks, Manifest, with_manifest};

use super::located;
use crate::{Global, error::Error, print::Printer};

/// Put a manifest into a component that was built without an SDK.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin pack my.wasm --name web-log --version 1.2.0
  spout plugin pack my.wasm --name web-log --ask events -o plugins/web-log.wasm
  spout plugin pack my.wasm --name quotes --ask-net api.example.com:443 --ask-env TOKEN

A manifest says what a plugin is called and what it asks for, readable without running it. It becomes the last
section of the file, in place of one that this command has put there before. `spout plugin build` does this for all languages.")]
pub(super) struct Pack {
    /// The component.
    file: PathBuf,
    /// Name of the plugin.
    #[arg(long)]
    name: String,
    /// Its version.
    #[arg(long = "version", value_name = "VERSION", default_value = "0.1.0")]
    plugin_version: String,
    /// A directory that a spec must grant; can be repeated.
    #[arg(long, value_name = "DIR")]
    ask: Vec<String>,
    /// An address that a spec must grant; `*` for one that only the user knows; can be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    ask_net: Vec<String>,
    /// An endpoint that a spec must grant, by its name; can be repeated.
    #[arg(long, value_name = "NAME")]
    ask_endpoint: Vec<String>,
    /// A secret that a spec must grant, by its name; can be repeated.
    #[arg(long, value_name = "NAME")]
    ask_secret: Vec<String>,
    /// A port to listen at that a spec must grant; can be repeated.
    #[arg(long, value_name = "PORT")]
    ask_listen: Vec<u16>,
    /// An environment variable that a spec must grant; can be repeated.
    #[arg(long, value_name = "NAME")]
    ask_env: Vec<String>,
    /// Where to write it. Default: the file itself.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Pack {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let wasm = fs::read(&self.file).map_err(|source| Error::ReadFile { path: self.file.clone(), source })?;
        let asks = Asks {
            dirs: self.ask.clone(),
            net: self.ask_net.clone(),
            endpoints: self.ask_endpoint.clone(),
            secrets: self.ask_secret.clone(),
            listen: self.ask_listen.clone(),
            env: self.ask_env.clone(),
        };
        let (name, version) = (self.name.clone(), self.plugin_version.clone());
        let manifest = Manifest { name, version, asks, ..Manifest::default() };
        let packed = with_manifest(&wasm, &manifest, &self.file)?;
        let output = self.output.as_ref().unwrap_or(&self.file);
        crate::get::save(output, &packed)?;
        // What was written is a plugin, or it is said here why not.
        let plugin = located::plugin(&output.display().to_string(), global).await?.plugin;
        if printer.json() {
            return printer
                .value(&serde_json::json!({"file": output, "digest": plugin.digest(), "manifest": manifest}));
        }
        printer.line(format!("{}: {} {}", output.display(), manifest.name, manifest.version))
    }
}
