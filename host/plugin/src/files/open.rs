//! Opens a file of a granted directory without ever waiting for anybody: a pipe or a device is refused, whoever put it there, and
//! whenever.
//!
//! The system resolves the path below the directory, and opens what it finds without blocking; what was opened is what is looked at,
//! so a file that is exchanged meanwhile changes nothing. Devices are not even opened, but for one that takes the place of a file
//! in between.

use std::{fs, io};

use rustix::fs::{FileType, Mode, OFlags};
use wasmtime::component::Resource;
use wasmtime_wasi::{
    filesystem::{Descriptor, Dir, File, OpenMode},
    p2::{
        FsError, FsResult,
        bindings::filesystem::types::{
            DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
        },
    },
};

use crate::{
    host::{Held, Hit},
    log::Level,
    quotas::Of,
};

/// How often a path is resolved anew while directories above it are renamed.
const TRIES: u32 = 8;

/// What a guest wants to open, and how.
#[derive(Clone, Debug)]
struct Wish {
    path: String,
    flags: OFlags,
    mode: OpenMode,
    /// It must be a directory.
    directory: bool,
}

/// Opens `path`, as `open-at` of WASI does.
pub(crate) async fn open_at(
    held: &mut Held,
    within: Resource<Descriptor>,
    how: PathFlags,
    path: String,
    open: OpenFlags,
    flags: DescriptorFlags,
) -> FsResult<Resource<Descriptor>> {
    held.room_for_file()?;
    let mut opened = open_counted(held, within, how, path, open, flags).await;
    if let Ok(file) = &opened
        && let Err(error) = held.watch(file, open).await
    {
        opened = Err(error);
    }
    if opened.is_err() {
        held.file_closed();
    }
    opened
}

async fn open_counted(
    held: &mut Held,
    within: Resource<Descriptor>,
    how: PathFlags,
    path: String,
    open: OpenFlags,
    flags: DescriptorFlags,
) -> FsResult<Resource<Descriptor>> {
    let Descriptor::Dir(dir) = held.table.get(&within)? else { return Err(ErrorCode::NotDirectory.into()) };
    let dir = dir.clone();
    held.room_on_disk(open)?;
    if !resolve::AVAILABLE.with_system() {
        return open_looked_at(held, within, how, path, open, flags).await;
    }
    let wish = Wish::new(path, how, open, flags)?;
    if dir.perms.write_not_permitted() && wish.mode.contains(OpenMode::WRITE) {
        return Err(ErrorCode::NotPermitted.into());
    }
    let (named, mode, blocks, perms) = (wish.path.clone(), wish.mode, held.blocks, dir.perms);
    let opened = held.blocking(move || wish.open(&dir.dir)).await.map_err(FsError::trap)?;
    let descriptor = match opened? {
        Opened::Directory(opened) => Descriptor::Dir(Dir::new(opened, perms, mode, blocks)),
        Opened::File(opened) => Descriptor::File(File::new(opened, perms, mode, blocks)),
        Opened::Special => return Err(held.refuse(&named)),
    };
    Ok(held.table.push(descriptor)?)
}

/// The same where the system resolves no paths for us: what is there is looked at before it is opened.
async fn open_looked_at(
    held: &mut Held,
    within: Resource<Descriptor>,
    how: PathFlags,
    path: String,
    open: OpenFlags,
    flags: DescriptorFlags,
) -> FsResult<Resource<Descriptor>> {
    let looked = HostDescriptor::stat_at(held, Resource::new_borrow(within.rep()), how, path.clone()).await;
    if let Ok(about) = looked
        && !matches!(
            about.type_,
            DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink
        )
    {
        return Err(held.refuse(&path));
    }
    HostDescriptor::open_at(held, within, how, path, open, flags).await
}

impl Held {
    /// Whether it may open one more file.
    fn room_for_file(&mut self) -> FsResult<()> {
        let open = self.table.iter_mut().filter(|entry| entry.is::<Descriptor>()).count() as u64;
        if self.shares.files.set(open + 1, u64::from(self.limits.open_files())) {
            return Ok(());
        }
        self.hit = Some(Hit::Together(Of::Files));
        Err(FsError::trap(wasmtime::Error::msg("files limit")))
    }

    /// A descriptor was closed.
    pub(crate) fn file_closed(&mut self) {
        let open = self.table.iter_mut().filter(|entry| entry.is::<Descriptor>()).count() as u64;
        self.shares.files.set(open, u64::MAX);
    }

    /// Counts what was made at `path`.
    pub(super) async fn made(&mut self, within: &Resource<Descriptor>, path: String) -> FsResult<()> {
        let Descriptor::Dir(dir) = self.table.get(within)? else { return Ok(()) };
        let dir = dir.clone();
        let look = move || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            resolve::below(&dir.dir, &path, flags, Mode::empty()).ok().map(|made| made.metadata()).transpose()
        };
        if let Some(about) = self.blocking(look).await.map_err(FsError::trap)?? {
            self.shares.disk.made(&about);
        }
        Ok(())
    }

    /// What `work` comes to, which can take as long as a file system likes.
    pub(crate) async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> wasmtime::Result<T> {
        match self.threads() {
            Some(threads) => Ok(threads.block(work).await?),
            None => Ok(work()),
        }
    }

    fn refuse(&mut self, path: &str) -> FsError {
        let what = format!("`{path}` is a pipe, a socket or a device: only regular files and directories are opened");
        self.log.write(Level::Warn, &what, &[]);
        ErrorCode::NotPermitted.into()
    }
}

/// What was opened.
enum Opened {
    File(fs::File),
    Directory(fs::File),
    /// Something that waits for somebody, or drives a device.
    Special,
}

impl Wish {
    /// As WASI reads the flags.
    fn new(path: String, how: PathFlags, open: OpenFlags, flags: DescriptorFlags) -> Result<Self, ErrorCode> {
        use DescriptorFlags as Wanted;
        if flags.intersects(Wanted::FILE_INTEGRITY_SYNC | Wanted::DATA_INTEGRITY_SYNC | Wanted::REQUESTED_WRITE_SYNC) {
            return Err(ErrorCode::Unsupported);
        }
        let directory = open.contains(OpenFlags::DIRECTORY);
        if directory && open.intersects(OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE) {
            return Err(ErrorCode::Invalid);
        }
        let creates = open.contains(OpenFlags::CREATE);
        let truncates = open.contains(OpenFlags::TRUNCATE);
        let writes = creates || truncates || flags.contains(Wanted::WRITE);
        let reads = flags.contains(Wanted::READ) || !flags.contains(Wanted::WRITE);
        let mut how_opened = match (reads, writes) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            (_, false) => OFlags::RDONLY,
        };
        how_opened.set(OFlags::CREATE, creates);
        how_opened.set(OFlags::EXCL, creates && open.contains(OpenFlags::EXCLUSIVE));
        how_opened.set(OFlags::TRUNC, truncates);
        how_opened.set(OFlags::NOFOLLOW, !how.contains(PathFlags::SYMLINK_FOLLOW));
        let mut mode = OpenMode::empty();
        mode.set(OpenMode::READ, reads);
        mode.set(OpenMode::WRITE, writes);
        Ok(Self { path, flags: how_opened, mode, directory })
    }

    fn open(&self, dir: &fs::File) -> Result<Opened, ErrorCode> {
        let look = OFlags::PATH | (self.flags & OFlags::NOFOLLOW);
        match self.resolve(dir, look) {
            // Nothing there, which is an error unless it is created; or a link that is not followed.
            Err(_) => {}
            Ok(found) => {
                if let Some(Opened::Special) = kind(found).map_err(|error| ErrorCode::from(&error))? {
                    return Ok(Opened::Special);
                }
            }
        }
        let opened = self.resolve(dir, self.flags | OFlags::NONBLOCK | OFlags::NOCTTY);
        let opened = match opened {
            // A socket, or a pipe without a reader.
            Err(rustix::io::Errno::NXIO) => return Ok(Opened::Special),
            // What leads out of the directory is not there for the guest.
            Err(rustix::io::Errno::XDEV) => return Err(ErrorCode::NotPermitted),
            Err(error) => return Err(ErrorCode::from(&io::Error::from(error))),
            Ok(opened) => opened,
        };
        let opened = kind(opened).map_err(|error| ErrorCode::from(&error))?;
        match opened {
            Some(Opened::File(file)) if self.directory => {
                drop(file);
                Err(ErrorCode::NotDirectory)
            }
            Some(Opened::File(file)) => {
                // File systems of other processes see the flag, too.
                let flags = rustix::fs::fcntl_getfl(&file)
                    .and_then(|flags| rustix::fs::fcntl_setfl(&file, flags.difference(OFlags::NONBLOCK)));
                flags.map_err(|error| ErrorCode::from(&io::Error::from(error)))?;
                Ok(Opened::File(file))
            }
            Some(opened) => Ok(opened),
            None => Err(ErrorCode::Loop),
        }
    }

    fn resolve(&self, dir: &fs::File, flags: OFlags) -> rustix::io::Result<fs::File> {
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
        let mut tries = 0;
        loop {
            match resolve::below(dir, &self.path, flags | OFlags::CLOEXEC, mode) {
                Err(rustix::io::Errno::AGAIN) if tries < TRIES => tries += 1,
                opened => return opened,
            }
        }
    }
}

/// What `opened` is; nothing for a link.
fn kind(opened: fs::File) -> io::Result<Option<Opened>> {
    Ok(match FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) {
        FileType::RegularFile => Some(Opened::File(opened)),
        FileType::Directory => Some(Opened::Directory(opened)),
        FileType::Symlink => None,
        _ => Some(Opened::Special),
    })
}

/// Paths that do not leave a directory, as the system resolves them.
mod resolve {
    use std::{fs, sync::OnceLock};

    use rustix::{
        fs::{Mode, OFlags},
        io,
    };

    /// Whether this system can.
    pub(super) static AVAILABLE: Available = Available(OnceLock::new());

    pub(super) struct Available(OnceLock<bool>);

    impl Available {
        /// Old systems have no such call, and some containers forbid it.
        pub(super) fn with_system(&self) -> bool {
            *self.0.get_or_init(|| {
                fs::File::open("/").is_ok_and(|root| below(&root, ".", OFlags::PATH, Mode::empty()).is_ok())
            })
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn below(dir: &fs::File, path: &str, flags: OFlags, mode: Mode) -> io::Result<fs::File> {
        use rustix::fs::ResolveFlags;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(dir, path, flags, mode, within)?.into())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn below(_: &fs::File, _: &str, _: OFlags, _: Mode) -> io::Result<fs::File> {
        Err(io::Errno::NOSYS)
    }
}
