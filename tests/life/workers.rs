//! Writers, editors and collectors that share a branch, and say what they try and what became of it.
//!
//! They are told by lines of standard input: `go` to claim the branch again after another took it, `stop` (or its end) to
//! stop after the commit in hand.

use std::{
    io::BufRead as _,
    sync::mpsc::{Receiver, TryRecvError, channel},
};

use anyhow::{Result, bail};
use spout_base::error::Coded as _;
use spout_repo::{BranchWriter, Collect, CommitMeta, Edit, Error, Finished, MASTER, PutMode, Repo, Store};

use crate::{
    bodies::{LARGE, advance, body, next, table},
    script::REPO,
};

/// What is said to a worker.
struct Orders(Receiver<String>);

impl Orders {
    fn listen() -> Self {
        let (to, from) = channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
                if to.send(line).is_err() {
                    break;
                }
            }
        });
        Self(from)
    }

    fn stopped(&self) -> bool {
        match self.0.try_recv() {
            Ok(order) => order == "stop",
            Err(error) => error == TryRecvError::Disconnected,
        }
    }

    /// Waits to be told; whether to go on.
    fn wait(&self) -> bool {
        self.0.recv().is_ok_and(|order| order == "go")
    }
}

async fn open(url: &str) -> Result<Repo> {
    Ok(Store::open(url).await?.repo_or_create(REPO, "").await?)
}

/// What became of a try.
enum Outcome {
    Committed,
    /// Nothing was committed; it can be tried again.
    Again,
    /// The branch has to be claimed again.
    Reclaim,
}

/// Says what became of the commit `id`.
fn told(id: &str, n: u64, finished: std::result::Result<Finished, Error>) -> Result<Outcome> {
    Ok(match finished {
        Ok(Finished::Committed(_)) => {
            println!("committed {id} {n}");
            Outcome::Committed
        }
        Ok(Finished::Lost(winner)) => {
            println!("lost {id} {}", winner.header.id);
            Outcome::Reclaim
        }
        Ok(Finished::Unknown(error)) => {
            println!("unknown {id} {}", error.code());
            Outcome::Reclaim
        }
        Err(error @ Error::Fenced { .. }) => {
            println!("fenced {id} {}", error.code());
            Outcome::Reclaim
        }
        Err(error @ (Error::Swept { .. } | Error::Contended { .. })) => {
            println!("refused {id} {}", error.code());
            Outcome::Again
        }
        Err(error) => return Err(error.into()),
    })
}

/// Claims the branch and commits, until it is fenced; then waits to be told.
///
/// # Errors
/// Whatever is neither a commit nor another's right of way.
pub(crate) async fn write(url: &str, label: &str) -> Result<()> {
    let orders = Orders::listen();
    let repo = open(url).await?;
    loop {
        let mut writer = repo.writer(MASTER, REPO).await?;
        println!("claimed {}", writer.epoch());
        loop {
            if orders.stopped() {
                return Ok(());
            }
            if let Outcome::Reclaim = one(&repo, &mut writer, label).await? {
                break;
            }
        }
        if !orders.wait() {
            return Ok(());
        }
    }
}

async fn one(repo: &Repo, writer: &mut BranchWriter, label: &str) -> Result<Outcome> {
    let from = next(writer);
    let n = from.unwrap_or(0);
    let mut open = repo.open_commit();
    println!("trying {} {n}", open.id());
    let line = format!("{n} {} {label}\n", open.id());
    open.put_file("/log", PutMode::Append, line.into()).await?;
    if n.is_multiple_of(3) {
        open.put_file(&format!("/large/{label}"), PutMode::Overwrite, body(n, LARGE).into()).await?;
    }
    if n.is_multiple_of(5) {
        open.put_table(&format!("/rows/{n:06}.parquet"), PutMode::Append, table(n.cast_signed(), 1)?).await?;
    }
    let id = open.id().to_owned();
    let meta = CommitMeta {
        pipeline: REPO.into(),
        advance: advance(from),
        state: [("count".to_owned(), n.to_string().into())].into(),
        reason: "rows".into(),
        ..CommitMeta::default()
    };
    told(&id, n, writer.finish(open, meta).await)
}

/// Commits beside the writers until it is told to stop.
///
/// # Errors
/// As [`write`].
pub(crate) async fn edit(url: &str, label: &str) -> Result<()> {
    let orders = Orders::listen();
    let repo = open(url).await?;
    let mut n = 0;
    while !orders.stopped() {
        let mut editor = repo.edit(MASTER).await?;
        let mut open = repo.open_commit();
        println!("trying {} {n}", open.id());
        let line = format!("{n} {} {label}\n", open.id());
        open.put_file("/edits", PutMode::Append, line.into()).await?;
        open.put_file(&format!("/edited/{label}"), PutMode::Overwrite, body(n, LARGE).into()).await?;
        let id = open.id().to_owned();
        match told(&id, n, editor.finish(open, Edit::new("edit")).await)? {
            Outcome::Committed => n += 1,
            Outcome::Again | Outcome::Reclaim => {}
        }
    }
    Ok(())
}

/// Collects whatever nothing leads to, however young, until it is told to stop.
///
/// # Errors
/// As [`write`].
pub(crate) async fn collect(url: &str) -> Result<()> {
    let orders = Orders::listen();
    let repo = open(url).await?;
    while !orders.stopped() {
        match repo.collect(Collect { min_age_ms: -1, dry_run: false }).await {
            Ok(collected) => println!("collected {}", collected.objects),
            Err(Error::Contended { .. }) => println!("contended"),
            Err(error) => bail!(error),
        }
    }
    Ok(())
}
