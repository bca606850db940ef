//! One commit of the output: what a run of commits of the input has changed, and what the plugin makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

use serde_json::json;
use spout_base::error::{Coded as _, Kind, chain};
use spout_data::Counts;
use spout_plugin::{Backoff, Transformer};
use spout_repo::{CommitFiles, FileEntry};

use super::{
    super::{commits::Commits, guest_commit::GuestCommit},
    OnFailedFile,
    error::PerFileError,
    head::Head,
    index::{Datum, Index},
    output::{DatumInput, LentOutput, Output},
    per_file::PerFile,
};
use crate::{
    Error,
    sources::repo::{CommitRun, Cursor},
};

/// Crashes over one file after which it is given up.
const CRASHES: u32 = 3;

/// A commit that is being made of a run.
pub(super) struct Making<'a> {
    per_file: &'a PerFile,
    commits: &'a Commits,
    run: &'a CommitRun,
    head: Arc<Head>,
    index: Index,
    output: Output,
    /// What was made before, and is made anew or gone.
    released: BTreeSet<String>,
    /// Files that were given to the plugin, as messages, and those that were set aside.
    counts: Counts,
}

impl<'a> Making<'a> {
    pub(super) async fn new(per_file: &'a PerFile, commits: &'a Commits, run: &'a CommitRun) -> Result<Self, Error> {
        let commit = commits.begin()?;
        let output = Output { before: commit.point(), commit, owners: BTreeMap::new(), clash: None };
        let head = Arc::new(Head::of(commits).await?);
        let (index, released) = (Index::new(Arc::clone(&head)), BTreeSet::new());
        Ok(Self { per_file, commits, run, head, index, output, released, counts: Counts::default() })
    }

    /// Makes it of the files that the run has `touched`, or of all; nothing, if there is none.
    pub(super) async fn make(
        mut self,
        touched: Option<BTreeSet<String>>,
        cursor: &Cursor,
        transformer: &mut Transformer,
    ) -> Result<Option<GuestCommit>, Error> {
        let touched = match touched {
            Some(touched) => touched,
            None => self.all(cursor).await?,
        };
        if touched.is_empty() {
            return Ok(None);
        }
        let failed = |error| self.per_file.branch.failed("reading", error);
        let files = Arc::new(cursor.follower()?.repo().files_of(&self.run.added.commit).await.map_err(failed)?);
        for file in self.changed(touched, &files).await? {
            let (input, sha256) = (file.path.clone(), file.sha256.clone());
            let input_file = || DatumInput { files: Arc::clone(&files), file: file.clone() };
            let (output, made) = transform(self.output, self.per_file, transformer, input_file).await?;
            self.output = output;
            self.counts.messages += 1;
            let made = match made {
                Ok(()) => self.made_of(&input).await,
                Err(error) => Err(error),
            };
            let output = match made {
                Ok(output) => output,
                Err(error) => {
                    // It may still hold what it was writing.
                    transformer.renew();
                    BTreeSet::from([self.set_aside(&file, error).await?])
                }
            };
            self.index.put(Datum { input, sha256, output }).await?;
        }
        self.output.commit.count(&self.counts);
        self.index.write(&mut self.output.commit).await?;
        Ok(Some(self.output.commit))
    }

    /// All paths of the input that are chosen, and those of which something was made.
    async fn all(&mut self, cursor: &Cursor) -> Result<BTreeSet<String>, Error> {
        let failed = |error| self.per_file.branch.failed("reading", error);
        let all = cursor.follower()?.whole(self.run.added.commit.clone()).await.map_err(failed)?;
        let paths = all.files.into_iter().map(|file| file.path);
        let mut all: BTreeSet<String> = paths.filter(|path| self.per_file.files.contains(path)).collect();
        all.extend(self.index.inputs().await?);
        Ok(all)
    }

    /// The files of `touched` that are there and are not what they were. What was made of them, or of those that are gone, goes.
    async fn changed(&mut self, touched: BTreeSet<String>, files: &CommitFiles) -> Result<Vec<FileEntry>, Error> {
        let mut changed = Vec::new();
        for path in touched {
            let failed = |error| self.per_file.branch.failed("reading", error);
            let wanted = self.per_file.files.contains(&path);
            let file = if wanted { files.file(&path).await.map_err(failed)? } else { None };
            let before = self.index.get(&path).await?.cloned();
            if let (Some(file), Some(before)) = (&file, &before)
                && file.sha256 == before.sha256
            {
                continue;
            }
            for output in before.into_iter().flat_map(|before| before.output) {
                if self.head.file(&output).await?.is_some() {
                    self.output.commit.delete_own_file(&output)?;
                    self.released.insert(output);
                }
            }
            self.index.remove(&path).await?;
            changed.extend(file);
        }
        Ok(changed)
    }

    /// The files that the plugin has made of `input`, if no other input has made one of them.
    async fn made_of(&mut self, input: &str) -> Result<BTreeSet<String>, Error> {
        let made = self.output.commit.put_since(self.output.before).await?;
        for path in &made {
            if !self.released.contains(path) && self.head.file(path).await?.is_some() {
                let other = self.index.owner(path).await?.unwrap_or_else(|| "no file of the input".into());
                return Err(PerFileError::Shared { path: path.clone(), other }.into());
            }
        }
        self.output.owners.extend(made.iter().map(|path| (path.clone(), input.to_owned())));
        Ok(made)
    }

    /// Puts the reason why nothing was made of `file`, if the spec says so; where it is.
    async fn set_aside(&mut self, file: &FileEntry, why: Error) -> Result<String, Error> {
        let (repo, path) = (&self.per_file.branch.spec.repo, &file.path);
        // What is the store's own trouble is not about this file.
        if self.commits.output().on_failed_file == OnFailedFile::Fail || why.kind() != Kind::Plugin {
            let (repo, path) = (repo.clone(), path.clone());
            return Err(PerFileError::Datum { repo, path, source: Box::new(why) }.into());
        }
        self.output.commit.go_back(self.output.before);
        let (reason, code) = (chain(&why), why.code());
        tracing::warn!(path, code, error = reason, "a file is set aside");
        let commit = &self.run.provenance.upstream.commit;
        let letter = json!({"repo": repo, "commit": commit, "path": path, "code": code, "reason": reason});
        let to = format!("/dead-letter{path}.json");
        self.output.commit.put_own_file(&to, format!("{letter}\n").as_bytes()).await?;
        self.output.owners.insert(to.clone(), path.clone());
        self.counts.dead_letters += 1;
        Ok(to)
    }
}

/// Paths that a run has touched, of those that are chosen; none, if it does not say which.
pub(super) fn touched(per_file: &PerFile, run: &CommitRun) -> Option<BTreeSet<String>> {
    let CommitRun { added, part, .. } = run;
    if part.whole || added.rewritten.iter().any(|file| file.how == "reverted") {
        return None;
    }
    let paths = added.files.iter().map(|file| &file.path).chain(added.rewritten.iter().map(|file| &file.path));
    Some(paths.filter(|path| per_file.files.contains(path)).cloned().collect())
}

/// Gives a file to the plugin, again where that may help; the output, and why nothing was made if nothing was.
///
/// # Errors
/// What has nothing to do with the file.
async fn transform(
    mut output: Output,
    per_file: &PerFile,
    transformer: &mut Transformer,
    input: impl Fn() -> DatumInput,
) -> Result<(Output, Result<(), Error>), Error> {
    (output.before, output.clash) = (output.commit.point(), None);
    let (mut backoff, mut crashes) = (Backoff::default(), 0);
    loop {
        let (lent, home) = LentOutput::lend(output);
        let answer = transformer.transform(Box::new(input()), Box::new(lent)).await;
        output = home.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Error::SpoutOver)?;
        if let Some((path, other)) = output.clash.take() {
            // Whatever the plugin made of the refusal.
            transformer.renew();
            return Ok((output, Err(PerFileError::Shared { path, other }.into())));
        }
        let Err(source) = answer else { return Ok((output, Ok(()))) };
        transformer.renew();
        output.commit.go_back(output.before);
        crashes += u32::from(source.is_crash());
        let pause = match &source {
            spout_plugin::Error::Retriable { retry_after, .. } => retry_after.unwrap_or_else(|| backoff.delay()),
            crash if crash.is_crash() && crashes < CRASHES => backoff.delay(),
            crash if crash.is_crash() => return Ok((output, Err(per_file.failed(source)))),
            spout_plugin::Error::Fatal { .. } => return Ok((output, Err(per_file.failed(source)))),
            _ => return Err(per_file.failed(source)),
        };
        let path = input().file.path;
        tracing::warn!(path, error = chain(&source), ?pause, "the plugin failed at a file; giving it the file again");
        tokio::time::sleep(pause).await;
    }
}
