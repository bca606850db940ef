//! Reads standard input until it ends.

use std::{
    io::{ErrorKind, Read, stdin},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{panicked::caught, reach::Reach};
use spout_data::{Blobs, ByteSize, Period};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::listen::{Receive, Receiving, queue, zero};
use crate::{
    Class, Error, Framer, FramingSpec, MetadataColumn, Peek, Producer, Promise, SourceContext, SourceSpec,
    inbox::{Inbox, Letterbox, Sent},
};

/// Standard input, as in `{framing: {type: lines}}`. The offset counts messages, over all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StdinSpec {
    /// Where messages end, as in `{type: lines}`.
    #[serde(default)]
    pub framing: FramingSpec,
    /// Bytes read but not yet decoded, as in `16MiB`; when full, the writer has to wait.
    #[serde(default = "queue")]
    pub queue: ByteSize,
    /// Columns added to every row, as in `[offset, timestamp]`; the timestamp is the time of arrival.
    #[serde(default)]
    pub metadata: Vec<MetadataColumn>,
}

impl SourceSpec for StdinSpec {
    fn reach(&self) -> Option<Reach> {
        Some(Reach::Files)
    }

    fn reads(&self) -> String {
        "standard input".into()
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        self.framing.problem().or_else(|| zero("queue", self.queue.0))
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &self.metadata
    }

    fn framing(&self) -> Option<&FramingSpec> {
        Some(&self.framing)
    }

    fn exclusive(&self) -> Option<&'static str> {
        Some("standard input")
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        let uses_first_record = context.decoder.uses_first_record() && self.framing.kind.has_records();
        let stdin = Stdin { framing: self.framing.clone(), uses_first_record };
        Ok(Box::new(Receiving::new(stdin, self.queue, Period(Duration::ZERO))))
    }

    fn peek(&self) -> Peek {
        Peek::Harmless
    }

    fn promise(&self) -> Promise {
        let but = "what was read but not committed is lost if the host dies, and a pipe cannot be read again; write a file and use the `files` plugin";
        Promise { class: Class::Push, guarantee: None, but }
    }
}

/// Bytes read at once.
const READ: usize = 64 << 10;
/// Messages that take so much are passed on without waiting for more of what was read.
const FULL: usize = 4 << 20;

/// Whether a pipeline of this process reads standard input, or did.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Reads standard input.
#[derive(Debug)]
struct Stdin {
    framing: FramingSpec,
    uses_first_record: bool,
}

#[async_trait]
impl Receive for Stdin {
    const LABEL: &'static str = "stdin";

    fn ends(&self) -> bool {
        true
    }

    async fn open(&mut self, inbox: &mut Inbox) -> Result<Option<SocketAddr>, Error> {
        let framer = Framer::new(&self.framing)?;
        // A pipeline that starts again after trouble must not go on behind what it has lost.
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(Error::StdinTaken);
        }
        let uses_first_record = self.uses_first_record;
        inbox.fill(move |letterbox, stop| relay(stdin(), framer, uses_first_record, letterbox, stop));
        Ok(None)
    }
}

/// Passes messages of `input` on until it ends or is stopped. The thread that reads may outlive this: nothing can end a read.
async fn relay(
    input: impl Read + Send + 'static,
    framer: Framer,
    uses_first_record: bool,
    letterbox: Letterbox,
    stop: CancellationToken,
) {
    let (pieces, mut framed) = mpsc::channel(1);
    let runtime = Handle::current();
    thread::spawn(move || {
        runtime.block_on(async {
            // Without a word, the end of this thread would be the end of the input.
            if let Err(what) = caught(read(input, framer, uses_first_record, pieces.clone())).await {
                drop(pieces.send(Err(Error::Panicked { doing: "the thread that reads standard input", what })).await);
            }
        })
    });
    loop {
        let piece = tokio::select! {
            // What is in the channel was read, and is taken too.
            biased;
            piece = framed.recv() => piece,
            () = stop.cancelled() => return,
        };
        let (values, first) = match piece {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => return letterbox.fail(error),
            None => return,
        };
        let Ok(room) = letterbox.room(values.room()).await else { return };
        if letterbox.put(Sent { values, first, key: None, wants_receipt: false }, room).is_err() {
            return;
        }
    }
}

/// Messages, and the first one of the stream where the decoder heeds it.
type Framed = (Blobs, Vec<u8>);

/// Reads and frames until the end, on a thread of its own.
async fn read(
    mut input: impl Read,
    mut framer: Framer,
    uses_first_record: bool,
    pieces: mpsc::Sender<Result<Framed, Error>>,
) {
    let mut buffer = vec![0; READ];
    loop {
        let count = match input.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                drop(pieces.send(Err(Error::Stdin { source: error })).await);
                return;
            }
            Ok(count) => count,
        };
        // A few bytes may unpack to many; and the end is a piece too.
        let read = buffer.get(..count).unwrap_or_default();
        let piece = framer.at_once();
        let parts = read.chunks(piece).map(Some).chain((count == 0).then_some(None));
        let mut values = Blobs::default();
        for (left, part) in (0..read.len().div_ceil(piece).max(1)).rev().zip(parts) {
            let framed = match part {
                None => framer.finish(&mut values),
                Some(bytes) => framer.push(bytes, &mut values),
            };
            if left > 0 && framed.is_ok() && values.room() < FULL {
                continue;
            }
            let first = framer.first().filter(|_| uses_first_record).unwrap_or_default().to_vec();
            if !values.is_empty() && pieces.send(Ok((std::mem::take(&mut values), first))).await.is_err() {
                return;
            }
            if let Err(error) = framed {
                drop(pieces.send(Err(error)).await);
                return;
            }
        }
        if count == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use spout_data::Marker;

    use super::*;
    use crate::{Durable, Found};

    /// Gives one byte at a time, then fails or ends.
    struct Slow(Vec<u8>, bool);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match (self.0.is_empty(), self.1) {
                (true, true) => Err(std::io::Error::other("it broke")),
                (true, false) => Ok(0),
                (false, _) => {
                    buffer[0] = self.0.remove(0);
                    Ok(1)
                }
            }
        }
    }

    /// The messages of `input`, and whether an error follows them.
    async fn messages(input: Slow) -> (Vec<String>, bool) {
        let mut inbox = Inbox::new(ByteSize(1000), Duration::ZERO);
        let framer = Framer::new(&FramingSpec::default()).unwrap();
        inbox.fill(|letterbox, stop| relay(input, framer, false, letterbox, stop));
        let mut fetcher = inbox.fetcher(Found::only(&Marker::default(), "stdin"), 0);
        let mut texts = Vec::new();
        loop {
            let Ok(fetched) = fetcher.fetch(u32::MAX).await else { return (texts, true) };
            let values = &fetched.messages.values;
            texts.extend((0..values.len()).map(|index| String::from_utf8_lossy(values.get(index)).into_owned()));
            let positions = [(spout_data::PartitionId::default(), fetched.span.next)].into();
            inbox.committed(&Durable { commit: String::new(), sequence: 0, positions, dead: Vec::new() });
            if fetched.progress == spout_plugin::Progress::Ended {
                return (texts, false);
            }
        }
    }

    #[tokio::test]
    async fn it_ends_where_the_input_ends() {
        let expected = ["a", "bc", "d"].map(str::to_owned).to_vec();
        assert_eq!(messages(Slow(b"a\nbc\nd".to_vec(), false)).await, (expected, false));
        assert_eq!(messages(Slow(Vec::new(), false)).await, (Vec::new(), false));
        assert_eq!(messages(Slow(b"a\nb".to_vec(), true)).await, (vec!["a".to_owned()], true));
    }
}
