//! The rows of a query, read from an Arrow stream while it comes.

use arrow::{array::RecordBatch, buffer::Buffer, datatypes::SchemaRef, ipc::reader::StreamDecoder};
use futures::{StreamExt as _, stream};
use reqwest::Response;
use spout_api::{Result, Rows};

use crate::link::Link;

struct Reading {
    link: Link,
    answer: Response,
    decoder: StreamDecoder,
    buffer: Buffer,
}

pub(crate) async fn read(link: Link, answer: Response) -> Result<Rows> {
    let mut reading = Reading { link, answer, decoder: StreamDecoder::new(), buffer: Buffer::from(Vec::<u8>::new()) };
    let mut first = None;
    // The columns come first, and rows maybe with them.
    while reading.decoder.schema().is_none() {
        first = reading.next().await?;
        if first.is_none() {
            break;
        }
    }
    let schema: Option<SchemaRef> = reading.decoder.schema();
    let schema = schema.ok_or_else(|| reading.link.foreign("its rows have no columns".into()))?;
    let rest = stream::try_unfold(reading, |mut reading| async move {
        let next = reading.next().await?;
        Ok(next.map(|batch| (batch, reading)))
    });
    let first = stream::iter(first.map(Ok));
    Ok(Rows::new(schema, first.chain(rest).boxed()))
}

impl Reading {
    /// The next rows; `None` at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let decoded = self.decoder.decode(&mut self.buffer);
            if let Some(batch) = decoded.map_err(|error| self.link.foreign(error.to_string()))? {
                return Ok(Some(batch));
            }
            match self.answer.chunk().await.map_err(|error| self.link.broken(&error))? {
                Some(bytes) => self.buffer = Buffer::from(bytes),
                None => {
                    self.decoder.finish().map_err(|error| self.link.foreign(error.to_string()))?;
                    return Ok(None);
                }
            }
        }
    }
}
