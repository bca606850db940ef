//! What a life that was broken off has left: what was acknowledged and nothing half, a store that goes on, and no litter.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use spout_repo::{Collect, Depth, MASTER, Report, Store, fsck, published, repair};

use crate::{
    compare,
    portrait::{Painter, Portrait},
    script::{AT_ONCE, OTHER, REPO, commit, publish},
};

/// Checks the store at `url` after a life that acknowledged that many steps, against what the `reference` life saw.
///
/// # Errors
/// What is not as it should be.
pub(crate) async fn check(url: &str, reference: &Path, acknowledged: usize) -> Result<()> {
    let reference = fs::read_to_string(reference)?;
    // The last line is about fail points.
    let lines: Vec<&str> = reference.lines().collect();
    let portraits = lines.split_last().context("a reference")?.1;
    let at = |step: usize| -> Result<Portrait> {
        let line = portraits.get(step).or(portraits.last()).context("a portrait")?;
        Ok(serde_json::from_str(line)?)
    };
    let store = Store::open(url).await?;
    let seen = Painter::default().paint(&store).await?;
    compare::between(&at(acknowledged)?, &seen, &at(acknowledged + 1)?)?;
    sound(&fsck(&store, None, Depth::Everything).await?).context("as it was found")?;
    goes_on(&store).await.context("the next commit")?;
    let before = Painter::default().paint(&store).await?;
    sweep(url).await.context("a collection")?;
    let report = fsck(&store, None, Depth::Everything).await?;
    ensure!(report.findings.is_empty(), "after a collection and a repair: {:#?}", report.findings);
    compare::collected(&before, &Painter::default().paint(&store).await?)?;
    tidy(Path::new(url))
}

/// Collects and repairs until nothing is left to do.
///
/// # Errors
/// Of the first step that fails.
pub(crate) async fn sweep(url: &str) -> Result<()> {
    let store = Store::open(url).await?;
    gc(url, AT_ONCE.min_age_ms).await?;
    sound(&repair(&store, None, Depth::Everything).await?)
}

/// Collects what is older than that, in all repos.
///
/// # Errors
/// As [`sweep`].
pub(crate) async fn gc(url: &str, min_age_ms: i64) -> Result<()> {
    let store = Store::open(url).await?;
    for info in store.repos().await? {
        store.repo(&info.name).await?.collect(Collect { min_age_ms, dry_run: false }).await?;
    }
    Ok(())
}

/// Everything that is done to a store, where its past is not known.
///
/// # Errors
/// As [`check`].
pub(crate) async fn go_on(url: &str) -> Result<()> {
    let store = Store::open(url).await?;
    sound(&fsck(&store, None, Depth::Everything).await?)?;
    goes_on(&store).await?;
    sweep(url).await?;
    sound(&fsck(&store, None, Depth::Everything).await?)
}

fn sound(report: &Report) -> Result<()> {
    ensure!(report.is_clean(), "{:#?}", report.findings);
    Ok(())
}

/// A pipeline commits, and a repo whose deletion was broken off can be made anew.
async fn goes_on(store: &Store) -> Result<()> {
    let repo = store.repo_or_create(REPO, "").await?;
    let mut writer = repo.writer(MASTER, REPO).await?;
    let before = writer.head().map_or(0, |head| head.number);
    for _ in 0..2 {
        commit(&repo, &mut writer).await?;
    }
    let head = repo.resolve(&format!("{REPO}@{MASTER}").parse()?).await?;
    ensure!(head.number == before + 2, "two commits after {before} make {}", head.number);
    let tree = repo.tree(&head).await?;
    for file in tree.files() {
        repo.read_file(&tree, &file.path).await?;
    }
    store.repo_or_create(OTHER, "").await?;
    publish(&repo).await.context("publishing")?;
    let head = head.header.sequence;
    for table in published(&repo, MASTER).await?.tables {
        ensure!(table.sequence.is_none_or(|sequence| sequence <= head), "a table is ahead of its branch: {table:?}");
    }
    Ok(())
}

/// Nothing of a broken write is left anywhere.
fn tidy(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            tidy(&path)?;
        } else {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            ensure!(!name.contains('#'), "{} was left", path.display());
        }
    }
    Ok(())
}
