//! Standard output, which is waited for as long as nobody wants this process to end.

use std::{
    io::{self, Stdout, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{AT_ONCE, PATIENCE, has_room};

/// What is written to where somebody may not read: who reads slowly holds up what is printed, and not the end of the process.
#[derive(Debug)]
pub(crate) struct Ending<W> {
    into: W,
    /// What says that the end is wanted, in a process that waits for signals; others end by them, whatever they write just then.
    ending: Option<Arc<AtomicBool>>,
    /// How long who does not read is waited for, if there is an end to it.
    longest: Option<Duration>,
    /// Nobody reads, or ever will.
    gone: bool,
}

impl Ending<Stdout> {
    pub(crate) fn new() -> Self {
        Self::into(io::stdout())
    }
}

impl<W> Ending<W> {
    fn into(into: W) -> Self {
        Self { into, ending: None, longest: None, gone: false }
    }

    /// What says, once it is true, that this process is to end: from then on who does not read counts as gone.
    pub(crate) fn ending(&mut self) -> Arc<AtomicBool> {
        Arc::clone(self.ending.get_or_insert_default())
    }

    /// Whether the end is wanted.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.load(Ordering::SeqCst))
    }

    /// From now on, who does not read for `longest` counts as gone.
    pub(crate) fn wait_at_most(&mut self, longest: Duration) {
        self.longest = Some(longest);
    }
}

impl<W: Write + AsFd> Write for Ending<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ending.is_none() {
            return self.into.write(bytes);
        }
        let mut waited = Duration::ZERO;
        while !self.gone {
            let ending = self.is_ending();
            if has_room(&self.into, PATIENCE)? {
                // Past the buffer of standard output, which would add what it still has.
                return Ok(rustix::io::write(&self.into, &bytes[..bytes.len().min(AT_ONCE)])?);
            }
            waited += PATIENCE;
            self.gone = ending || self.longest.is_some_and(|longest| waited >= longest);
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.ending.is_none() { self.into.flush() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_read_is_waited_for_until_the_end_is_wanted() {
        let (reader, writer) = io::pipe().unwrap();
        let mut out = Ending::into(writer);
        let ending = out.ending();
        let writing = std::thread::spawn(move || out.write_all(&vec![b'x'; 1 << 20]).unwrap_err().kind());
        ending.store(true, Ordering::SeqCst);
        assert_eq!(writing.join().unwrap(), io::ErrorKind::BrokenPipe);
        drop(reader);
    }

    #[test]
    fn who_reads_gets_all() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut out = Ending::into(writer);
        out.ending().store(true, Ordering::SeqCst);
        let writing = std::thread::spawn(move || out.write_all(&vec![b'x'; 1 << 20]));
        let mut all = Vec::new();
        io::Read::read_to_end(&mut reader, &mut all).unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(all.len(), 1 << 20);
    }
}
