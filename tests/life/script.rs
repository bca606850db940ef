//! One life of a store that goes through every durable step, always the same; each thing done is said on a line of its own.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use spout_repo::fault;
use spout_repo::{
    BranchWriter, Collect, Commit, CommitMeta, Edit, Finished, MASTER, OpenCommit, Publisher, PutMode, Reference, Repo,
    Retention, Store, TARGET,
};

use crate::{
    bodies::{IN_PARTS, LARGE, advance, body, next, table},
    portrait::{Painter, Portrait},
};

/// Enough for a checkpoint of the branch.
const MANY: u64 = 70;
/// Versions of a Delta table between two of its checkpoints.
const VERSIONS: u64 = 3;
pub(crate) const REPO: &str = "life";
pub(crate) const OTHER: &str = "other";
/// Also what was written just now is old enough to be collected.
pub(crate) const AT_ONCE: Collect = Collect { min_age_ms: -60_000, dry_run: false };

/// Who lives, and who listens.
struct Life {
    store: Store,
    /// Where it is written down what readers see after each step.
    reference: Option<(BufWriter<File>, Painter)>,
}

/// Lives. With `reference`, writes down there what readers see before the first step and after each, and in the end how
/// often each fail point was passed.
///
/// # Errors
/// Of the first step that fails.
pub(crate) async fn live(url: &str, reference: Option<&Path>) -> Result<()> {
    let reference = match reference {
        Some(path) => {
            let mut file = BufWriter::new(File::create(path)?);
            writeln!(file, "{}", serde_json::to_string(&Portrait::new())?)?;
            Some((file, Painter::default()))
        }
        None => None,
    };
    let mut life = Life { store: Store::open(url).await?, reference };
    Box::pin(life.done("open the store")).await?;
    let repo = life.store.repo_or_create(REPO, "").await?;
    Box::pin(life.done("create a repo")).await?;
    Box::pin(life.commits(&repo, MANY)).await?;
    Box::pin(life.publish(&repo)).await?;
    Box::pin(life.edits(&repo)).await?;
    Box::pin(life.branches(&repo)).await?;
    Box::pin(life.tags(&repo)).await?;
    Box::pin(life.history(&repo)).await?;
    Box::pin(life.started(&repo)).await?;
    Box::pin(life.commits(&repo, MANY)).await?;
    Box::pin(life.publish(&repo)).await?;
    Box::pin(life.collections(&repo)).await?;
    Box::pin(life.publish(&repo)).await?;
    Box::pin(life.other()).await?;
    if let Some((file, _)) = &mut life.reference {
        writeln!(file, "{}", serde_json::to_string(&fault::passes())?)?;
        file.flush()?;
    }
    Ok(())
}

/// The commit, or what became of it instead.
fn committed(finished: Finished) -> Result<Commit> {
    match finished {
        Finished::Committed(commit) => Ok(commit),
        Finished::Unknown(error) => Err((*error).into()),
        Finished::Lost(winner) => bail!("commit {} was first, and nobody else is here", winner.header.id),
    }
}

async fn head(repo: &Repo, back: u64) -> Result<Commit> {
    Ok(repo.resolve(&Reference { back, ..Reference::head(REPO, MASTER) }).await?)
}

impl Life {
    async fn done(&mut self, what: &str) -> Result<()> {
        // A pipe takes a short line whole, and standard output is flushed with each.
        println!("{what}");
        if let Some((file, painter)) = &mut self.reference {
            let seen = painter.paint(&self.store).await?;
            writeln!(file, "{}", serde_json::to_string(&seen)?)?;
        }
        Ok(())
    }

    async fn commits(&mut self, repo: &Repo, count: u64) -> Result<()> {
        let mut writer = repo.writer(MASTER, REPO).await?;
        self.done("claim").await?;
        for _ in 0..count {
            commit(repo, &mut writer).await?;
            self.done("commit").await?;
        }
        Ok(())
    }

    async fn publish(&mut self, repo: &Repo) -> Result<()> {
        publish(repo).await?;
        self.done("publish").await
    }

    async fn edit(&mut self, repo: &Repo, branch: &str, open: OpenCommit) -> Result<()> {
        let mut editor = repo.edit(branch).await?;
        committed(editor.finish(open, Edit::new("edit")).await?)?;
        self.done("edit").await
    }

    async fn edits(&mut self, repo: &Repo) -> Result<()> {
        let mut open = repo.open_commit();
        open.put_stream("/streamed", PutMode::Overwrite, body(1, IN_PARTS).as_slice()).await?;
        open.put_stream("/short", PutMode::Overwrite, body(2, LARGE).as_slice()).await?;
        Box::pin(self.edit(repo, MASTER, open)).await?;
        let mut open = repo.open_commit();
        open.delete_file("/streamed")?;
        open.put_file("/short", PutMode::Append, "more".into()).await?;
        Box::pin(self.edit(repo, MASTER, open)).await
    }

    async fn branches(&mut self, repo: &Repo) -> Result<()> {
        let (older, newest) = (head(repo, 3).await?, head(repo, 0).await?);
        repo.create_branch("dev", Some(&older), false).await?;
        self.done("create branch").await?;
        let mut open = repo.open_commit_on("dev");
        open.put_file("/dev", PutMode::Overwrite, body(3, LARGE).into()).await?;
        Box::pin(self.edit(repo, "dev", open)).await?;
        repo.create_branch("dev", Some(&newest), true).await?;
        self.done("move branch").await?;
        repo.delete_branch("dev").await?;
        self.done("delete branch").await?;
        repo.create_branch("dev", None, false).await?;
        self.done("create branch again").await
    }

    async fn tags(&mut self, repo: &Repo) -> Result<()> {
        for (tag, back, anew) in [("one", 5, false), ("two", 0, false), ("one", 4, true)] {
            repo.create_tag(tag, &head(repo, back).await?, anew).await?;
            self.done("set tag").await?;
        }
        repo.delete_tag("two").await?;
        self.done("delete tag").await
    }

    async fn history(&mut self, repo: &Repo) -> Result<()> {
        let (first, last) = (head(repo, 12).await?, head(repo, 9).await?);
        repo.squash(MASTER, &first, &last).await?;
        self.done("squash").await?;
        committed(repo.revert(MASTER, &head(repo, 6).await?).await?)?;
        self.done("revert").await
    }

    async fn started(&mut self, repo: &Repo) -> Result<()> {
        for finish in [true, false] {
            let started = repo.start_commit(MASTER).await?;
            self.done("start commit").await?;
            for (n, size) in [(4, 100), (5, LARGE)] {
                let mut open = repo.open_commit();
                open.put_file(&format!("/started/{n}"), PutMode::Append, body(n, size).into()).await?;
                repo.stage(&started, &open).await?;
                self.done("put file into a started commit").await?;
            }
            if finish {
                drop(committed(repo.finish_commit(&started).await?)?)
            } else {
                repo.drop_commit(&started).await?
            }
            self.done("finish or drop commit").await?;
        }
        Ok(())
    }

    async fn collections(&mut self, repo: &Repo) -> Result<()> {
        repo.collect(AT_ONCE).await?;
        self.done("collect").await?;
        for keep in [20, 10] {
            repo.retain(Retention { commits: Some(keep), for_ms: None }).await?;
            self.done("retain").await?;
            repo.collect(AT_ONCE).await?;
            self.done("collect").await?;
        }
        repo.compact(MASTER, TARGET).await?;
        self.done("compact").await?;
        Box::pin(self.commits(repo, 12)).await?;
        self.publish(repo).await?;
        repo.collect(AT_ONCE).await?;
        self.done("collect").await
    }

    async fn other(&mut self) -> Result<()> {
        for _ in 0..2 {
            let other = self.store.repo_or_create(OTHER, "").await?;
            self.done("create another repo").await?;
            let mut open = other.open_commit();
            open.put_file("/large", PutMode::Append, body(6, LARGE).into()).await?;
            Box::pin(self.edit(&other, MASTER, open)).await?;
            self.store.delete_repo(OTHER, true).await?;
            self.done("delete the other repo").await?;
        }
        Ok(())
    }
}

/// Brings the Delta tables up to date.
pub(crate) async fn publish(repo: &Repo) -> Result<()> {
    let mut publication = Publisher::new(repo, MASTER).checkpoint_every(VERSIONS).publish().await?;
    match publication.failures.pop() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

/// One commit of the pipeline: small files always, large ones, rows and a large state now and then.
pub(crate) async fn commit(repo: &Repo, writer: &mut BranchWriter) -> Result<Commit> {
    let from = next(writer);
    let n = from.unwrap_or(0);
    let mut open = repo.open_commit();
    open.put_file("/log", PutMode::Append, format!("{n}\n").into()).await?;
    open.put_file(&format!("/small/{}", n % 5), PutMode::Overwrite, body(n, 200).into()).await?;
    if n % 8 == 2 {
        open.put_table(&format!("/rows/{n:04}.parquet"), PutMode::Append, table(n.cast_signed(), 3)?).await?;
    }
    if n % 16 == 5 {
        open.put_file(&format!("/large/{}", n % 3), PutMode::Overwrite, body(n, LARGE).into()).await?;
    }
    let size = if n % 16 == 7 { LARGE } else { 20 };
    let meta = CommitMeta {
        pipeline: REPO.into(),
        advance: advance(from),
        state: [("count".to_owned(), body(n, size).into())].into(),
        reason: "rows".into(),
        ..CommitMeta::default()
    };
    committed(writer.finish(open, meta).await?).context("a commit")
}
