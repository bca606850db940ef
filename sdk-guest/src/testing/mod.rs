//! Runs plugin logic natively: open it with settings as the host would, pass it messages and batches, look at the
//! answer.

#[cfg(not(target_arch = "wasm32"))]
mod conformance;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod network;
#[cfg(not(target_arch = "wasm32"))]
mod pieces;
#[cfg(not(target_arch = "wasm32"))]
mod reading;
#[cfg(not(target_arch = "wasm32"))]
mod recorded;
#[cfg(not(target_arch = "wasm32"))]
mod repo;
#[cfg(not(target_arch = "wasm32"))]
mod running;

use std::cell::RefCell;

use serde::de::DeserializeOwned;

#[cfg(not(target_arch = "wasm32"))]
pub use self::{
    conformance::conformance,
    network::{Network, Peer},
    pieces::in_pieces,
    reading::{fetch, read_all, serve},
    recorded::{Spoilt, spoilt},
    repo::{Repo, transform},
    running::{Running, Saved},
};
use crate::{Answer, Batch, Error, Handler, Messages, Result, log::Level, parse_settings};

thread_local! {
    static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static METRICS: RefCell<Vec<(String, f64)>> = const { RefCell::new(Vec::new()) };
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn logged(level: Level, message: &str) {
    LOG.with_borrow_mut(|log| log.push((level, message.to_owned())));
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn measured(name: &str, value: f64) {
    METRICS.with_borrow_mut(|metrics| metrics.push((name.to_owned(), value)));
}

/// Takes the metrics this thread has reported, call by call.
#[must_use]
pub fn take_metrics() -> Vec<(String, f64)> {
    METRICS.take()
}

/// Takes the lines this thread has logged.
#[must_use]
pub fn take_log() -> Vec<(Level, String)> {
    LOG.take()
}

/// Grants this thread the secret `name`, as `secrets` of a spec would.
#[cfg(not(target_arch = "wasm32"))]
pub fn set_secret(name: &str, secret: &str) {
    crate::secret::set(name, secret);
}

/// Settings as the host passes them.
///
/// # Errors
/// As in a pipeline: an unknown key, a wrong value.
pub fn settings<S: DeserializeOwned>(list: &[(&str, &str)]) -> Result<S> {
    parse_settings(list.iter().map(|(name, value)| (*name, *value)))
}

/// Messages with these payloads, at offsets 0, 1, 2 ….
#[must_use]
pub fn messages<T: AsRef<[u8]>>(payloads: &[T]) -> Messages {
    let mut messages = Messages::default();
    for (offset, payload) in payloads.iter().enumerate() {
        messages.push(offset as u64, payload.as_ref());
    }
    messages
}

/// Passes `batch` through `handler` as the host would; returns the rows passed on. [`Running`] also keeps state.
///
/// # Errors
/// The handler's error.
pub fn process<H: Handler>(handler: &mut H, batch: &Batch) -> Result<Batch> {
    let answer = handler.process(batch)?;
    apply(answer, batch)
}

/// Applies `answer` to `batch` as the host would.
///
/// # Errors
/// The answer takes a row that does not exist.
pub fn apply(answer: Answer, batch: &Batch) -> Result<Batch> {
    let take = |rows: &[u32]| match rows.iter().find(|&&row| row as usize >= batch.rows()) {
        Some(row) => Err(Error::fatal("answer.row", format!("row {row} of {}", batch.rows()))),
        None => Ok(batch.take(rows)),
    };
    let masked = |bits: &[u8]| {
        let set = |row: &u32| bits.get(*row as usize / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1);
        take(&(0..batch.rows() as u32).filter(set).collect::<Vec<_>>())
    };
    match answer {
        Answer::All => Ok(batch.clone()),
        Answer::Mask(bits) => masked(&bits),
        #[cfg(feature = "kernels")]
        Answer::Selected(column) => masked(&column.bits()?),
        #[cfg(feature = "kernels")]
        Answer::WithHeld(columns) => {
            let (mut fields, mut arrays) = (Vec::new(), Vec::new());
            for (name, column) in columns {
                let (data_type, array) = column.0.column()?;
                fields.push(crate::Field::new(&name, data_type));
                arrays.push(array);
            }
            Ok(batch.with(&Batch::new(crate::Schema::new(fields), arrays, batch.rows())?))
        }
        Answer::Take(rows) => take(&rows),
        Answer::WithColumns(columns) => Ok(batch.with(&columns)),
        Answer::Fresh(fresh) => Ok(fresh),
        Answer::Nothing => Ok(batch.take(&[])),
    }
}
