//! `spout plugin test`: tries the promises of a plugin over its author's own input.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use arrow::array::RecordBatch;
use clap::Args;
use serde::Serialize;
use spout_api::Import;
use spout_base::secret::SecretSpec;
use spout_data::Blobs;
use spout_format::Format;
use spout_pipeline::{Finding, MOST_TRIED, SpoutTrial, Trial, messages_of, settings_for, settings_of, uses};
use spout_plugin::{
    Addresses, DirGrant, EndpointGrant, EnvGrant, GrantSpec, LimitsSpec, ListenGrant, NetGrant, Offer, Plugin,
    SecretGrant, TlsFiles, TlsGrant, World, check_grants,
};
use spout_producer::Class;
use spout_spec::{Loaded, load_all, nearest};

use super::{kind::Kind, located};
use crate::{
    Global,
    error::Error,
    print::{Printer, count},
};

/// Try what a plugin promises over input of your own.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin test at-least --input rows.ndjson --settings column=size --settings least=5
  spout plugin test weblog/access --input access.log
  spout plugin test ./my.wasm --decoder --input access.log
  spout plugin test scan --decoder --input picture.raw --whole
  spout plugin test files --source --topic logs --grant logs=./logs --settings pattern='*.log'
  spout plugin test quotes --stream --net api.example.com:80 --env KEY
  spout plugin test kafka --source --endpoint broker=localhost:9093 --tls broker=ca.pem --secret password=KAFKA_PASSWORD
  spout plugin test --spec feed.yaml --commits 50 --kills 20

Everything the plugin is gets tried, or what the flags name:
  a decoder   over the lines of the input (or the whole of it): the same rows however they are cut into calls and after a
              restart; empty, huge and binary messages that do not affect their neighbours
  a handler   over the rows of the input (.ndjson, .csv, .parquet, .arrow), or over what the plugin itself decodes of it: the
              same rows and the same bytes of state however they are cut, with restarts from the state
  a source    over its own topic: the same messages at any position that it returned before, a few or many at a time,
              alone or with other partitions
  a stream    the same from its checkpoints; one that is acknowledged: half of some messages is acknowledged, and those alone are
              gone, so give it a group or a queue of its own
  a spout     or a command, as the spec runs it, on stores in memory: whole, then killed between its commits, and within them;
              each time it goes on from its marker, and at each marker there are the files of the whole run; a trusted program has
              no SPOUT_SERVER there
Whatever breaks is shown with the smallest difference that was found, and the exit code is 1.")]
pub(super) struct Test {
    /// The plugin: its name, the name of one of its offers, NAME/OFFER, or a file.
    #[arg(required_unless_present = "spec", default_value = "", hide_default_value = true)]
    plugin: String,
    /// The spec of a spout: its `transform` is tried, with its settings, grants and marker.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plugin", "kind"])]
    spec: Option<PathBuf>,
    /// Commits of a spout after which a run is over; it may end before.
    #[arg(long, value_name = "COUNT", default_value = "20", requires = "spec", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    commits: u64,
    /// How often a spout is killed between its commits, and as often within them.
    #[arg(long, value_name = "COUNT", default_value = "5", requires = "spec", value_parser = clap::value_parser!(u64).range(0..=1000))]
    kills: u64,
    #[command(flatten)]
    kinds: Kind,
    /// The input: lines for a decoder, a table for a handler.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The input is one message.
    #[arg(long)]
    whole: bool,
    /// A setting; can be repeated. Each goes to what knows it.
    #[arg(long = "settings", value_name = "KEY=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// The topic that a source reads.
    #[arg(long, default_value = "trial")]
    topic: String,
    /// A directory that the plugin may read, as NAME=DIR; can be repeated.
    #[arg(long, value_name = "NAME=DIR", value_parser = pair)]
    grant: Vec<(String, String)>,
    /// An address that the plugin may connect to, as in a spec's `net`; can be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    net: Vec<NetGrant>,
    /// An endpoint that the host connects the plugin to, as NAME=HOST:PORT; can be repeated.
    #[arg(long, value_name = "NAME=HOST:PORT", value_parser = pair)]
    endpoint: Vec<(String, String)>,
    /// The endpoint has TLS: as NAME, or as NAME=FILE with the certificates of the authorities to trust; can be repeated.
    #[arg(long, value_name = "NAME[=FILE]")]
    tls: Vec<String>,
    /// A secret that the plugin uses, as NAME=VARIABLE of this command's environment; can be repeated.
    #[arg(long, value_name = "NAME=VARIABLE", value_parser = pair)]
    secret: Vec<(String, String)>,
    /// A port of loopback that the plugin may listen at; can be repeated.
    #[arg(long, value_name = "PORT")]
    listen: Vec<u16>,
    /// An environment variable of the plugin, which it gets from this command's own; can be repeated.
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
}

/// A finding as a JSON line.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    plugin: &'a str,
    interface: &'a str,
    offer: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn usage(what: String) -> Error {
    Error::Usage { verb: "plugin test", what }
}

impl Test {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        if let Some(spec) = &self.spec {
            return Box::pin(self.spouts(spec, global, printer)).await;
        }
        let located = located::plugin(&self.plugin, global).await?;
        let (plugin, parts) = (Arc::clone(&located.plugin), located.offers().await?);
        let offers = plugin.offers(&LimitsSpec::default()).await?;
        let mut tried = uses(&plugin, &parts);
        tried.retain(|(world, _)| self.kinds.wants(*world));
        if tried.is_empty() {
            return Err(usage(format!(
                "{} is nothing of that kind that can be tried; {} is a {}; a spout or a command is tried as a spec runs it, with --spec FILE, and a transformer has its tests in its own code",
                self.plugin,
                plugin.name(),
                crate::check::joined(plugin.worlds())
            ))
            .into());
        }
        self.check_settings(&tried)?;
        let grants = self.grants()?;
        let (mut broken, mut total) = (0, 0);
        for &(world, offer) in &tried {
            let trial = self.trial(&plugin, &grants, (world, offer))?;
            let findings = match world {
                World::Decoder => trial.decoder(&self.messages()?).await,
                World::Handler => trial.handler(&self.rows(&plugin, &grants, offers).await?).await,
                World::Source => trial.source().await,
                World::StreamSource if offer.is_acked() => trial.acked().await,
                World::StreamSource => trial.stream().await,
                World::SelfDriven | World::Transformer | World::Command => continue,
            };
            total += findings.len() as u64;
            broken += findings.iter().filter(|finding| !finding.kept).count() as u64;
            print(plugin.name(), &offer.interface, &offer.name, &findings, printer)?;
        }
        verdict(broken, total, printer)
    }

    /// Tries each spout of a spec file.
    async fn spouts(&self, spec: &Path, global: &Global, printer: &mut Printer) -> Result<()> {
        let self_driven =
            |loaded: &Loaded| loaded.spec.sources().any(|(_, source)| source.spec.promise().class == Class::SelfDriven);
        let loaded: Vec<Loaded> = load_all(&[spec])?.into_iter().filter(self_driven).collect();
        if loaded.is_empty() {
            return Err(usage(format!("{} has no `transform`; try other plugins by their name", spec.display())).into());
        }
        let plugins = global.open_plugins()?;
        let (mut broken, mut total) = (0, 0);
        for loaded in loaded {
            let name = loaded.spec.pipeline.name.clone();
            let findings = SpoutTrial::new(loaded, &plugins, self.commits, self.kills).run().await?;
            total += findings.len() as u64;
            broken += findings.iter().filter(|finding| !finding.kept).count() as u64;
            print(&name, "pipeline", &name, &findings, printer)?;
        }
        verdict(broken, total, printer)
    }

    fn trial(&self, plugin: &Arc<Plugin>, grants: &GrantSpec, (world, offer): (World, &Offer)) -> Result<Trial> {
        let topic = Some(self.topic.as_str()).filter(|_| offer.interface.ends_with("consumer"));
        check_grants(plugin, (world, &offer.name), grants, (topic, None))?;
        let settings = settings_for(offer, &self.settings);
        let mut trial = Trial::new(Arc::clone(plugin), offer.name.clone(), settings, grants.clone());
        trial.topic.clone_from(&self.topic);
        Ok(trial)
    }

    /// Refuses settings that nothing of the plugin knows.
    fn check_settings(&self, tried: &[(World, &Offer)]) -> Result<(), Error> {
        let Some(known) = tried.iter().map(|(_, offer)| settings_of(offer)).collect::<Option<Vec<_>>>() else {
            return Ok(());
        };
        let known: Vec<String> = known.into_iter().flatten().collect();
        let Some((name, _)) = self.settings.iter().find(|(name, _)| !known.contains(name)) else { return Ok(()) };
        let near = nearest(name, known.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
        Err(usage(format!("{} has no setting `{name}`{}", self.plugin, near.unwrap_or_default())))
    }

    fn grants(&self) -> Result<GrantSpec, Error> {
        let secret = |name: &String| (name.clone(), EnvGrant::Secret(SecretSpec::Env(name.clone())));
        let mut grants = GrantSpec {
            net: self.net.clone(),
            listen: self.listen.iter().copied().map(ListenGrant::Port).collect(),
            env: self.env.iter().map(secret).collect(),
            ..GrantSpec::default()
        };
        for (name, dir) in &self.grant {
            let path = std::path::absolute(dir).map_err(|source| Error::ReadFile { path: dir.into(), source })?;
            grants.dirs.insert(name.clone(), DirGrant::Path(path));
        }
        for (name, address) in &self.endpoint {
            let address = address.parse().map_err(usage)?;
            grants.endpoints.insert(name.clone(), EndpointGrant { address: Addresses::One(address), tls: None });
        }
        for named in &self.tls {
            let (name, ca) = named.split_once('=').map_or((named.as_str(), None), |(name, ca)| (name, Some(ca.into())));
            let none = || usage(format!("`--tls {name}` is about no `--endpoint`"));
            let endpoint = grants.endpoints.get_mut(name).ok_or_else(none)?;
            endpoint.tls = Some(TlsGrant::Files(TlsFiles { ca, ..TlsFiles::default() }));
        }
        for (name, env) in &self.secret {
            grants.secrets.insert(name.clone(), SecretGrant::Env { env: env.clone(), reveal: false });
        }
        Ok(grants)
    }

    fn input(&self) -> Result<&PathBuf, Error> {
        self.input.as_ref().ok_or_else(|| usage("name the messages or rows to try with --input FILE".into()))
    }

    fn messages(&self) -> Result<Blobs, Error> {
        let path = self.input()?;
        let bytes = fs::read(path).map_err(|source| Error::ReadFile { path: path.clone(), source })?;
        Ok(messages_of(&bytes, self.whole))
    }

    /// The rows of a table, or those that the plugin itself decodes.
    async fn rows(&self, plugin: &Arc<Plugin>, grants: &GrantSpec, offers: &[Offer]) -> Result<RecordBatch> {
        let path = self.input()?;
        let name = path.display().to_string();
        let decoder = offers.iter().find(|offer| offer.interface == "decoder");
        if let (None, Some(decoder)) = (Format::of_path(&name), decoder) {
            let rows = self.trial(plugin, grants, (World::Decoder, decoder))?.decode(&self.messages()?).await?;
            return Ok(rows.slice(0, rows.num_rows().min(MOST_TRIED)));
        }
        let format = Format::of_path(&name).ok_or_else(|| {
            let what = format!("a handler is tried over rows, and the name of {name} is not that of a table; rename it to end in .csv, .ndjson, .jsonl, .parquet or .arrow");
            usage(what)
        })?;
        let file = fs::File::open(path).map_err(|source| Error::ReadFile { path: path.clone(), source })?;
        Ok(Import::open(file, &name, format, None)?.first(MOST_TRIED)?)
    }
}

fn verdict(broken: u64, total: u64, printer: &mut Printer) -> Result<()> {
    match broken {
        0 if printer.json() => Ok(()),
        0 => printer.line(format!("{} kept", count(total, "promise"))),
        _ => Err(Error::PromisesBroken { broken, promises: count(total, "promise") }.into()),
    }
}

fn print(plugin: &str, interface: &str, name: &str, findings: &[Finding], printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return findings
            .iter()
            .try_for_each(|finding| printer.value(&Answer { plugin, interface, offer: name, finding }));
    }
    printer.line(format!("{interface} `{name}`"))?;
    for Finding { promise, kept, seen } in findings {
        match (kept, seen.is_empty()) {
            (true, true) => printer.line(format!("  ok      {promise}"))?,
            (true, false) => printer.line(format!("  ok      {promise}: {seen}"))?,
            (false, _) => printer.line(format!("  BROKEN  {promise}: {seen}"))?,
        }
    }
    Ok(())
}
