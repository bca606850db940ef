//! What a guest can reach of the host: log, config, metrics, control, its input batch, and WASI with nothing granted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow::array::RecordBatch;
use wasmtime::{
    ResourceLimiter,
    component::{HasSelf, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::{
    DirGrant, Error,
    bindings::spout::plugin as wit,
    convert,
    log::{Level, Lines, Log},
    task::Task,
};

/// Names a guest may give to counters; more are ignored.
const METRICS: usize = 256;

/// A batch that a handler looks at.
#[derive(Debug)]
pub struct StoredBatch {
    pub(super) records: RecordBatch,
    pub(super) schema_id: u32,
}

/// Which limit a guest ran into; decides how the error reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Memory,
    Table,
    Time,
}

/// The data of one store.
pub(super) struct Held {
    wasi: WasiCtx,
    table: ResourceTable,
    log: Log,
    settings: BTreeMap<String, String>,
    draining: Arc<AtomicBool>,
    metrics: BTreeMap<String, f64>,
    memory: usize,
    table_elements: usize,
    pub(super) hit: Option<Hit>,
    /// Epoch ticks that the running call may still take.
    pub(super) ticks: u64,
}

impl Held {
    pub(super) fn new(task: &Task) -> Result<Self, Error> {
        let log = Log::new(&task.pipeline, task.plugin.name(), task.limits.log.0);
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(Lines::new(log.clone(), Level::Info))
            .stderr(Lines::new(log.clone(), Level::Warn))
            .max_random_size(1 << 20)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        for (name, grant) in &task.grants.dirs {
            open(&mut wasi, task, name, grant)?;
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(task.limits.handles as usize);
        Ok(Self {
            wasi: wasi.build(),
            table,
            log,
            settings: task.settings.iter().cloned().collect(),
            draining: Arc::clone(&task.draining),
            metrics: BTreeMap::new(),
            memory: usize::try_from(task.limits.memory.0).unwrap_or(usize::MAX),
            table_elements: task.limits.table_elements as usize,
            hit: None,
            ticks: 0,
        })
    }

    pub(super) fn lend(&mut self, batch: StoredBatch) -> wasmtime::Result<Resource<StoredBatch>> {
        Ok(self.table.push(batch)?)
    }

    pub(super) fn take_back(&mut self, batch: Resource<StoredBatch>) -> wasmtime::Result<StoredBatch> {
        Ok(self.table.delete(batch)?)
    }

    fn metric(&mut self, name: String, change: impl FnOnce(f64) -> f64) {
        if self.metrics.len() < METRICS || self.metrics.contains_key(&name) {
            let value = self.metrics.entry(name).or_default();
            *value = change(*value);
        }
    }
}

fn open(wasi: &mut WasiCtxBuilder, task: &Task, name: &str, grant: &DirGrant) -> Result<(), Error> {
    let perms = if grant.writable() { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
    let opened = wasi.preopened_dir(grant.path(), format!("/{name}"), perms);
    opened.map(drop).map_err(|error| Error::Grant {
        plugin: task.plugin.name().to_owned(),
        name: name.to_owned(),
        path: grant.path().clone(),
        reason: format!("{error:#}"),
    })
}

/// Links everything that a guest may import: all of WASI 0.2 (granting nothing) and the host's own interfaces.
pub(super) fn link(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wit::types::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::log::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::config::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::metrics::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::control::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)?;
    wit::data::add_to_linker::<_, HasSelf<Held>>(linker, |held| held)
}

impl WasiView for Held {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl ResourceLimiter for Held {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired <= self.memory {
            return Ok(true);
        }
        self.hit = Some(Hit::Memory);
        Err(wasmtime::Error::msg("memory limit"))
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired <= self.table_elements {
            return Ok(true);
        }
        self.hit = Some(Hit::Table);
        Err(wasmtime::Error::msg("table limit"))
    }

    fn instances(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }

    fn tables(&self) -> usize {
        64
    }
}

impl wit::types::Host for Held {}

impl wit::log::Host for Held {
    async fn enabled(&mut self, at: wit::log::Level) -> wasmtime::Result<bool> {
        Ok(match at {
            wit::log::Level::Trace => tracing::enabled!(tracing::Level::TRACE),
            wit::log::Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
            _ => true,
        })
    }

    async fn write(
        &mut self,
        at: wit::log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
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
    async fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.settings.get(&key).cloned())
    }

    async fn secret(&mut self, _: String) -> wasmtime::Result<Option<String>> {
        // No secret can be granted yet, so none is ever there.
        Ok(None)
    }
}

impl wit::metrics::Host for Held {
    async fn add(&mut self, counter: String, by: u64) -> wasmtime::Result<()> {
        self.metric(counter, |value| value + by as f64);
        Ok(())
    }

    async fn set(&mut self, gauge: String, to: f64) -> wasmtime::Result<()> {
        self.metric(gauge, |_| to);
        Ok(())
    }

    async fn observe(&mut self, histogram: String, value: f64) -> wasmtime::Result<()> {
        self.metric(histogram, |_| value);
        Ok(())
    }
}

impl wit::control::Host for Held {
    async fn pause(&mut self, ms: u32) -> wasmtime::Result<wit::control::Signal> {
        let step = Duration::from_millis(20);
        let mut left = Duration::from_millis(u64::from(ms));
        while !left.is_zero() && !self.draining.load(Ordering::Relaxed) {
            let now = left.min(step);
            tokio::time::sleep(now).await;
            left -= now;
        }
        Ok(match self.draining.load(Ordering::Relaxed) {
            true => wit::control::Signal::Drain,
            false => wit::control::Signal::Proceed,
        })
    }

    async fn draining(&mut self) -> wasmtime::Result<bool> {
        Ok(self.draining.load(Ordering::Relaxed))
    }
}

impl wit::data::Host for Held {}

impl wit::data::HostBatch for Held {
    async fn rows(&mut self, batch: Resource<StoredBatch>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.table.get(&batch)?.records.num_rows())?)
    }

    async fn schema_id(&mut self, batch: Resource<StoredBatch>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&batch)?.schema_id)
    }

    async fn schema(&mut self, batch: Resource<StoredBatch>) -> wasmtime::Result<wit::types::Schema> {
        convert::schema::lower(self.table.get(&batch)?.records.schema_ref()).map_err(wasmtime::Error::msg)
    }

    async fn read(&mut self, batch: Resource<StoredBatch>, columns: Vec<u32>) -> wasmtime::Result<wit::types::Parts> {
        let records = &self.table.get(&batch)?.records;
        let count = records.num_columns();
        let indices: Vec<usize> = columns.iter().map(|&column| column as usize).collect();
        if let Some(beyond) = indices.iter().find(|&&index| index >= count) {
            return Err(wasmtime::Error::msg(format!("the guest read column {beyond} of a batch that has {count}")));
        }
        convert::parts::lower(records, &indices).map_err(wasmtime::Error::msg)
    }

    async fn attributes(&mut self, batch: Resource<StoredBatch>) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.table.get(&batch)?.records.schema_ref().metadata().clone().into_iter().collect())
    }

    async fn drop(&mut self, _: Resource<StoredBatch>) -> wasmtime::Result<()> {
        // Guests only ever borrow a batch; the host takes it back after the call.
        Ok(())
    }
}
