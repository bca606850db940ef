//! The output repo of a spout under test, in memory.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
};

use crate::{
    Batch, Error, Result,
    spout::{
        Mode, Pfs, PfsFile,
        repo::{Repo as Kept, RepoCommit, RepoFiles, RepoWriter},
    },
    transformer::{Given, InputFile, Output, Transformer},
};

/// Commits that may be open at once, as in a pipeline.
const OPEN: usize = 1000;

/// The output repo of a spout under test: what it has finished, and nothing else. Run the spout again on the same one to see
/// that it continues from its marker.
///
/// Rows of the pipeline are kept as they were put; there is no handler. Files that were made of rows have no bytes here.
#[derive(Clone, Default)]
pub struct Repo(Rc<RefCell<State>>);

#[derive(Clone, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    tables: BTreeMap<String, Vec<Batch>>,
    rows: Vec<Batch>,
    marker: Option<Vec<u8>>,
    commits: u64,
    open: usize,
    /// Commits after which every call fails, as if the host had been killed.
    fails_after: Option<u64>,
}

impl Repo {
    /// The repo as a spout sees it.
    #[must_use]
    pub fn pfs(&self) -> Pfs {
        Pfs::new(Self(Rc::clone(&self.0)))
    }

    /// The same, where the spout cannot finish more than `commits` commits: as if the host were killed then.
    #[must_use]
    pub fn pfs_until(&self, commits: u64) -> Pfs {
        self.0.borrow_mut().fails_after = Some(self.commits() + commits);
        self.pfs()
    }

    /// How many commits were finished that have something in them.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.0.borrow().commits
    }

    /// The bytes of a file.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.borrow().files.get(path).cloned()
    }

    /// What was put as rows of the pipeline, put by put.
    #[must_use]
    pub fn rows(&self) -> Vec<Batch> {
        self.0.borrow().rows.clone()
    }

    /// What was put as the table at `path`, put by put.
    #[must_use]
    pub fn table(&self, path: &str) -> Vec<Batch> {
        self.0.borrow().tables.get(path).cloned().unwrap_or_default()
    }

    /// The marker of the newest commit.
    #[must_use]
    pub fn marker(&self) -> Option<Vec<u8>> {
        self.0.borrow().marker.clone()
    }
}

/// What a transformer makes of a file: a repo with its output, and nothing else. Rows that became a file are in [`Repo::table`].
///
/// # Errors
/// Those of the transformer.
pub fn transform<T: Transformer>(settings: T::Settings, path: &str, bytes: &[u8]) -> Result<Repo> {
    let repo = Repo::default();
    let commit = repo.begin()?;
    let file = Whole { path: canonical(path)?, bytes };
    T::transform(settings, InputFile::new(&file), &Output::new(commit.as_ref()))?;
    commit.finish()?;
    Ok(repo)
}

/// The file that a transformer is tried with.
struct Whole<'a> {
    path: String,
    bytes: &'a [u8],
}

impl Given for Whole<'_> {
    fn path(&self) -> String {
        self.path.clone()
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, start: u64, length: u32) -> Result<Vec<u8>> {
        let from = usize::try_from(start).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(self.bytes.iter().skip(from).take(length as usize).copied().collect())
    }
}

impl fmt::Debug for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repo").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

fn file(path: &str, bytes: &[u8]) -> PfsFile {
    PfsFile { path: path.to_owned(), size: bytes.len() as u64, sha256: String::new(), rows: None }
}

fn canonical(path: &str) -> Result<String> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    if inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        Err(Error::fatal("pfs.E0516", format!("`{path}` is not the path of a file")))
    } else {
        Ok(format!("/{inner}"))
    }
}

impl Kept for Repo {
    fn marker(&self) -> Option<Vec<u8>> {
        Self::marker(self)
    }

    fn begin(&self) -> Result<Box<dyn RepoCommit>> {
        let mut state = self.0.borrow_mut();
        if state.open >= OPEN {
            return Err(Error::fatal("pfs.E0336", format!("{OPEN} commits are open")));
        }
        state.open += 1;
        Ok(Box::new(Open { repo: self.clone(), puts: Rc::default(), marker: None }))
    }

    fn list(&self, below: &str, after: Option<&str>, limit: u32) -> Result<Vec<PfsFile>> {
        let below = format!("{}/", below.trim_end_matches('/'));
        let state = self.0.borrow();
        let files = state.files.iter().filter(|(path, _)| path.starts_with(&below));
        let files = files.filter(|(path, _)| after.is_none_or(|after| path.as_str() > after));
        Ok(files.take(limit as usize).map(|(path, bytes)| file(path, bytes)).collect())
    }

    fn inspect(&self, path: &str) -> Result<Option<PfsFile>> {
        Ok(self.0.borrow().files.get(&canonical(path)?).map(|bytes| file(path, bytes)))
    }

    fn read(&self, path: &str, start: u64, length: u32) -> Result<Vec<u8>> {
        let state = self.0.borrow();
        let bytes = state.files.get(&canonical(path)?);
        let bytes = bytes.ok_or_else(|| Error::fatal("pfs.E0339", format!("the newest commit has no file {path}")))?;
        let from = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes.iter().skip(from).take(length as usize).copied().collect())
    }
}

/// One change of an open commit.
enum Put {
    File(String, Mode, Vec<u8>),
    Table(String, Mode, Batch),
    Rows(Batch),
    Delete(String),
}

type Puts = Rc<RefCell<Vec<Put>>>;

struct Open {
    repo: Repo,
    puts: Puts,
    marker: Option<Vec<u8>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.repo.0.borrow_mut().open -= 1;
    }
}

impl RepoFiles for Open {
    fn put_file(&self, path: &str, how: Option<Mode>, bytes: &[u8]) -> Result<()> {
        let put = Put::File(canonical(path)?, how.unwrap_or(Mode::Append), bytes.to_vec());
        self.puts.borrow_mut().push(put);
        Ok(())
    }

    fn open_file(&self, path: &str, how: Option<Mode>) -> Result<Box<dyn RepoWriter>> {
        let (path, how) = (canonical(path)?, how.unwrap_or(Mode::Append));
        Ok(Box::new(Writing { puts: Rc::clone(&self.puts), path, how, bytes: Vec::new() }))
    }

    fn put_batch(&self, path: Option<&str>, how: Option<Mode>, batch: Batch) -> Result<()> {
        let put = match path {
            Some(path) => Put::Table(canonical(path)?, how.unwrap_or(Mode::Append), batch),
            None => Put::Rows(batch),
        };
        self.puts.borrow_mut().push(put);
        Ok(())
    }

    fn delete_file(&self, path: &str) -> Result<()> {
        self.puts.borrow_mut().push(Put::Delete(canonical(path)?));
        Ok(())
    }
}

impl RepoCommit for Open {
    fn set_marker(&mut self, marker: &[u8]) -> Result<()> {
        self.marker = Some(marker.to_vec());
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<String> {
        let (puts, marker) = (self.puts.take(), self.marker.take());
        let mut state = self.repo.0.borrow_mut();
        if state.fails_after.is_some_and(|most| state.commits >= most) {
            return Err(Error::fatal("test.killed", "the test ends the run here"));
        }
        if !puts.is_empty() || marker.is_some() {
            let mut next = state.clone();
            next.commits += 1;
            next.marker = marker.or(next.marker);
            puts.into_iter().try_for_each(|put| next.put(put))?;
            *state = next;
        }
        Ok(state.commits.to_string())
    }
}

impl State {
    fn put(&mut self, put: Put) -> Result<()> {
        match put {
            Put::File(path, Mode::Append, bytes) => self.files.entry(path).or_default().extend(bytes),
            Put::File(path, Mode::Overwrite, bytes) => drop(self.files.insert(path, bytes)),
            Put::Table(path, Mode::Append, rows) => self.tables.entry(path).or_default().push(rows),
            Put::Table(path, Mode::Overwrite, rows) => drop(self.tables.insert(path, vec![rows])),
            Put::Rows(rows) => self.rows.push(rows),
            Put::Delete(path) => {
                let there = BTreeSet::from([self.files.remove(&path).is_some(), self.tables.remove(&path).is_some()]);
                if !there.contains(&true) {
                    return Err(Error::fatal("pfs.E0521", format!("there is no file {path} to delete")));
                }
            }
        }
        Ok(())
    }
}

struct Writing {
    puts: Puts,
    path: String,
    how: Mode,
    bytes: Vec<u8>,
}

impl RepoWriter for Writing {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend(bytes);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<u64> {
        let Self { puts, path, how, bytes } = *self;
        let size = bytes.len() as u64;
        puts.borrow_mut().push(Put::File(path, how, bytes));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::Columns;

    #[test]
    fn commits_are_whole_and_come_in_the_order_in_which_they_are_finished() {
        let repo = Repo::default();
        let pfs = repo.pfs();
        let (mut first, mut second, mut third) = (pfs.begin().unwrap(), pfs.begin().unwrap(), pfs.begin().unwrap());
        first.append("/a", "first").unwrap();
        second.append("/a", "second").unwrap();
        third.overwrite("/a", "third").unwrap();
        second.set_marker("2").unwrap();
        assert_eq!(second.finish().unwrap(), "1");
        first.finish().unwrap();
        assert_eq!((repo.read("/a"), repo.marker()), (Some(b"secondfirst".to_vec()), Some(b"2".to_vec())));
        drop(third);
        let mut fourth = pfs.begin().unwrap();
        let mut file = fourth.open_file("dir/b", None).unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(file.close().unwrap(), 10);
        drop(fourth.open_file("/abandoned", None).unwrap());
        fourth.put_rows(Columns::new().i64("n", [1, 2]).batch().unwrap()).unwrap();
        fourth.put_table("/t.csv", None, Columns::new().i64("n", [3]).batch().unwrap()).unwrap();
        fourth.delete_file("/a").unwrap();
        fourth.finish().unwrap();
        assert_eq!(pfs.list("/").unwrap().iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["/dir/b"]);
        assert_eq!(
            (pfs.read("/dir/b").unwrap(), pfs.read_at("/dir/b", 8, 5).unwrap()),
            (b"0123456789".to_vec(), b"89".to_vec())
        );
        assert_eq!((repo.rows()[0].rows(), repo.table("/t.csv")[0].rows(), repo.commits()), (2, 1, 3));
        // What cannot be made leaves nothing behind.
        let mut fifth = pfs.begin().unwrap();
        fifth.append("/c", "x").unwrap();
        fifth.delete_file("/nowhere").unwrap();
        assert!(fifth.finish().is_err() && repo.read("/c").is_none());
        assert_eq!(pfs.begin().unwrap().finish().unwrap(), "3");
        assert!(pfs.begin().unwrap().put("../x", "").is_err());
    }

    #[test]
    fn so_many_commits_are_open_at_once() {
        let pfs = Repo::default().pfs();
        let mut all: Vec<_> = (0..OPEN).map(|_| pfs.begin().unwrap()).collect();
        assert!(pfs.begin().is_err());
        all.pop();
        assert!(pfs.begin().is_ok());
    }
}
