//! How much a plugin has added to the disk, over all its instances: what files grow by, and a little for each that it makes.
//!
//! What was there before is not its own. What it removes is given back, but not at once: only when the quota seems used up are the
//! granted directories looked through for what is still there. So it does not matter who removed a file, nor how. A file that has lost
//! its name counts for as long as somebody has it open.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use spout_base::clock::{self, Instant};
use spout_data::ByteSize;

use crate::log::{Level, Log};

/// What a file or a directory costs on top of its bytes.
const EACH: u64 = 4096;

/// Most files that the granted directories are looked through for: what has more is not looked through.
const MOST: usize = 100_000;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// How long is waited for a look: nobody else can write meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// What was known when a look began, and what of it is there, files with their sizes.
type Found = (HashSet<Id>, HashMap<Id, Option<u64>>);

/// A file or directory, whatever its name.
type Id = (u64, u64);

/// What one plugin has added.
#[derive(Debug, Default)]
pub(crate) struct Disk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    used: u64,
    files: HashMap<Id, Added>,
    looked: Option<Instant>,
    /// What is still looking.
    looking: Option<mpsc::Receiver<Found>>,
    told: bool,
}

/// What was added to one file.
#[derive(Clone, Copy, Debug, Default)]
struct Added {
    bytes: u64,
    /// Where it ends, with what is on its way.
    end: u64,
    /// How often it is open for writing.
    open: u32,
}

/// How much may be added, and where.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) most: u64,
    /// The directories that may be written to.
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) log: Log,
}

/// A file that is open for writing.
#[derive(Debug)]
pub(crate) struct Writing {
    disk: Arc<Disk>,
    id: Id,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file was opened for writing, and may have been made, or emptied, by that.
    pub(crate) fn opened(self: &Arc<Self>, about: &fs::Metadata, made: bool, emptied: bool) -> Writing {
        let id = (about.dev(), about.ino());
        let mut state = self.state();
        let new = !state.files.contains_key(&id);
        let added = state.files.entry(id).or_insert(Added { end: about.len(), ..Added::default() });
        added.open += 1;
        if new && made && about.len() == 0 {
            added.bytes = EACH;
            state.used += EACH;
        } else if emptied {
            state.cut(id, 0);
        }
        drop(state);
        Writing { disk: Arc::clone(self), id }
    }

    /// A directory or a link was made.
    pub(crate) fn made(&self, about: &fs::Metadata) {
        let mut state = self.state();
        if state.files.insert((about.dev(), about.ino()), Added { bytes: EACH, ..Added::default() }).is_none() {
            state.used += EACH;
        }
    }

    /// Whether one more file or directory may be made.
    pub(crate) fn has_room(&self, room: &Room) -> bool {
        self.state().fits(EACH, room)
    }
}

impl Writing {
    /// Whether `bytes` may be written at `offset`, or at the end.
    pub(crate) fn may_write(&self, offset: Option<u64>, bytes: u64, room: &Room) -> bool {
        let mut state = self.disk.state();
        let end = state.files.get(&self.id).map_or(0, |added| added.end);
        let wanted = offset.unwrap_or(end).saturating_add(bytes);
        let more = wanted.saturating_sub(end);
        if more == 0 {
            return true;
        }
        if !state.fits(more, room) {
            return false;
        }
        state.used += more;
        if let Some(added) = state.files.get_mut(&self.id) {
            added.bytes += more;
            added.end = added.end.max(wanted);
        }
        true
    }

    /// Whether it may end at `size`.
    pub(crate) fn may_end_at(&self, size: u64, room: &Room) -> bool {
        self.may_write(Some(size), 0, room)
    }

    /// It ends at `size` now.
    pub(crate) fn ends_at(&self, size: u64) {
        self.disk.state().cut(self.id, size);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if let Some(added) = state.files.get_mut(&self.id) {
            added.open = added.open.saturating_sub(1);
            if added.open == 0 && added.bytes == 0 {
                state.files.remove(&self.id);
            }
        }
    }
}

impl State {
    fn fits(&mut self, more: u64, room: &Room) -> bool {
        let fits = |state: &Self| state.used.saturating_add(more) <= room.most;
        if fits(self) {
            return true;
        }
        let now = clock::now();
        if self.looked.is_none_or(|looked| now.duration_since(looked) >= PAUSE) {
            self.looked = Some(now);
            self.look(&room.dirs, PATIENCE);
        }
        let fits = fits(self);
        if !fits && !self.told {
            self.told = true;
            let most = ByteSize(room.most);
            let what =
                format!("the plugin has added {most} to the disk, as much as `limits.disk` allows; it gets no more");
            room.log.write(Level::Warn, &what, &[]);
        }
        fits
    }

    /// `id` ends at `size`, which may give bytes back.
    fn cut(&mut self, id: Id, size: u64) {
        if let Some(added) = self.files.get_mut(&id) {
            let back = added.end.saturating_sub(size).min(added.bytes);
            added.bytes -= back;
            added.end = size;
            self.used = self.used.saturating_sub(back);
        }
    }

    /// Counts anew, by what is in `dirs`. A file system that takes longer than `patience` is looked at by one thread for as long as
    /// it likes, and what that has found counts when it is asked for again.
    fn look(&mut self, dirs: &[PathBuf], patience: Duration) {
        let looking = match self.looking.take() {
            Some(looking) => looking,
            None => {
                let (known, dirs): (HashSet<Id>, _) = (self.files.keys().copied().collect(), dirs.to_vec());
                let (tell, looking) = mpsc::sync_channel(1);
                let look = move || {
                    if let Some(found) = found(dirs, &known) {
                        // Whoever asked may have gone.
                        drop(tell.send((known, found)));
                    }
                };
                if thread::Builder::new().name("spout-disk".into()).spawn(look).is_err() {
                    return;
                }
                looking
            }
        };
        match looking.recv_timeout(patience) {
            Ok((known, found)) => self.count(&known, &found),
            Err(RecvTimeoutError::Timeout) => self.looking = Some(looking),
            Err(RecvTimeoutError::Disconnected) => {}
        }
    }

    /// Counts anew, by what was `found` of the `known`.
    fn count(&mut self, known: &HashSet<Id>, found: &HashMap<Id, Option<u64>>) {
        for (id, size) in found {
            // What is written to a file that is open may still be on its way.
            if let Some(size) = size
                && self.files.get(id).is_some_and(|added| added.open == 0)
            {
                self.cut(*id, *size);
            }
        }
        self.files.retain(|id, added| added.open > 0 || found.contains_key(id) || !known.contains(id));
        self.used = self.files.values().map(|added| added.bytes).sum();
        self.told = false;
    }
}

/// Which of the `known` are in `dirs`, files with their sizes; nothing where there is too much to look through.
fn found(dirs: Vec<PathBuf>, known: &HashSet<Id>) -> Option<HashMap<Id, Option<u64>>> {
    let (mut found, mut seen) = (HashMap::new(), 0);
    let mut left = dirs;
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            seen += 1;
            let Ok(about) = entry.metadata() else { continue };
            let id = (about.dev(), about.ino());
            if known.contains(&id) {
                found.insert(id, about.is_file().then_some(about.len()));
            }
            if about.is_dir() {
                left.push(entry.path());
            }
        }
        if seen > MOST {
            return None;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn room(dir: &tempfile::TempDir, most: u64) -> Room {
        Room { most, dirs: vec![dir.path().to_owned()], log: Log::new("p", "q", 1 << 20) }
    }

    #[test]
    fn a_file_costs_what_it_grows_by_and_gives_it_back_when_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, room, path) = (Arc::new(Disk::default()), room(&dir, 100 + EACH), dir.path().join("a"));
        let mut file = fs::File::create(&path).unwrap();
        let writing = disk.opened(&file.metadata().unwrap(), true, true);
        assert!(writing.may_write(None, 60, &room) && writing.may_write(Some(10), 50, &room));
        file.write_all(&[7; 60]).unwrap();
        assert!(writing.may_write(None, 40, &room) && !writing.may_write(None, 1, &room));
        assert!(!writing.may_end_at(1 << 40, &room));
        // Cut, it has room again.
        writing.ends_at(60);
        assert!(writing.may_write(Some(60), 40, &room) && !writing.may_write(None, 1, &room));
        file.write_all(&[7; 40]).unwrap();

        // Without a name it counts as long as it is open.
        fs::remove_file(&path).unwrap();
        let mut other = fs::File::create(dir.path().join("b")).unwrap();
        disk.state().looked = None;
        assert!(!disk.has_room(&room));
        drop(writing);
        disk.state().looked = None;
        assert!(disk.has_room(&room));
        let beside = disk.opened(&other.metadata().unwrap(), true, false);
        assert!(beside.may_write(None, 100, &room));
        other.write_all(&[7; 100]).unwrap();
        drop(beside);
        disk.state().looked = None;
        assert!(!disk.has_room(&room), "it is still there");
    }

    #[test]
    fn what_was_there_is_not_its_own_and_every_file_costs_something() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, room) = (Arc::new(Disk::default()), room(&dir, 3 * EACH));
        let path = dir.path().join("large");
        fs::write(&path, vec![7; 1 << 20]).unwrap();
        let large = disk.opened(&fs::metadata(&path).unwrap(), true, false);
        assert!(large.may_write(Some(0), 1 << 20, &room) && large.may_write(None, 1, &room));
        let made = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, "").unwrap();
            disk.has_room(&room) && {
                drop(disk.opened(&fs::metadata(&path).unwrap(), true, false));
                true
            }
        };
        assert_eq!(["a", "b", "c"].map(made), [true, true, false]);
    }
}
