//! One store with one instance in it, and the guard around every call.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use spout_base::reach::Reach;
use spout_data::ByteSize;
use wasmtime::{Store, Trap, UpdateDeadline, component::Instance as Linked};
use wasmtime_wasi::I32Exit;

use super::{
    At, Error, Pfs,
    bindings::spout::plugin::types as wit,
    convert::messages::raise_position,
    engine::TICK,
    host::{Held, Hit},
    leash::{Leash, Overrun},
    log::clean,
    pfs::Drive,
    quotas::Of,
    task::Task,
    turns::Turns,
};

/// A running plugin. After an error that is a crash it must be dropped: the store is spoilt.
pub(super) struct Instance {
    pub(super) store: Store<Held>,
    instance: Linked,
    task: Arc<Task>,
    limit: Duration,
    /// A call has begun and not come back. If its future was dropped, it never will, and the store is spoilt.
    calling: bool,
    turns: Turns,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("plugin", &self.task.plugin.name()).finish_non_exhaustive()
    }
}

impl Instance {
    /// Opens a store with the task's grants and limits, and instantiates the plugin in it.
    pub(super) async fn open(task: &Task) -> Result<Self, Error> {
        let held = if task.grants.reach().contains(&Reach::Files) {
            task.waiting("instantiate", |task| Held::new(task, false)).await?
        } else {
            Held::new(task, false)?
        };
        Self::open_with(task, held).await
    }

    /// As `open`, for calls that are made [apart](super::apart): they may block their thread on files.
    pub(super) async fn open_apart(task: &Task) -> Result<Self, Error> {
        Self::open_with(task, Held::new(task, true)?).await
    }

    /// As `open`, in a store with this data.
    pub(super) async fn open_with(task: &Task, held: Held) -> Result<Self, Error> {
        let pre = &task.plugin.pre;
        let mut store = Store::new(pre.engine(), held);
        store.limiter(|held| held);
        store.set_max_component_handles(task.limits.handles as usize);
        store.set_hostcall_fuel(fuel(task));
        let limit = task.limits.call.0;
        store.data_mut().ticks = ticks(limit);
        if let Some(outputs) = &mut store.data_mut().outputs {
            outputs.ticks = ticks(limit);
        }
        store.set_epoch_deadline(1);
        let turns = task.quotas.turns(task.limits.processors());
        let computing = turns.clone();
        // Ticks are counted by callbacks, so that time spent waiting for the host costs nothing here.
        store.epoch_deadline_callback(move |mut store| {
            let held = store.data_mut();
            match held.ticks.checked_sub(1) {
                Some(left) => {
                    held.ticks = left;
                    Ok(UpdateDeadline::YieldCustom(1, Box::pin(computing.next())))
                }
                None => {
                    held.hit = Some(Hit::Time);
                    Err(wasmtime::Error::msg("time limit"))
                }
            }
        });
        let leash = Leash::new(limit, &task.draining, &turns).counted(&task.quotas);
        let opened = leash.hold(pre.instantiate_async(&mut store)).await;
        match opened {
            Ok(Ok(instance)) => {
                Ok(Self { store, instance, task: Arc::new(task.clone()), limit, calling: false, turns })
            }
            Ok(Err(error)) => Err(lost(task, failure(task, &store, limit, "instantiate", &error))),
            Err(overrun) => Err(lost(task, overran(task, "instantiate", limit, overrun))),
        }
    }

    /// The functions of one interface.
    pub(super) fn load<G>(
        &mut self,
        load: impl FnOnce(&mut Store<Held>, &Linked) -> wasmtime::Result<G>,
    ) -> Result<G, Error> {
        let Self { store, instance, task, .. } = self;
        load(store, instance).map_err(|error| Error::Contract { at: task.at("load"), what: format!("{error:#}") })
    }

    /// Whether a call was given up halfway, which nothing in this store survives.
    pub(super) fn spoilt(&self) -> bool {
        self.calling
    }

    /// Gives the next call its time and its bytes; what to hold it with.
    pub(super) fn begin(&mut self) -> Leash {
        self.begin_waiting(Duration::ZERO)
    }

    /// The same for a command, which knows nothing of the pipeline.
    pub(super) fn begin_endless(&mut self) -> Leash {
        drop(self.begin());
        Leash::endless(&self.task.draining, &self.turns).counted(&self.task.quotas)
    }

    /// As `begin`, for a call that may wait on top of its time.
    pub(super) fn begin_waiting(&mut self, wait: Duration) -> Leash {
        self.limit = self.task.limits.call.0 + wait;
        self.calling = true;
        let fuel = fuel(&self.task);
        self.store.set_hostcall_fuel(fuel);
        self.store.data_mut().ticks = ticks(self.task.limits.call.0);
        self.store.data_mut().hit = None;
        self.store.data_mut().words.say();
        Leash::new(self.limit, &self.task.draining, &self.turns).counted(&self.task.quotas)
    }

    /// As `begin`, for a call that goes on until the pipeline wants to stop. Only what it computes from one call to the host to
    /// the next is limited.
    pub(super) fn begin_driving(&mut self, pfs: Option<Arc<dyn Pfs>>, resting: Arc<AtomicBool>) -> Leash {
        drop(self.begin());
        let ticks = ticks(self.limit);
        self.store.data_mut().drive = Some(Drive { pfs, resting, ticks });
        Leash::endless(&self.task.draining, &self.turns).counted(&self.task.quotas)
    }

    /// What a call that cannot answer with an error came to.
    pub(super) fn end<T>(
        &mut self,
        call: &'static str,
        answer: Result<wasmtime::Result<T>, Overrun>,
    ) -> Result<T, Error> {
        // What was given up stands still half way: only a store of its own can be called after it.
        self.calling = answer.is_err();
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                // Whatever the error is taken for, the store is spoilt.
                self.calling = true;
                Err(lost(&self.task, failure(&self.task, &self.store, self.limit, call, &error)))
            }
            Err(overrun) => Err(lost(&self.task, overran(&self.task, call, self.limit, overrun))),
        }
    }

    /// What a call of a source came to.
    pub(super) fn settle<T>(
        &mut self,
        call: &'static str,
        answer: Result<wasmtime::Result<Result<T, wit::Error>>, Overrun>,
    ) -> Result<T, Error> {
        self.end(call, answer)?.map_err(|error| said(&self.task, call, error))
    }

    /// What a call of a decoder or a handler came to. They depend on nothing that could pass, so nothing is tried again.
    pub(super) fn settle_for_good<T>(
        &mut self,
        call: &'static str,
        answer: Result<wasmtime::Result<Result<T, wit::Error>>, Overrun>,
    ) -> Result<T, Error> {
        self.settle(call, answer).map_err(|error| match error {
            Error::Retriable { at, code, message, .. } => Error::Fatal { at, code, message },
            other => other,
        })
    }
}

/// Longest code and longest message of a guest that are passed on.
pub(super) const CODE: usize = 100;
pub(super) const MESSAGE: usize = 2000;

/// Longest wait that a guest can ask for before it is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

fn ticks(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn fuel(task: &Task) -> usize {
    usize::try_from(task.limits.answer.0).unwrap_or(usize::MAX)
}

/// Counts the instance that `error` has cost, if it has.
pub(super) fn lost(task: &Task, error: Error) -> Error {
    if error.is_crash() {
        task.quotas.taken().crashed();
    }
    error
}

/// A call that was given up.
pub(super) fn overran(task: &Task, call: &'static str, limit: Duration, overrun: Overrun) -> Error {
    match overrun {
        Overrun::Limit => Error::TimedOut { at: task.at(call), limit },
        Overrun::Stop => Error::Interrupted { at: task.at(call) },
    }
}

/// A failed call, by what the store and the runtime say about it.
fn failure(task: &Task, store: &Store<Held>, limit: Duration, call: &'static str, error: &wasmtime::Error) -> Error {
    let at = task.at(call);
    let limits = &task.limits;
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Error::Exit { at, status: exit.0 };
    }
    let trap = error.downcast_ref::<Trap>();
    let text = format!("{error:#}");
    match store.data().hit {
        Some(Hit::Memory) => Error::Limit { at, what: "memory", limit: limits.memory.to_string(), setting: "memory" },
        Some(Hit::Table) => Error::Limit {
            at,
            what: "table elements",
            limit: limits.table_elements.to_string(),
            setting: "tableElements",
        },
        Some(Hit::Together(of)) => together(task, at, store.data(), of),
        Some(Hit::Time) => Error::TimedOut { at, limit },
        Some(Hit::State) => Error::StateFull { at, limit: limits.state.to_string() },
        Some(Hit::Stateless) => Error::Stateless { at },
        Some(Hit::Answer) => {
            Error::Limit { at, what: "bytes of one answer", limit: limits.answer.to_string(), setting: "answer" }
        }
        None if trap == Some(&Trap::StackOverflow) => {
            Error::Limit { at, what: "stack", limit: "512KiB".into(), setting: "stack (fixed)" }
        }
        None if text.contains("fuel allocated for hostcalls") => {
            Error::Limit { at, what: "bytes of one answer", limit: limits.answer.to_string(), setting: "answer" }
        }
        None if text.contains("store handle limit exceeded") || text.contains("resource table has no free keys") => {
            Error::Limit { at, what: "handles", limit: limits.handles.to_string(), setting: "handles" }
        }
        None => {
            tracing::debug!(pipeline = at.pipeline, plugin = at.plugin, call, trace = text, "the plugin crashed");
            // The root is the trap, or what an import refused; around it are pages of backtrace.
            let cause = || trap.map_or_else(|| clean(&error.root_cause().to_string(), 500), ToString::to_string);
            Error::Trap { at, reason: store.data().words.last().unwrap_or_else(cause) }
        }
    }
}

/// All instances together have what they may have.
fn together(task: &Task, at: Box<At>, held: &Held, of: Of) -> Error {
    let instances = task.quotas.all(Of::Instances);
    let (what, setting, limit, mine) = match of {
        Of::Memory => (
            "memory",
            "totalMemory",
            ByteSize(task.limits.together()).to_string(),
            ByteSize(held.shares.memory.mine()).to_string(),
        ),
        _ => ("open files", "files", task.limits.open_files().to_string(), held.shares.files.mine().to_string()),
    };
    Error::Together { at, what, setting, limit, mine, instances }
}

/// The guest's own error, in the host's words. Its texts are cut and cleaned: they end on terminals and in logs.
pub(super) fn said(task: &Task, call: &'static str, error: wit::Error) -> Error {
    let at = task.at(call);
    let masks = task.quotas.masks();
    let text =
        |fault: &wit::Fault| (clean(&masks.hide(&fault.code), CODE), clean(&masks.hide(&fault.message), MESSAGE));
    match error {
        wit::Error::Retriable(fault) => {
            let (code, message) = text(&fault);
            let retry_after = fault.retry_after_ms.map(|ms| Duration::from_millis(u64::from(ms)).min(PATIENCE));
            Error::Retriable { at, code, message, retry_after }
        }
        wit::Error::Fatal(fault) | wit::Error::Other(fault) => {
            let (code, message) = text(&fault);
            Error::Fatal { at, code, message }
        }
        wit::Error::InvalidConfig(fault) => {
            let (code, message) = text(&fault);
            Error::InvalidConfig { at, code, message }
        }
        wit::Error::OutOfRange(range) => Error::OutOfRange {
            at,
            range: range.map(|range| Box::new((raise_position(range.earliest), raise_position(range.latest)))),
        },
        wit::Error::EndOfStream => Error::EndOfStream { at },
        wit::Error::Cancelled => Error::Cancelled { at },
    }
}
