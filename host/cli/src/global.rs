//! The options of every verb, and what they name: a store or a server, with its repos, pipelines, markers and plugins.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use spout_api::{Api, Error as ApiError, Local, Markers, Pipelines, Plugins as KeptPlugins};
use spout_base::{
    reach::Reach,
    rendezvous,
    secret::{Secret, SecretSpec},
};
use spout_client::Remote;
use spout_data::Period;
use spout_keeper::{Kept, Managed, Seeker};
use spout_plugin::{CompileLimits, Compiler, Plugins, user_cache};
use spout_repo::Store;

use crate::{COMPILES, error::Error};

/// Options of every verb.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Where the repos are: a directory, or a bucket prefix as s3://BUCKET/PREFIX, gs:// or az://.
    #[arg(long, global = true, env = "SPOUT_STORE", value_name = "URL", default_value = ".spout/store")]
    pub(crate) store: String,
    /// Ask a server (`spout serve`) at this address, as in https://HOST:1653, instead of a store.
    #[arg(long, global = true, env = "SPOUT_SERVER", value_name = "URL")]
    server: Option<String>,
    /// File with the token that the server asks for; or set `SPOUT_TOKEN` to the token itself.
    #[arg(long, global = true, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Directory of the plugins.
    #[arg(long, global = true, env = "SPOUT_PLUGINS", value_name = "DIR", default_value = "plugins")]
    pub(crate) plugins: PathBuf,
    /// Cache of compiled plugins, a directory of your own; can be deleted at any time [default: spout in `XDG_CACHE_HOME`
    /// or ~/.cache]
    #[arg(long, global = true, env = "SPOUT_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Processor time that compiling one plugin may take, in a process of its own.
    #[arg(long, global = true, env = "SPOUT_COMPILE_TIME", value_name = "TIME", default_value = "60s")]
    compile_time: Period,
    /// Print JSON, one value a line; errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log what the host does, to standard error; `SPOUT_LOG` sets a finer filter. Lines that nobody reads are left out and counted:
    /// they hold nothing up.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

impl Global {
    /// The store, which has to be there.
    pub(crate) async fn store(&self) -> Result<Store> {
        self.only_local("this command")?;
        Ok(Store::open_existing(&self.store).await?)
    }

    /// The store, which has to be there, to change it: one that is new to us is tried out first.
    pub(crate) async fn store_to_write(&self) -> Result<Store> {
        self.store().await?;
        self.store_to_make().await
    }

    /// The store, which is made where there is none.
    pub(crate) async fn store_to_make(&self) -> Result<Store> {
        self.only_local("this command")?;
        Ok(Store::open(&self.store).await?)
    }

    /// The same, by its absolute path where it is a directory: answers do not show that.
    pub(crate) async fn store_to_serve(&self) -> Result<Store> {
        self.only_local("this command")?;
        let place = Store::local(&self.store).and_then(|directory| std::path::absolute(directory).ok());
        let place = place.and_then(|directory| directory.into_os_string().into_string().ok());
        Ok(Store::open(place.as_deref().unwrap_or(&self.store)).await?)
    }

    /// The server, or the store, which has to be there.
    pub(crate) async fn api(&self) -> Result<Box<dyn Api>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Local::new(self.store().await?))),
        }
    }

    /// The server, or the store, to change it.
    pub(crate) async fn api_to_write(&self) -> Result<Box<dyn Api>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Local::new(self.store_to_write().await?))),
        }
    }

    /// The server, or the store, which is made where there is none.
    pub(crate) async fn api_to_make(&self) -> Result<Box<dyn Api>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Local::new(self.store_to_make().await?))),
        }
    }

    /// The pipelines of the server, or of the store, which has to be there.
    pub(crate) async fn pipelines(&self) -> Result<Box<dyn Pipelines>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(managed(self.store().await?)),
        }
    }

    /// The same, to change them.
    pub(crate) async fn pipelines_to_write(&self) -> Result<Box<dyn Pipelines>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(managed(self.store_to_write().await?)),
        }
    }

    /// The same of a store that is made where there is none.
    pub(crate) async fn pipelines_to_make(&self) -> Result<Box<dyn Pipelines>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(managed(self.store_to_make().await?)),
        }
    }

    /// The markers of pipelines of the server, or of the store, to move them.
    pub(crate) async fn markers_to_write(&self) -> Result<Box<dyn Markers>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Seeker::new(self.store_to_write().await?, self.open_plugins()?, &Reach::ALL))),
        }
    }

    /// The plugins that the store, or that of the server, keeps.
    pub(crate) async fn kept_plugins(&self) -> Result<Box<dyn KeptPlugins>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Kept::new(&self.store().await?, self.open_plugins()?))),
        }
    }

    /// The same, to change them.
    pub(crate) async fn kept_plugins_to_write(&self) -> Result<Box<dyn KeptPlugins>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Kept::new(&self.store_to_write().await?, self.open_plugins()?))),
        }
    }

    /// The same of a store that is made where there is none.
    pub(crate) async fn kept_plugins_to_make(&self) -> Result<Box<dyn KeptPlugins>> {
        match self.remote()? {
            Some(server) => Ok(Box::new(server)),
            None => Ok(Box::new(Kept::new(&self.store_to_make().await?, self.open_plugins()?))),
        }
    }

    /// What steers the pipeline of this name: the server, the process of this machine that runs it, or the store, which has to be
    /// there.
    pub(crate) async fn steering(&self, pipeline: &str) -> Result<Box<dyn Pipelines>> {
        match self.asked(pipeline).await? {
            Some(process) => Ok(Box::new(process)),
            None => self.pipelines_to_write().await,
        }
    }

    /// The same to look at it only.
    pub(crate) async fn looking(&self, pipeline: &str) -> Result<Box<dyn Pipelines>> {
        match self.asked(pipeline).await? {
            Some(process) => Ok(Box::new(process)),
            None => self.pipelines().await,
        }
    }

    /// What moves the markers of the pipeline that writes `output`, likewise.
    pub(crate) async fn moving(&self, output: &str) -> Result<Box<dyn Markers>> {
        let pipeline = output.split('@').next().unwrap_or(output);
        match self.asked(pipeline).await? {
            Some(process) => Ok(Box::new(process)),
            None => self.markers_to_write().await,
        }
    }

    /// The server, or the process of this machine that has the pipeline.
    async fn asked(&self, pipeline: &str) -> Result<Option<Remote>> {
        if let Some(server) = self.remote()? {
            return Ok(Some(server));
        }
        for process in self.processes() {
            // One that is gone by now runs nothing.
            let statuses = process.statuses().await.unwrap_or_default();
            if statuses.iter().any(|status| status.name == pipeline && status.condition.is_seen()) {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }

    /// The server, or the process of this machine that runs the pipeline.
    pub(crate) async fn running(&self, pipeline: &str) -> Result<Remote> {
        match self.asked(pipeline).await? {
            Some(process) => Ok(process),
            None => {
                let mut running = Vec::new();
                for process in self.processes() {
                    running.extend(process.statuses().await.unwrap_or_default().into_iter().map(|status| status.name));
                }
                let advice = match running.as_slice() {
                    [] => "start it with `spout run SPEC`, or name the server that runs it with --server".to_owned(),
                    running => format!("what runs here is {}; or name a server with --server", running.join(", ")),
                };
                let (pipeline, store) = (pipeline.to_owned(), self.store.clone());
                Err(Error::NotRunning { pipeline, store, advice }.into())
            }
        }
    }

    /// The processes of this machine that run pipelines of the store, where no server is named.
    pub(crate) fn processes(&self) -> Vec<Remote> {
        if self.server().is_some() {
            return Vec::new();
        }
        rendezvous::others(&self.store).iter().filter_map(|socket| Remote::at_socket(socket).ok()).collect()
    }

    /// Refuses what a server cannot be asked for.
    pub(crate) fn only_local(&self, what: &'static str) -> Result<(), ApiError> {
        if self.server().is_some() { Err(ApiError::OnlyLocal { what }) } else { Ok(()) }
    }

    /// The server, where one is named; an empty variable names none.
    fn server(&self) -> Option<&str> {
        self.server.as_deref().filter(|server| !server.is_empty())
    }

    /// The server, where one is named.
    pub(crate) fn server_named(&self) -> Result<Option<Remote>> {
        self.remote()
    }

    fn remote(&self) -> Result<Option<Remote>> {
        let Some(server) = self.server() else { return Ok(None) };
        Ok(Some(Remote::new(server, self.secret()?)?))
    }

    /// What the server asks for. It has no place on a command line, which everyone on the machine can read.
    fn secret(&self) -> Result<Option<Secret>, Error> {
        let spec = match &self.token {
            Some(file) => SecretSpec::File(file.clone()),
            None if std::env::var_os("SPOUT_TOKEN").is_some() => SecretSpec::Env("SPOUT_TOKEN".into()),
            None => return Ok(None),
        };
        spec.read(Path::new("")).map(Some).map_err(|why| Error::Token { why })
    }

    /// The plugins, none of which is granted what the host keeps for itself.
    pub(crate) fn open_plugins(&self) -> Result<Plugins> {
        let cache = self.cache();
        let store = Store::local(&self.store).map(|dir| ("the store", dir));
        let limits = CompileLimits { time: self.compile_time.0, ..CompileLimits::default() };
        let plugins = Plugins::open_beside(&self.plugins, cache.as_deref(), store.as_slice())?;
        Ok(plugins.compiled_by(Compiler::apart(COMPILES, limits)))
    }

    /// The same with another directory of plugins.
    pub(crate) fn with_plugins(&self, plugins: PathBuf) -> Self {
        Self { plugins, ..self.clone() }
    }

    /// The cache, where there is a place for one.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        self.cache.clone().or_else(user_cache)
    }

    /// The cache, for what a build cannot do without.
    pub(crate) fn cache_dir(&self) -> Result<PathBuf, Error> {
        self.cache().ok_or_else(|| Error::Usage {
            verb: "plugin build",
            what: "there is no home directory to keep toolchains in; name a directory with --cache".into(),
        })
    }
}

/// The pipelines of a store, to one who may have them do anything on this machine.
fn managed(store: Store) -> Box<dyn Pipelines> {
    Box::new(Managed::new(store, &Reach::ALL))
}
