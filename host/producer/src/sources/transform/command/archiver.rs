//! From archives to commits.

use spout_archive::{Archives, Entry, Step};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use super::{Read, pfs::Pfs};
use crate::{
    Error,
    sources::transform::{commits::Commits, guest_commit::GuestCommit},
};

/// Makes a commit of each archive in `from`, one after the other.
///
/// # Errors
/// The first archive that is not sound or cannot be committed; those before it are.
pub(super) async fn commit_archives(
    from: impl AsyncRead + Unpin + Send,
    origin: &str,
    commits: &Commits,
    pfs: &Pfs,
    drained: &CancellationToken,
) -> Result<Read, Error> {
    let mut archives = Archives::new(from, origin);
    let mut open: Option<Filling> = None;
    loop {
        let step = if open.is_some() {
            archives.next().await.map_err(Error::archive)?
        } else {
            // Between two archives nothing is lost by stopping.
            tokio::select! {
                biased;
                step = archives.next() => step.map_err(Error::archive)?,
                () = drained.cancelled() => return Ok(Read::Stopped),
            }
        };
        match step {
            Step::Entry(entry) => {
                let filling = match &mut open {
                    Some(filling) => filling,
                    none => none.insert(Filling { commit: commits.begin()?, markers: Vec::new() }),
                };
                filling.put(&entry, &mut archives, pfs).await?;
            }
            Step::End => {
                let Some(Filling { commit, markers }) = open.take() else { continue };
                let committed = match commit.finish().await {
                    Ok(committed) => committed,
                    // The pipeline stopped: that is not the archive's fault.
                    Err(Error::SpoutOver) => return Err(Error::SpoutOver),
                    Err(error) => return Err(Error::uncommitted(archives.place_of_ended(), error)),
                };
                pfs.committed(commits, &committed, &markers).await?;
            }
            Step::Over => return Ok(Read::Over),
        }
    }
}

/// The commit of an archive that is being read, and its entries that are the marker.
struct Filling {
    commit: GuestCommit,
    markers: Vec<String>,
}

impl Filling {
    async fn put<R: AsyncRead + Unpin + Send>(
        &mut self,
        entry: &Entry,
        archives: &mut Archives<R>,
        pfs: &Pfs,
    ) -> Result<(), Error> {
        let put = if pfs.is_marker(&entry.path) {
            self.markers.push(entry.path.clone());
            self.commit.put_own_file(&entry.path, archives.content()).await
        } else {
            self.commit.put_file(&entry.path, None, archives.content()).await
        };
        match (put, archives.broken()) {
            (_, Some(error)) => Err(Error::archive(error)),
            (Err(error), None) => Err(Error::uncommitted(archives.place(), error)),
            (Ok(_), None) => Ok(()),
        }
    }
}
