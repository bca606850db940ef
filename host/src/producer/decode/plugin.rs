//! A decoder from the plugins directory, brought back after it crashes and kept from stumbling over one message.

use std::sync::Arc;

use arrow::array::RecordBatch;
use spout_codec::UnknownField;

use super::Rows;
use crate::{
    data::{Messages, Origins, Span},
    plugin::{self, Decoding, RowFault, Task},
    producer::{Error, PluginDecoder},
};

/// Crashes in a row, with no success between, after which the plugin is given up.
const HOPELESS: u32 = 16;

/// A running plugin decoder.
#[derive(Debug)]
pub(super) struct PluginDecoding {
    spec: PluginDecoder,
    decoding: Decoding,
    crashes: u32,
}

impl PluginDecoding {
    pub(super) async fn open(
        spec: &PluginDecoder,
        task: Task,
        topic: &str,
        settled: Option<String>,
        span: &Span,
    ) -> Result<Self, Error> {
        match Decoding::open(task, &spec.name, topic, settled).await {
            Ok(decoding) => Ok(Self { spec: spec.clone(), decoding, crashes: 0 }),
            Err(source) => Err(failed(spec, span, source)),
        }
    }

    /// The rows of `messages`. After a crash they are halved until the ones that the plugin cannot bear are alone.
    pub(super) async fn decode(&mut self, messages: &Messages, span: &Span) -> Result<Rows, Error> {
        let first = match self.decoding.decode(messages).await {
            // One crash may be chance; the second time over the same messages it is the messages.
            Err(error) if error.is_crash() => {
                tracing::warn!(decoder = self.spec.plugin, partition = span.partition, start = span.start, next = span.next.offset, %error, "decoder crashed; it is opened anew and tried once more");
                self.decoding.decode(messages).await
            }
            other => other,
        };
        match first {
            Ok(decoded) => {
                self.crashes = 0;
                let plugin::Decoded { records, origins, faults, unknown } = decoded;
                Ok(Rows { records, origins, faults, unknown, open: None })
            }
            Err(error) if error.is_crash() => self.bisect(messages, span, error).await,
            Err(error) => Err(failed(&self.spec, span, error)),
        }
    }

    async fn bisect(&mut self, messages: &Messages, span: &Span, crash: plugin::Error) -> Result<Rows, Error> {
        let (mut batches, mut rows, mut faults) = (Vec::<RecordBatch>::new(), Vec::new(), Vec::new());
        let mut unknown = Vec::new();
        // A stack of (first message, messages, what the whole of it failed with); the lowest messages are on top.
        let mut parts = vec![(0, messages.len(), Some(crash))];
        while let Some((from, count, failure)) = parts.pop() {
            let failure = match failure {
                Some(failure) => failure,
                None => match self.decoding.decode(&messages.slice(from..from + count)).await {
                    Ok(part) => {
                        self.crashes = 0;
                        let moved = |index: usize| u32::try_from(index + from).unwrap_or(u32::MAX);
                        rows.extend((0..part.records.num_rows()).map(|row| match part.origins.message(row) {
                            Some(message) => moved(message),
                            None => u32::MAX,
                        }));
                        batches.push(part.records);
                        unknown.extend(part.unknown);
                        faults.extend(
                            part.faults
                                .into_iter()
                                .map(|fault| RowFault { message: moved(fault.message as usize), ..fault }),
                        );
                        continue;
                    }
                    Err(error) if error.is_crash() => error,
                    Err(error) => return Err(failed(&self.spec, span, error)),
                },
            };
            self.crashes += 1;
            if self.crashes >= HOPELESS {
                return Err(failed(&self.spec, span, failure));
            }
            if count > 1 {
                parts.push((from + count / 2, count - count / 2, None));
                parts.push((from, count / 2, None));
            } else {
                let message = u32::try_from(from).unwrap_or(u32::MAX);
                faults.push(RowFault { message, code: failure.fault_code().into(), reason: failure.to_string() });
            }
        }
        self.gather(batches, rows, faults, unknown)
    }

    fn gather(
        &self,
        batches: Vec<RecordBatch>,
        rows: Vec<u32>,
        faults: Vec<RowFault>,
        unknown: Vec<UnknownField>,
    ) -> Result<Rows, Error> {
        let schema = batches.first().map_or_else(|| Arc::new(arrow::datatypes::Schema::empty()), RecordBatch::schema);
        let records = arrow::compute::concat_batches(&schema, &batches).map_err(|source| Error::Kernel {
            decoder: self.spec.plugin.clone(),
            rows: rows.len(),
            source,
        })?;
        Ok(Rows { records, origins: Origins::Taken(rows.into()), faults, unknown, open: None })
    }
}

fn failed(spec: &PluginDecoder, span: &Span, source: plugin::Error) -> Error {
    Error::Decoder {
        decoder: spec.plugin.clone(),
        partition: span.partition,
        start: span.start,
        next: span.next.offset,
        source: Box::new(source),
    }
}
