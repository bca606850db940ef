//! The granted directory, and how many of its files are open. The only file that touches the file system.

use std::{cell::Cell, io, rc::Rc};

use spout_folder::{File, Root};
pub(crate) use spout_folder::{Kind, Listing, Stat};

use crate::mark::Content;

/// A granted directory. It counts what it is asked, and the files that are open.
#[derive(Debug)]
pub(crate) struct Disk {
    root: Root,
    open: Rc<Cell<usize>>,
    #[cfg(test)]
    pub(crate) asked: Asked,
}

/// How often a directory was asked.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) lists: Cell<usize>,
    pub(crate) stats: Cell<usize>,
    pub(crate) opens: Cell<usize>,
    /// The most files that were open at once.
    pub(crate) most: Cell<usize>,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Handle {
    file: File,
    open: Rc<Cell<usize>>,
}

impl Disk {
    pub(crate) fn open(topic: &str) -> io::Result<Self> {
        let (root, open) = (Root::open(topic)?, Rc::default());
        Ok(Self {
            root,
            open,
            #[cfg(test)]
            asked: Asked::default(),
        })
    }

    pub(crate) fn list(&self, below: &str) -> io::Result<Listing> {
        #[cfg(test)]
        self.asked.lists.update(|count| count + 1);
        self.root.list(below)
    }

    pub(crate) fn stat(&self, path: &str) -> io::Result<Stat> {
        #[cfg(test)]
        self.asked.stats.update(|count| count + 1);
        self.root.stat(path)
    }

    pub(crate) fn open_file(&self, path: &str) -> io::Result<Handle> {
        let file = self.root.open_file(path)?;
        self.open.set(self.open.get() + 1);
        #[cfg(test)]
        {
            self.asked.opens.update(|count| count + 1);
            self.asked.most.update(|most| most.max(self.open.get()));
        }
        Ok(Handle { file, open: Rc::clone(&self.open) })
    }

    /// Files that are open now.
    pub(crate) fn open_files(&self) -> usize {
        self.open.get()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}

impl Handle {
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        self.file.stat()
    }

    /// Reads up to `length` bytes at `from` into the end of `into`, fewer only at the end of the file; how many came.
    pub(crate) fn fill(&self, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        self.file.fill(from, length, into)
    }
}

impl Content for &Handle {
    fn bytes(&mut self, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        self.fill(from, length, &mut bytes)?;
        Ok(bytes)
    }
}
