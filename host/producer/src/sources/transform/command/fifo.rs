//! A FIFO that programs open, write to and close, as often as they like.
//!
//! Its reading end is open from the first to the last: who opens it to write between two streams neither waits nor meets a broken
//! pipe. While nobody writes, a writing end of our own keeps it from being at its end.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::OFlags;
use tokio::net::unix::pipe::Receiver;

#[derive(Debug)]
pub(super) struct Fifo {
    path: PathBuf,
    reading: File,
    /// While nobody else is known to write.
    idle: Option<File>,
}

impl Fifo {
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        // The program is on every Unix; the call is not in every Rust binding of one.
        let made = Command::new("mkfifo").args(["-m", "600"]).arg(path).status()?;
        if !made.success() {
            return Err(io::Error::other(format!("mkfifo failed with {made}")));
        }
        let reading = open(path, OpenOptions::new().read(true))?;
        let mut fifo = Self { path: path.to_owned(), reading, idle: None };
        fifo.keep()?;
        Ok(fifo)
    }

    /// What is written from here on, up to where nobody writes any more; at once, if nobody does and `last` is set. A new one is
    /// begun after each end.
    pub(super) async fn stream(&mut self, last: impl Future<Output = ()>) -> io::Result<Receiver> {
        self.keep()?;
        // A handle of its own each time: what one has seen of an end it never forgets.
        let receiver = Receiver::from_file(self.reading.try_clone()?)?;
        tokio::select! {
            biased;
            ready = receiver.readable() => ready?,
            () = last => {}
        }
        self.idle = None;
        Ok(receiver)
    }

    fn keep(&mut self) -> io::Result<()> {
        if self.idle.is_none() {
            self.idle = Some(open(&self.path, OpenOptions::new().write(true))?);
        }
        Ok(())
    }
}

fn open(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    how.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn write(path: PathBuf, texts: &'static [&'static str]) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || {
            for text in texts {
                File::options().write(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
            }
        })
    }

    #[tokio::test]
    async fn nothing_is_lost_however_fast_it_is_opened_and_closed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out");
        let mut fifo = Fifo::make(&path).unwrap();
        let writer = write(path, &["a"; 500]);
        let mut text = String::new();
        while text.len() < 500 {
            let mut stream = fifo.stream(std::future::pending()).await.unwrap();
            let before = text.len();
            stream.read_to_string(&mut text).await.unwrap();
            assert!(text.len() > before, "a stream has what was written");
        }
        writer.join().unwrap();
        // Nobody writes, and nobody will.
        let mut stream = fifo.stream(std::future::ready(())).await.unwrap();
        assert_eq!(stream.read_to_string(&mut text).await.unwrap(), 0);
    }
}
