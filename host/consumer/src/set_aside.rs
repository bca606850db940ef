//! What is committed beside the rows: dead letters and late rows. They are encoded while they come, as the rows are, so that a
//! commit of nothing else takes no more memory than one of rows.

use std::{
    future::{Future as _, poll_fn},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use spout_data::{Aside, DeadLetter};
use spout_format::{Encoded, Format};
use tokio::sync::Semaphore;

use super::{
    Error,
    dead_letters::{self, Names},
    encode::failed,
    encoding::Encoding,
};

/// Dead letters that become rows together, and about how many bytes of them.
const TOGETHER: usize = 4096;
const BYTES: usize = 4 << 20;

/// The dead letters of the open commit.
#[derive(Debug)]
pub(super) struct Letters {
    /// Those that are not yet rows, with about what they take.
    few: Vec<DeadLetter>,
    bytes: usize,
    /// The message of the last one that is: it lives as long as that may be compared, so that no other is at its place.
    before: Option<Bytes>,
    encoding: Encoding,
}

impl Default for Letters {
    fn default() -> Self {
        Self { few: Vec::new(), bytes: 0, before: None, encoding: Encoding::new() }
    }
}

impl Letters {
    /// Takes `letters`; waits while too much is still to be encoded.
    pub(super) async fn take(
        &mut self,
        letters: Vec<DeadLetter>,
        producers: &Names,
        room: &Arc<Semaphore>,
    ) -> Result<(), Error> {
        for letter in letters {
            let shares = |other: &DeadLetter| other.value.as_ptr() == letter.value.as_ptr();
            let shared = self.few.last().is_some_and(shares);
            self.bytes += letter.room() - if shared { letter.value.len() } else { 0 };
            self.few.push(letter);
            if self.few.len() >= TOGETHER || self.bytes >= BYTES {
                let rows = self.rows(producers)?;
                self.encoding.take(rows, Format::Parquet, room).await?;
            }
        }
        Ok(())
    }

    /// Those that are not yet rows, as rows.
    fn rows(&mut self, producers: &Names) -> Result<arrow::array::RecordBatch, Error> {
        let few = std::mem::take(&mut self.few);
        let rows = dead_letters::rows(&few, producers, self.before.as_ref());
        self.bytes = 0;
        self.before = few.last().map(|letter| letter.value.clone());
        rows.map_err(failed("repo", "parquet", few.len()))
    }

    /// Ends when the thread that encodes them is gone.
    pub(super) async fn failed(&mut self) {
        self.encoding.failed().await;
    }

    /// The files, when no more letters come.
    pub(super) async fn files(mut self, producers: &Names) -> Result<Vec<Encoded>, Error> {
        if !self.few.is_empty() {
            let rows = self.rows(producers)?;
            self.encoding.take(rows, Format::Parquet, &super::encoding::room()).await?;
        }
        self.encoding.files(Format::Parquet).await
    }
}

/// The late rows of the open commit that are kept, by handler.
#[derive(Debug, Default)]
pub(super) struct LateRows(Vec<(String, Encoding)>);

impl LateRows {
    /// Takes `late`; waits while too much is still to be encoded.
    pub(super) async fn take(&mut self, late: Vec<Aside>, room: &Arc<Semaphore>) -> Result<(), Error> {
        for Aside { handler, records, .. } in late {
            let Some(records) = records else { continue };
            if !self.0.iter().any(|(known, _)| *known == handler) {
                self.0.push((handler.clone(), Encoding::new()));
            }
            if let Some((_, encoding)) = self.0.iter_mut().find(|(known, _)| *known == handler) {
                encoding.take(records, Format::Parquet, room).await?;
            }
        }
        Ok(())
    }

    /// Ends when a thread that encodes them is gone.
    pub(super) async fn failed(&mut self) {
        let mut all: Vec<_> = self.0.iter_mut().map(|(_, encoding)| Box::pin(encoding.failed())).collect();
        let mut any = |cx: &mut Context<'_>| all.iter_mut().any(|gone| gone.as_mut().poll(cx).is_ready());
        poll_fn(|cx| if any(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// The files of each handler, one for each schema, when no more rows come.
    pub(super) async fn files(self) -> Result<Vec<(String, Encoded)>, Error> {
        let mut all = Vec::new();
        for (handler, encoding) in self.0 {
            let files = encoding.files(Format::Parquet).await?;
            all.extend(files.into_iter().map(|file| (handler.clone(), file)));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use spout_format::decode;

    use super::*;

    fn letter(offset: u64, value: &Bytes) -> DeadLetter {
        DeadLetter {
            partition: 0.into(),
            offset,
            timestamp_ms: None,
            file: None,
            key: None,
            headers: Vec::new(),
            value: value.clone(),
            null: false,
            holds: spout_data::Holds::Message,
            stage: "decode".into(),
            code: "json.syntax".into(),
            reason: "no".into(),
        }
    }

    #[tokio::test]
    async fn letters_are_encoded_while_they_come_and_a_message_is_stored_once() {
        let (names, room) = (Names::new(), super::super::encoding::room());
        let mut letters = Letters::default();
        let (large, small) = (Bytes::from(vec![b'x'; 1 << 20]), Bytes::from_static(b"y"));
        let most = TOGETHER as u64 + 10;
        for offset in 0..most {
            letters.take(vec![letter(offset, &large)], &names, &room).await.unwrap();
            assert!(letters.few.len() < TOGETHER && letters.bytes < BYTES + (2 << 20));
        }
        letters.take(vec![letter(most, &small)], &names, &room).await.unwrap();
        assert!(
            !matches!(&letters.encoding, Encoding::Few(rows, _) if rows.is_empty()),
            "the first ones are rows already"
        );
        let files = letters.files(&names).await.unwrap();
        assert_eq!(files.len(), 1);
        let rows = decode("x.parquet", Format::Parquet, &files[0].schema, files[0].bytes.clone(), None).unwrap();
        let sizes: Vec<usize> = rows
            .flat_map(|rows| {
                let rows = rows.unwrap();
                let values = arrow::array::AsArray::as_binary::<i32>(&rows["value"]).clone();
                values.iter().flatten().map(<[u8]>::len).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!((sizes.len() as u64, sizes.iter().sum::<usize>()), (most + 1, (1 << 20) + 1));
    }
}
