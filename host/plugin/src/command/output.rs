//! Where a command writes its archives: `/pfs/out`, or its standard output.
//!
//! `/pfs/out` is no file. Opening it for writing begins an [`Output`], closing it ends that; opened again while it is open, both
//! handles write into the same one, as with a FIFO. At most one closed output waits for its reader; the next open waits too.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use tokio::{io::AsyncWrite, sync::mpsc};
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use super::pipe::{Output, Writer, WritingEnd, pipe};

/// The outputs of one command, and who may write them.
#[derive(Debug)]
pub(crate) struct Outputs {
    to: mpsc::Sender<Output>,
    /// The one that is open.
    current: Weak<WritingEnd>,
    /// By descriptor of the guest.
    open: HashMap<u32, Writer>,
    /// The file that stands in the place of `/pfs/out`; none where standard output is the only one.
    stand_in: Option<StandIn>,
    /// What the guest may compute from one call to the host to the next.
    pub(crate) ticks: u64,
}

/// A file that stands in the place of the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandIn((u64, u64));

impl StandIn {
    /// Whether `file` is that.
    pub(super) fn is(self, file: &fs::File) -> bool {
        file.metadata().is_ok_and(|about| identity(&about) == self.0)
    }
}

impl Outputs {
    pub(super) fn new(to: mpsc::Sender<Output>, stand_in: Option<&Path>) -> std::io::Result<Self> {
        let stand_in = stand_in.map(fs::metadata).transpose()?.map(|about| StandIn(identity(&about)));
        Ok(Self { to, current: Weak::new(), open: HashMap::new(), stand_in, ticks: 0 })
    }

    /// The file that stands in the place of the output.
    pub(super) fn stand_in(&self) -> Option<StandIn> {
        self.stand_in
    }

    /// What an open of the output writes to, once its reader has come so far; the receiver of outputs may be gone.
    pub(super) async fn begin(&mut self) -> std::io::Result<Writer> {
        if let Some(current) = self.current.upgrade() {
            return Ok(Writer(current));
        }
        let (writer, output) = pipe();
        self.to.send(output).await.map_err(|_| super::pipe::broken())?;
        self.current = Arc::downgrade(&writer.0);
        Ok(writer)
    }

    pub(super) fn hold(&mut self, descriptor: u32, writer: Writer) {
        self.open.insert(descriptor, writer);
    }

    pub(super) fn release(&mut self, descriptor: u32) {
        self.open.remove(&descriptor);
    }

    /// A stream into the output that `descriptor` has open, if it is one.
    pub(super) fn stream(&self, descriptor: u32) -> Option<Box<dyn OutputStream>> {
        let writer = self.open.get(&descriptor)?.clone();
        Some(Box::new(Stream(writer)))
    }

    pub(super) fn writer(&self, descriptor: u32) -> Option<Writer> {
        self.open.get(&descriptor).cloned()
    }
}

fn identity(about: &fs::Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

/// A guest's stream into an output.
struct Stream(Writer);

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // A guest knows a closed stream as a broken pipe.
        self.0.write(bytes).map_err(|_| StreamError::Closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.room().map_err(|_| StreamError::Closed)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        self.0.ready().await;
    }
}

/// Standard output as the one output that there is.
pub(super) struct Standard(pub(super) Writer);

impl IsTerminal for Standard {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Standard {
    /// Only guests of WASI 0.3 would write here, which are not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Stream(self.0.clone()))
    }
}
