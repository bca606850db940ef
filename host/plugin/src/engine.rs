//! The wasmtime engine and the thread that ticks its epochs.
//!
//! Code that is compiled in another process has to be compiled under the same settings: both sides use [`idle`].

use std::{sync::Arc, thread, time::Duration};

use wasmtime::{Config, Engine, OptLevel};

use super::Error;

/// Time between two ticks.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// An engine for few, long-lived, little-trusted plugins: on-demand allocation, Cranelift, epochs. Nothing ticks it, so it can
/// compile and not run.
///
/// # Errors
/// If this machine cannot run compiled WebAssembly.
pub(super) fn idle() -> Result<Engine, Error> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_component_model(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        .parallel_compilation(true);
    Engine::new(&config).map_err(|error| Error::Runtime { reason: format!("{error:#}") })
}

/// The same, ticking.
///
/// # Errors
/// As for [`idle`].
pub(super) fn start() -> Result<Engine, Error> {
    let engine = idle()?;
    let ticking = Arc::new(engine.weak());
    // A thread of its own: a spinning guest can keep the async timer from running, but not this.
    thread::spawn(move || {
        while let Some(engine) = ticking.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    });
    Ok(engine)
}
