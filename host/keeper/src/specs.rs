//! Changes of what is to run: each is one commit of the repo of specs.

use spout_repo::{Commit, Edit, Editor, Finished, MASTER, OpenCommit, PutMode, Repo, SPECS, Store};

use super::{
    Error,
    wanted::{Wanted, Wish},
};

/// Tries of a change that others get in the way of.
const TRIES: u32 = 5;

/// The repo of specs.
#[derive(Clone, Debug)]
pub struct Specs {
    repo: Repo,
}

/// Files that a change takes to be as it found them, by path and hash.
type Unchanged = Vec<(String, Option<String>)>;

impl Specs {
    /// The specs of `store`, which gets the repo for them if it has none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(store: &Store) -> Result<Self, Error> {
        Ok(Self { repo: store.repo_or_create(SPECS, "the pipelines of this store").await? })
    }

    /// The specs of `store`, if it has any.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn existing(store: &Store) -> Result<Option<Self>, Error> {
        match store.repo(SPECS).await {
            Ok(repo) => Ok(Some(Self { repo })),
            Err(spout_repo::Error::UnknownRepo { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    pub(super) fn repo(&self) -> &Repo {
        &self.repo
    }

    /// All pipelines, by name.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn all(&self) -> Result<Vec<Wanted>, Error> {
        match self.repo.edit(MASTER).await?.head() {
            Some(head) => Wanted::all(&self.repo, &self.repo.tree(head).await?).await,
            None => Ok(Vec::new()),
        }
    }

    /// The pipeline of this name.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of reading.
    pub async fn get(&self, name: &str) -> Result<Wanted, Error> {
        let found = self.all().await?.into_iter().find(|wanted| wanted.name == name);
        found.ok_or_else(|| Error::Unknown { name: name.to_owned() })
    }

    /// Makes pipelines that are not there yet; all of them or none.
    ///
    /// # Errors
    /// [`Error::Exists`], and those of writing.
    pub async fn create(&self, new: &[Wanted]) -> Result<Commit, Error> {
        self.change("create pipeline", &names(new), async |editor, open| {
            let mut unchanged = Unchanged::new();
            for wanted in new {
                let path = Wanted::spec_path(&wanted.name);
                if editor.file(&path).await?.is_some() {
                    return Err(Error::Exists { name: wanted.name.clone() });
                }
                put(open, wanted, true).await?;
                unchanged.push((path, None));
            }
            Ok(unchanged)
        })
        .await
    }

    /// Gives pipelines another spec; those that are stopped stay so. All of them or none.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of writing.
    pub async fn update(&self, changed: &[Wanted]) -> Result<Commit, Error> {
        self.change("update pipeline", &names(changed), async |editor, open| {
            let mut unchanged = Unchanged::new();
            for wanted in changed {
                unchanged.push(known(editor, &wanted.name).await?);
                put(open, wanted, self.get(&wanted.name).await?.wish.running).await?;
            }
            Ok(unchanged)
        })
        .await
    }

    /// Has a pipeline run or stop. Nothing is written where that is so already.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of writing.
    pub async fn set_running(&self, name: &str, running: bool) -> Result<Option<Commit>, Error> {
        let wanted = self.get(name).await?;
        if wanted.wish.running == running {
            return Ok(None);
        }
        let verb = if running { "start pipeline" } else { "stop pipeline" };
        let change = async |editor: &Editor, open: &mut OpenCommit| {
            put_wish(open, name, &Wish { running, ..wanted.wish.clone() }).await?;
            Ok(vec![known(editor, name).await?])
        };
        self.change(verb, name, change).await.map(Some)
    }

    /// Removes a pipeline. Its output repo stays.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of writing.
    pub async fn delete(&self, name: &str) -> Result<Commit, Error> {
        self.change("delete pipeline", name, async |editor, open| {
            let known = known(editor, name).await?;
            open.delete_file(&Wanted::spec_path(name))?;
            if editor.file(&Wanted::wish_path(name)).await?.is_some() {
                open.delete_file(&Wanted::wish_path(name))?;
            }
            Ok(vec![known])
        })
        .await
    }

    /// Commits what `fill` puts on top of a head that it has looked at.
    async fn change(
        &self,
        verb: &str,
        names: &str,
        fill: impl AsyncFn(&Editor, &mut OpenCommit) -> Result<Unchanged, Error>,
    ) -> Result<Commit, Error> {
        for _ in 0..TRIES {
            let mut editor = self.repo.edit(MASTER).await?;
            let mut open = self.repo.open_commit();
            let unchanged = fill(&editor, &mut open).await?;
            let edit = Edit { unchanged, ..Edit::new(&format!("{verb} {names}")) };
            match editor.finish(open, edit).await? {
                Finished::Committed(commit) => return Ok(commit),
                Finished::Lost(_) => {}
                Finished::Unknown(error) => return Err((*error).into()),
            }
        }
        Err(Error::Changed { name: names.to_owned() })
    }
}

fn names(all: &[Wanted]) -> String {
    all.iter().map(|wanted| wanted.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The spec of a pipeline, as it is.
async fn known(editor: &Editor, name: &str) -> Result<(String, Option<String>), Error> {
    let path = Wanted::spec_path(name);
    match editor.file(&path).await? {
        Some(file) => Ok((path, Some(file.sha256))),
        None => Err(Error::Unknown { name: name.to_owned() }),
    }
}

async fn put(open: &mut OpenCommit, wanted: &Wanted, running: bool) -> Result<(), Error> {
    let text = wanted.text.clone().into_bytes().into();
    open.put_file(&Wanted::spec_path(&wanted.name), PutMode::Overwrite, text).await?;
    put_wish(open, &wanted.name, &Wish { running, ..wanted.wish.clone() }).await
}

async fn put_wish(open: &mut OpenCommit, name: &str, wish: &Wish) -> Result<(), Error> {
    let path = Wanted::wish_path(name);
    let bytes =
        serde_json::to_vec(wish).map_err(|error| Error::Wish { path: path.clone(), reason: error.to_string() })?;
    Ok(open.put_file(&path, PutMode::Overwrite, bytes.into()).await?)
}
