//! Keeps a plugin from stumbling over one row: a batch that crashes it is handed over in parts.

use std::ops::Range;

use arrow::array::RecordBatch;
use spout_plugin::{Rows, Search, Step};

use super::{PluginHandler, answer::moved};
use crate::{Error, Handled, RowFault};

/// Crashes over one batch that are logged; a run of bad rows must not become a flood of lines.
const SAID: usize = 3;

impl PluginHandler {
    /// Hands `batch` over in parts until the rows that crash the plugin are alone. Parts come in order, so state stays right.
    pub(super) async fn isolate(&mut self, batch: &RecordBatch, crash: spout_plugin::Error) -> Result<Handled, Error> {
        let (mut search, mut handled) = (Search::new(batch.num_rows()), Handled::default());
        let mut crashes = Crashes { count: 0, last: crash };
        crashes.log(&self.spec.id, &(0..batch.num_rows()));
        loop {
            let (part, answer) = match search.step() {
                Step::Done => break,
                Step::GiveUp => return Err(self.hopeless(crashes, batch.num_rows())),
                Step::Aside(row) => {
                    let (code, reason) = (crashes.last.fault_code().into(), crashes.last.to_string());
                    handled.faults.push(RowFault { row: u32::try_from(row).unwrap_or(u32::MAX), code, reason });
                    search.set_aside();
                    continue;
                }
                Step::Call(part) => {
                    let rows = batch.slice(part.start, part.len());
                    let answer = match self.running.process(&rows).await {
                        Ok(answer) => self.keep(rows, part.start, answer, &mut handled).await.map(Ok)?,
                        Err(error) => Err(error),
                    };
                    (part, answer)
                }
                Step::Probe(row) => (row..row + 1, self.running.survives(&batch.slice(row, 1)).await),
            };
            match answer {
                Ok(()) => search.passed(&mut self.health),
                Err(error) if error.is_crash() => {
                    search.crashed(error.is_slow(), &mut self.health);
                    crashes.last = error;
                    crashes.log(&self.spec.id, &part);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        if !handled.faults.is_empty() {
            let (handler, rows, set_aside) = (&self.spec.id, batch.num_rows(), handled.faults.len());
            tracing::warn!(
                handler,
                rows,
                set_aside,
                crashes = crashes.count,
                "rows that crash the handler were found and set aside"
            );
        }
        Ok(handled)
    }

    /// Adds what came of a part that begins at row `from`.
    async fn keep(
        &mut self,
        part: RecordBatch,
        from: usize,
        answer: Option<Rows>,
        handled: &mut Handled,
    ) -> Result<(), Error> {
        let (output, rows) = (self.output(&part, answer)?, part.num_rows());
        handled.outputs.extend(output.map(|(records, kept)| (records, moved(kept, from, rows))));
        self.running.remember(part).await.map_err(|error| self.failed(error))
    }

    fn hopeless(&self, crashes: Crashes, rows: usize) -> Error {
        let (handler, failures) = (self.spec.id.clone(), u32::try_from(crashes.count).unwrap_or(u32::MAX));
        Error::Hopeless { handler, failures, rows, source: Box::new(crashes.last) }
    }
}

/// The crashes over one batch.
struct Crashes {
    count: usize,
    last: spout_plugin::Error,
}

impl Crashes {
    /// Counts the last one, and logs it in one line.
    fn log(&mut self, handler: &str, part: &Range<usize>) {
        self.count += 1;
        let (row, rows, error) = (part.start, part.len(), &self.last);
        if self.count <= SAID {
            tracing::warn!(handler, row, rows, %error, "the handler crashed and was restarted")
        } else {
            tracing::debug!(handler, row, rows, %error, "the handler crashed and was restarted")
        }
    }
}
