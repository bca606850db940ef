//! Whether the commits that can be seen are those that were acknowledged.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use spout_repo::{Depth, MASTER, Store, fsck};

use crate::script::{REPO, commit};

/// What workers said.
#[derive(Debug, Default)]
struct Told {
    acknowledged: BTreeSet<String>,
    /// Tried, without a word of what became of it: the worker was killed, or was told that it is not known.
    open: BTreeSet<String>,
}

fn told(files: &[&str]) -> Result<Told> {
    let mut told = Told::default();
    for file in files {
        for line in fs::read_to_string(file).with_context(|| (*file).to_owned())?.lines() {
            let mut words = line.split(' ');
            let (Some(what), Some(id)) = (words.next(), words.next()) else { continue };
            match what {
                "trying" => drop(told.open.insert(id.to_owned())),
                "committed" => {
                    told.open.remove(id);
                    ensure!(told.acknowledged.insert(id.to_owned()), "commit {id} was acknowledged twice");
                }
                "lost" | "fenced" | "refused" => drop(told.open.remove(id)),
                _ => {}
            }
        }
    }
    Ok(told)
}

/// Compares the store at `url` with what was said. `exact`: nothing may be there of which nobody was told, except what
/// was on its way when a worker was killed.
///
/// # Errors
/// What is not as it should be.
pub(crate) async fn verify(url: &str, files: &[&str], exact: bool) -> Result<()> {
    let told = told(files)?;
    let store = Store::open(url).await?;
    let repo = store.repo_or_create(REPO, "").await?;
    let log = if repo.branches().await?.is_empty() { Vec::new() } else { repo.log(MASTER).await? };
    let visible: BTreeSet<String> = log.iter().map(|commit| commit.header.id.clone()).collect();
    let gone: Vec<_> = told.acknowledged.difference(&visible).collect();
    ensure!(gone.is_empty(), "{} acknowledged commits are gone: {gone:?}", gone.len());
    let more: Vec<_> = visible.iter().filter(|id| !told.acknowledged.contains(*id)).collect();
    let odd: Vec<_> = more.iter().filter(|id| exact && !told.open.contains(**id)).collect();
    ensure!(odd.is_empty(), "{} commits are there that nobody was told of: {odd:?}", odd.len());
    ensure!(log.iter().enumerate().all(|(at, commit)| commit.number == (log.len() - at) as u64), "numbers have a gap");
    if let Some(head) = log.first() {
        let tree = repo.tree(head).await?;
        for (path, reason) in [("/log", "rows"), ("/edits", "edit")] {
            let expected: Vec<_> =
                log.iter().rev().filter(|commit| commit.reason == reason).map(|commit| &commit.header.id).collect();
            let text = match tree.get(path) {
                Some(_) => String::from_utf8(repo.read_file(&tree, path).await?.to_vec())?,
                None => String::new(),
            };
            let lines: Vec<_> = text.lines().map(|line| line.split(' ').nth(1).unwrap_or_default()).collect();
            ensure!(lines == expected, "{path} does not hold each commit once and in order");
        }
    }
    let report = fsck(&store, None, Depth::Everything).await?;
    ensure!(report.is_clean(), "{:#?}", report.findings);
    let mut writer = repo.writer(MASTER, REPO).await?;
    commit(&repo, &mut writer).await.context("the next commit")?;
    println!("visible {} acknowledged {} beyond {}", visible.len(), told.acknowledged.len(), more.len());
    Ok(())
}
