//! What a guest can reach of the host: log, config, metrics, control, its input batch, and WASI with what is granted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use wasmtime::{
    ResourceLimiter,
    component::{HasSelf, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, filesystem::Descriptor};

use super::{
    DirGrant, Error, LimitsSpec, Metrics,
    batch::{self, StoredBatch},
    bindings::spout::plugin as wit,
    command::{self, Outputs},
    files::{Room, Threads, Writing},
    grants::{check_reserved, environment, secrets},
    kernels::Kernels,
    keyed::View,
    log::{LastWords, Level, Lines, Log},
    metrics::{WAITING, waiting},
    net::{self, Net},
    pfs::Drive,
    quotas::{Of, Shares},
    secrets::{Masks, Secrets},
    task::Task,
};

/// Bytes of the host that an element of a table takes.
const ELEMENT: usize = 16;

/// Which limit a guest ran into; decides how the error reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Memory,
    Table,
    /// What all instances have together.
    Together(Of),
    Time,
    /// Bytes of one answer.
    Answer,
    /// Bytes of keyed state.
    State,
    /// Keyed state, of which a stateless handler has none.
    Stateless,
}

/// The data of one store.
pub(super) struct Held {
    wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) net: Net,
    pub(super) secrets: Secrets,
    pub(super) log: Log,
    /// Whether its calls may block their thread on files.
    pub(super) blocks: bool,
    /// What waits for files where they may not, and for other things that block.
    pub(super) threads: Threads,
    /// What the guest said of a panic, until a crash or another call follows.
    pub(super) words: LastWords,
    settings: BTreeMap<String, String>,
    draining: CancellationToken,
    metrics: Metrics,
    pub(super) masks: Masks,
    /// How many messages a source has for its stream consumer besides those that it has returned, as the guest said last.
    pub(super) waiting: Option<u64>,
    /// The keyed state of a handler.
    pub(super) keyed: Option<View>,
    /// What a handler asked of the host's kernels.
    pub(super) kernels: Kernels,
    /// What a self-driven spout or a transformer has.
    pub(super) drive: Option<Drive>,
    pub(super) limits: LimitsSpec,
    memory: usize,
    memory_used: usize,
    table_elements: usize,
    table_used: usize,
    /// What it has of what all instances share.
    pub(super) shares: Shares,
    /// What it may add to the disk.
    pub(super) room: Arc<Room>,
    /// The files that it has open for writing, by descriptor.
    pub(super) writing: HashMap<u32, Arc<Writing>>,
    pub(super) hit: Option<Hit>,
    /// Epoch ticks that the running call may still take.
    pub(super) ticks: u64,
    /// Where a command writes.
    pub(super) outputs: Option<Outputs>,
}

impl Held {
    /// `blocks` if its calls may block their thread on files.
    pub(super) fn new(task: &Task, blocks: bool) -> Result<Self, Error> {
        Self::with(task, blocks, |_| Ok(()))
    }

    /// As `new`, with what `more` makes of WASI.
    pub(super) fn with(
        task: &Task,
        blocks: bool,
        more: impl FnOnce(&mut WasiCtxBuilder) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let masks = task.quotas.masks();
        let log =
            task.quotas.log(|| Log::new(&task.pipeline, task.plugin.name(), task.limits.log.0).hiding(masks.clone()));
        let secrets = secrets(&task.plugin, &task.grants)?;
        secrets.all().for_each(|secret| masks.add(secret));
        let words = LastWords::new(log.clone());
        let dirs =
            task.grants.dirs.values().filter(|grant| grant.writable()).map(|grant| grant.path().clone()).collect();
        let room = Room { most: task.limits.disk.0, dirs, log: log.clone() };
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(Lines::output(log.clone()))
            .stderr(Lines::error(log.clone(), words.clone()))
            .max_random_size(1 << 20)
            .envs(&environment(&task.plugin, &task.grants)?)
            .allow_blocking_current_thread(blocks);
        let net = Net::new(task, &mut wasi)?;
        for (name, grant) in &task.grants.dirs {
            open(&mut wasi, task, name, grant)?;
        }
        more(&mut wasi)?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(task.limits.handles as usize);
        Ok(Self {
            wasi: wasi.build(),
            table,
            net,
            secrets,
            log,
            blocks,
            threads: task.threads(),
            words,
            settings: task.settings.iter().cloned().collect(),
            draining: task.draining.clone(),
            metrics: task.metrics.clone(),
            masks: masks.clone(),
            waiting: None,
            keyed: None,
            kernels: Kernels::default(),
            drive: None,
            limits: task.limits.clone(),
            memory_used: 0,
            memory: usize::try_from(task.limits.memory.0).unwrap_or(usize::MAX),
            table_elements: task.limits.table_elements as usize,
            table_used: 0,
            shares: task.quotas.shares(),
            room: Arc::new(room),
            writing: HashMap::new(),
            hit: None,
            ticks: 0,
            outputs: None,
        })
    }

    /// What waits for files, unless its calls may do that themselves.
    pub(super) fn threads(&self) -> Option<Threads> {
        (!self.blocks).then(|| self.threads.clone())
    }

    /// A self-driven spout, a transformer or a command has called the host: from here on it may compute for a while again.
    pub(super) fn breathe(&mut self) {
        if let Some(drive) = &self.drive {
            self.ticks = drive.ticks;
        }
        if let Some(outputs) = &self.outputs {
            self.ticks = outputs.ticks;
        }
    }

    /// Has so many bytes of memory and so many elements of tables from here on.
    fn share(&mut self, memory: usize, elements: usize) -> wasmtime::Result<()> {
        let wanted = memory.saturating_add(elements.saturating_mul(ELEMENT)) as u64;
        if self.shares.memory.set(wanted, self.limits.together()) {
            return Ok(());
        }
        self.hit = Some(Hit::Together(Of::Memory));
        Err(wasmtime::Error::msg("memory limit of all instances"))
    }

    pub(super) fn lend(&mut self, batch: StoredBatch) -> wasmtime::Result<Resource<StoredBatch>> {
        Ok(self.table.push(batch)?)
    }

    pub(super) fn take_back(&mut self, batch: Resource<StoredBatch>) -> wasmtime::Result<StoredBatch> {
        Ok(self.table.delete(batch)?)
    }
}

impl Drop for Held {
    /// To close a file can take as long as its file system likes.
    fn drop(&mut self) {
        if self.table.iter_mut().any(|entry| entry.is::<Descriptor>()) {
            let none = self.shares.files.none();
            let open = std::mem::replace(&mut self.shares.files, none);
            self.threads.close((std::mem::take(&mut self.table), open));
        }
    }
}

/// Opens a granted directory. What it overlaps is looked at once more: a guest that may write above it could have put a link
/// into its place since the start.
fn open(wasi: &mut WasiCtxBuilder, task: &Task, name: &str, grant: &DirGrant) -> Result<(), Error> {
    check_reserved(&task.plugin, name, grant)?;
    let perms = if grant.writable() { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
    let opened = wasi.preopened_dir(grant.path(), format!("/{name}"), perms);
    opened.map(drop).map_err(|error| Error::Grant {
        plugin: task.plugin.name().to_owned(),
        name: name.to_owned(),
        path: grant.path().clone(),
        reason: format!("{error:#}"),
    })
}

/// Links everything that a guest may import: all of WASI 0.2 and the host's own interfaces.
pub(super) fn link(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    command::link(linker)?;
    net::link(linker)?;
    wit::types::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::log::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::network::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::secrets::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::config::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::metrics::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::control::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::marker::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::state::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::kernels::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::datum::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::pfs::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    batch::link(linker)
}

impl WasiView for Held {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Every call of WASI passes here.
        self.breathe();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl ResourceLimiter for Held {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // One quota for all memories of the store. They never shrink, so what was added once stays counted.
        let used = self.memory_used.saturating_add(desired.saturating_sub(current));
        if used > self.memory {
            self.hit = Some(Hit::Memory);
            return Err(wasmtime::Error::msg("memory limit"));
        }
        self.share(used, self.table_used)?;
        self.memory_used = used;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.table_used.saturating_add(desired.saturating_sub(current));
        if used > self.table_elements {
            self.hit = Some(Hit::Table);
            return Err(wasmtime::Error::msg("table limit"));
        }
        self.share(self.memory_used, used)?;
        self.table_used = used;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }

    fn tables(&self) -> usize {
        64
    }
}

impl wit::types::Host for Held {}

impl wit::log::Host for Held {
    fn enabled(&mut self, at: wit::log::Level) -> wasmtime::Result<bool> {
        Ok(match at {
            wit::log::Level::Trace => tracing::enabled!(tracing::Level::TRACE),
            wit::log::Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
            wit::log::Level::Info => tracing::enabled!(tracing::Level::INFO),
            wit::log::Level::Warn => tracing::enabled!(tracing::Level::WARN),
            wit::log::Level::Error => tracing::enabled!(tracing::Level::ERROR),
        })
    }

    fn write(&mut self, at: wit::log::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let level = match at {
            wit::log::Level::Trace => Level::Trace,
            wit::log::Level::Debug => Level::Debug,
            wit::log::Level::Info => Level::Info,
            wit::log::Level::Warn => Level::Warn,
            wit::log::Level::Error => Level::Error,
        };
        self.log.write(level, &message, &fields);
        Ok(())
    }
}

impl wit::config::Host for Held {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.settings.get(&key).cloned())
    }
}

impl wit::metrics::Host for Held {
    fn add(&mut self, counter: String, by: u64) -> wasmtime::Result<()> {
        self.metrics.add(&self.masks.hide(&counter), by);
        Ok(())
    }

    fn set(&mut self, gauge: String, to: f64) -> wasmtime::Result<()> {
        if gauge == WAITING {
            // It is of this instance, and not of all that share the metrics.
            self.waiting = waiting(to);
        } else {
            self.metrics.set(&self.masks.hide(&gauge), to);
        }
        Ok(())
    }

    fn observe(&mut self, histogram: String, value: f64) -> wasmtime::Result<()> {
        self.metrics.observe(&self.masks.hide(&histogram), value);
        Ok(())
    }
}

impl wit::control::Host for Held {
    async fn pause(&mut self, ms: u32) -> wasmtime::Result<wit::control::Signal> {
        let time = Duration::from_millis(u64::from(ms));
        let _resting = self.drive.as_ref().map(Drive::rest);
        let over = tokio::time::timeout(time, self.draining.cancelled()).await;
        self.breathe();
        Ok(match over {
            Ok(()) => wit::control::Signal::Drain,
            Err(_) => wit::control::Signal::Proceed,
        })
    }

    fn draining(&mut self) -> wasmtime::Result<bool> {
        Ok(self.draining.is_cancelled())
    }
}
