//! Every file of a store is damaged in several ways, one after the other: what is read is what was written or a coded error,
//! `fsck` says which file it is, and nothing that is there is changed by whoever comes along.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use spout_base::error::{Coded as _, Kind};
use spout_repo::{Depth, Error, MASTER, Repo, Store, fsck};

use crate::script::{REPO, commit};

/// All files below a directory, by path.
type Files = BTreeMap<PathBuf, Vec<u8>>;
/// The files of the head, by path.
type Head = BTreeMap<String, Vec<u8>>;

/// What can happen to a file.
type Damage = fn(&[u8]) -> Option<Vec<u8>>;

const DAMAGES: [(&str, Damage); 5] = [
    ("a flipped bit", |bytes| {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() / 2;
        *bytes.get_mut(at)? ^= 4;
        Some(bytes)
    }),
    ("cut short", |bytes| Some(bytes.get(..bytes.len() / 2)?.to_vec())),
    ("empty", |_| Some(Vec::new())),
    ("of a newer format", |bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        text.contains("\"version\":1,").then(|| text.replacen("\"version\":1,", "\"version\":9,", 1).into_bytes())
    }),
    ("somebody else's", |_| Some(b"{\"name\":\"somebody else's\"}".to_vec())),
];

fn files(below: &Path) -> Result<Files> {
    let mut found = Files::new();
    for entry in fs::read_dir(below)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { drop(found.insert(path.clone(), fs::read(&path)?)) }
    }
    Ok(found)
}

/// What only saves time is written over by whoever comes along.
fn is_hint(path: &Path) -> bool {
    path.ends_with("newest.json") || path.ends_with("_last_checkpoint")
}

/// Damages each file of the store at `url`.
///
/// # Errors
/// What was read and is not what was written, an error without a code or of the wrong kind, a file that was changed.
pub(crate) async fn damage(url: &str) -> Result<()> {
    let whole = files(Path::new(url))?;
    let store = Store::open_existing(url).await?;
    ensure!(fsck(&store, None, Depth::Everything).await?.findings.is_empty(), "it is not sound to begin with");
    let head = read(&store).await?.context("a head")?;
    let (mut tried, mut refused, mut silent) = (0, 0, Vec::new());
    for (path, bytes) in &whole {
        for (what, how) in DAMAGES {
            let Some(damaged) = how(bytes).filter(|damaged| damaged != bytes) else { continue };
            fs::write(path, &damaged)?;
            tried += 1;
            let one = one(url, path, &head).await.with_context(|| format!("{} is {what}", path.display()));
            let (errors, found) = one?;
            refused += usize::from(errors);
            if !found && !is_hint(path) {
                silent.push(format!("{} is {what}", path.display()));
            }
            fs::write(path, bytes)?;
        }
    }
    ensure!(files(Path::new(url))? == whole, "a reader or fsck changed something");
    println!("{} files, {tried} damages, {refused} refused, {} that fsck does not tell", whole.len(), silent.len());
    silent.iter().for_each(|silent| println!("silent: {silent}"));
    Ok(())
}

/// Whether a reader met an error, and whether `fsck` names the file.
async fn one(url: &str, path: &Path, head: &Head) -> Result<(bool, bool)> {
    let store = Store::open_existing(url).await?;
    let errors = match read(&store).await {
        Ok(read) => {
            ensure!(read.as_ref().is_none_or(|read| read == head), "other bytes were read than were written");
            read.is_none()
        }
        Err(error) => {
            coded(&error)?;
            true
        }
    };
    let named = match fsck(&store, None, Depth::Everything).await {
        Ok(report) => !report.findings.is_empty(),
        Err(error) => {
            coded(&error.into())?;
            true
        }
    };
    let shown = path.display().to_string();
    ensure!(!errors || named, "a reader was refused, and fsck finds nothing wrong with {shown}");
    Ok((errors, named))
}

fn coded(error: &anyhow::Error) -> Result<()> {
    let Some(ours) = error.chain().find_map(|cause| cause.downcast_ref::<Error>()) else {
        bail!("an error without a code: {error:#}");
    };
    let kind = ours.kind();
    ensure!(matches!(kind, Kind::Corrupt | Kind::Spec), "{} is of kind {kind:?}: {ours}", ours.code());
    Ok(())
}

/// The bytes of all files of the head, read as a user would; `None` where the repo is not there.
async fn read(store: &Store) -> Result<Option<Head>> {
    let repo: Repo = match store.repo(REPO).await {
        Ok(repo) => repo,
        Err(Error::UnknownRepo { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let commit = repo.resolve(&format!("{REPO}@{MASTER}").parse()?).await?;
    repo.log(MASTER).await?;
    repo.tags().await?;
    let tree = repo.tree(&commit).await?;
    let mut head = Head::new();
    for file in tree.files() {
        head.insert(file.path.clone(), repo.read_file(&tree, &file.path).await?.to_vec());
    }
    Ok(Some(head))
}

/// Damages the newest record of the store at `url` and lets a pipeline come along: it stops with an error, or goes on from
/// what was committed; no file that was there is changed.
///
/// # Errors
/// As [`damage`].
pub(crate) async fn write_on(url: &str) -> Result<()> {
    let records = Path::new(url).join(format!("repos/{REPO}/branches/{MASTER}"));
    let newest = files(&records)?.into_keys().next_back().context("a record")?;
    let bytes = fs::read(&newest)?;
    for (what, how) in DAMAGES {
        let Some(damaged) = how(&bytes) else { continue };
        fs::write(&newest, &damaged)?;
        let before = files(Path::new(url))?;
        let store = Store::open(url).await?;
        let written = async {
            let repo = store.repo_or_create(REPO, "").await?;
            let mut writer = repo.writer(MASTER, REPO).await?;
            commit(&repo, &mut writer).await
        };
        match written.await {
            Ok(_) => bail!("a commit was made after a record that is {what}"),
            Err(error) => coded(&error)?,
        }
        ensure!(files(Path::new(url))? == before, "something was changed after a record that is {what}");
        fs::write(&newest, &bytes)?;
    }
    Ok(())
}
