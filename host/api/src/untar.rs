//! Tar archives into files of a commit, entry by entry while they are read.

use spout_archive::{Archives, Step, Unpacked};
use spout_repo::{PutMode, path::file_path};

use crate::{Body, Error, Putting, Result, join};

/// Where the entries of an archive go.
#[derive(Clone, Copy, Debug)]
pub struct Untar<'a> {
    /// How errors call the archive.
    pub origin: &'a str,
    /// The directory that they go below.
    pub below: &'a str,
    /// Whether they replace files of their names.
    pub how: PutMode,
    /// Bytes that it may have, unpacked, and that its files may have together.
    pub most: u64,
}

/// Puts the entries of the archives in `body`, which may be packed with gzip.
///
/// # Errors
/// [`Error::Archive`] for what is no whole archive, or has an entry that is no file of a repo; those of putting, with the entry.
pub(crate) async fn untar(into: &mut dyn Putting, to: Untar<'_>, body: Body<'_>) -> Result<()> {
    let Untar { origin, below, how, most } = to;
    let mut archives = Archives::new(Unpacked::new(body, most), origin);
    let (mut files, mut left) = (0_u64, most);
    loop {
        match archives.next().await? {
            Step::Entry(entry) if entry.path.starts_with('/') => {
                return Err(archives
                    .refused("its name begins with a slash; archive it without --absolute-names")
                    .into());
            }
            Step::Entry(entry) => {
                let many =
                    || archives.refused(format!("with it, the files have more than the {most} bytes that they may"));
                left = left.checked_sub(entry.size).ok_or_else(many)?;
                let put = match file_path(&join(below, &entry.path)) {
                    Ok(path) => into.file(&path, how, Box::new(archives.content())).await,
                    Err(error) => Err(error.into()),
                };
                match (put, archives.broken()) {
                    (_, Some(cut)) => return Err(cut.into()),
                    (Err(source), None) => return Err(Error::Entry { place: archives.place(), source: source.into() }),
                    (Ok(_), None) => files += 1,
                }
            }
            Step::End => {}
            Step::Over if files == 0 => return Err(Error::NoFiles { origin: origin.to_owned(), what: "files" }),
            Step::Over => return Ok(()),
        }
    }
}
