//! Changes of what is to run: each is one commit of the repo of specs.

use spout_base::clock;
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

/// A change of what is to run.
#[derive(Debug)]
enum Change<'a> {
    /// Pipelines that are not there yet.
    Create(&'a [Wanted]),
    /// Other specs, and maybe an order to begin anew.
    Update(&'a [Wanted], Option<String>),
    /// Whether a pipeline is to run.
    Run(&'a str, bool),
    /// An order to stop a pipeline and start it again.
    Restart(&'a str, String),
    /// An order to a pipeline that a process runs by itself, whether or not the store has it by name.
    Ordered(&'a str, Wish),
    /// The order to begin anew that a pipeline has followed.
    Begun(&'a str, &'a str),
    /// A pipeline that is to be there no more.
    Delete(&'a str),
}

impl Change<'_> {
    /// What is done, as the history of specs shows it.
    fn said(&self) -> String {
        let verb = match self {
            Self::Create(_) => "create",
            Self::Update(_, None) => "update",
            Self::Update(_, Some(_)) => "reprocess",
            Self::Run(_, true) => "start",
            Self::Run(_, false) => "stop",
            Self::Restart(..) | Self::Ordered(_, Wish { restart: Some(_), .. }) => "restart",
            Self::Ordered(_, Wish { running: true, .. }) => "start",
            Self::Ordered(..) => "stop",
            Self::Begun(..) => "begin anew",
            Self::Delete(_) => "delete",
        };
        format!("{verb} pipeline {}", self.names())
    }

    fn names(&self) -> String {
        match self {
            Self::Create(all) | Self::Update(all, _) => {
                all.iter().map(|wanted| wanted.name.as_str()).collect::<Vec<_>>().join(", ")
            }
            Self::Run(name, _)
            | Self::Restart(name, _)
            | Self::Ordered(name, _)
            | Self::Begun(name, _)
            | Self::Delete(name) => (*name).to_owned(),
        }
    }
}

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
        self.change(&Change::Create(new)).await
    }

    /// Gives pipelines another spec; those that are stopped stay so. All of them or none. With `reprocess` each begins anew when
    /// it starts next.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of writing.
    pub async fn update(&self, changed: &[Wanted], reprocess: bool) -> Result<Commit, Error> {
        self.change(&Change::Update(changed, reprocess.then(clock::nonce))).await
    }

    /// Has a pipeline run or stop. Nothing is written where that is so already.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of writing.
    pub async fn set_running(&self, name: &str, running: bool) -> Result<Option<Commit>, Error> {
        if self.get(name).await?.wish.running == running {
            return Ok(None);
        }
        self.change(&Change::Run(name, running)).await.map(Some)
    }

    /// Has a pipeline commit what it has read, stop, and start again; one that was stopped or has failed starts.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of writing.
    pub async fn restart(&self, name: &str) -> Result<Commit, Error> {
        self.change(&Change::Restart(name, clock::nonce())).await
    }

    /// Takes note of an order to a pipeline that a process runs by itself: its spec is with whoever started that.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) async fn order(&self, name: &str, wish: Wish) -> Result<Commit, Error> {
        self.change(&Change::Ordered(name, wish)).await
    }

    /// Takes note that a pipeline has begun anew, as it was ordered to.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of writing.
    pub(super) async fn begun_anew(&self, name: &str, order: &str) -> Result<(), Error> {
        self.change(&Change::Begun(name, order)).await.map(drop)
    }

    /// Removes a pipeline. Its output repo stays.
    ///
    /// # Errors
    /// [`Error::Unknown`], and those of writing.
    pub async fn delete(&self, name: &str) -> Result<Commit, Error> {
        self.change(&Change::Delete(name)).await
    }

    /// Commits a change on top of a head that it has looked at.
    async fn change(&self, change: &Change<'_>) -> Result<Commit, Error> {
        for _ in 0..TRIES {
            let mut editor = self.repo.edit(MASTER).await?;
            let mut open = self.repo.open_commit();
            let unchanged = Box::pin(self.fill(&editor, &mut open, change)).await?;
            let edit = Edit { unchanged, ..Edit::new(&change.said()) };
            match Box::pin(editor.finish(open, edit)).await? {
                Finished::Committed(commit) => return Ok(commit),
                Finished::Lost(_) => {}
                Finished::Unknown(error) => return Err((*error).into()),
            }
        }
        Err(Error::Changed { name: change.names() })
    }

    async fn fill(&self, editor: &Editor, open: &mut OpenCommit, change: &Change<'_>) -> Result<Unchanged, Error> {
        let mut unchanged = Unchanged::new();
        match change {
            Change::Create(new) => {
                for wanted in *new {
                    let path = Wanted::spec_path(&wanted.name);
                    if editor.file(&path).await?.is_some() {
                        return Err(Error::Exists { name: wanted.name.clone() });
                    }
                    put_spec(open, wanted).await?;
                    put_wish(open, &wanted.name, &wanted.wish).await?;
                    unchanged.push((path, None));
                }
            }
            Change::Update(changed, order) => {
                for wanted in *changed {
                    unchanged.push(known(editor, &wanted.name).await?);
                    let before = self.get(&wanted.name).await?.wish;
                    let reprocess = order.clone().or(before.reprocess);
                    put_spec(open, wanted).await?;
                    put_wish(open, &wanted.name, &Wish { base: wanted.wish.base.clone(), reprocess, ..before }).await?;
                }
            }
            Change::Run(name, running) => {
                unchanged.push(known(editor, name).await?);
                put_wish(open, name, &Wish { running: *running, ..self.get(name).await?.wish }).await?;
            }
            Change::Restart(name, order) => {
                unchanged.push(known(editor, name).await?);
                let restart = Some(order.clone());
                put_wish(open, name, &Wish { restart, running: true, ..self.get(name).await?.wish }).await?;
            }
            Change::Ordered(name, order) => {
                let before = match self.get(name).await {
                    Ok(known) => known.wish,
                    Err(Error::Unknown { .. }) => Wish::default(),
                    Err(other) => return Err(other),
                };
                let restart = order.restart.clone().or(before.restart.clone());
                put_wish(open, name, &Wish { running: order.running, restart, ..before }).await?;
            }
            Change::Begun(name, order) => {
                unchanged.push(known(editor, name).await?);
                let reprocessed = Some((*order).to_owned());
                put_wish(open, name, &Wish { reprocessed, ..self.get(name).await?.wish }).await?;
            }
            Change::Delete(name) => {
                unchanged.push(known(editor, name).await?);
                open.delete_file(&Wanted::spec_path(name))?;
                if editor.file(&Wanted::wish_path(name)).await?.is_some() {
                    open.delete_file(&Wanted::wish_path(name))?;
                }
            }
        }
        Ok(unchanged)
    }
}

/// The spec of a pipeline, as it is.
async fn known(editor: &Editor, name: &str) -> Result<(String, Option<String>), Error> {
    let path = Wanted::spec_path(name);
    match editor.file(&path).await? {
        Some(file) => Ok((path, Some(file.sha256))),
        None => Err(Error::Unknown { name: name.to_owned() }),
    }
}

async fn put_spec(open: &mut OpenCommit, wanted: &Wanted) -> Result<(), Error> {
    let text = wanted.text.clone().into_bytes().into();
    Ok(open.put_file(&Wanted::spec_path(&wanted.name), PutMode::Overwrite, text).await?)
}

async fn put_wish(open: &mut OpenCommit, name: &str, wish: &Wish) -> Result<(), Error> {
    let path = Wanted::wish_path(name);
    let bytes =
        serde_json::to_vec(wish).map_err(|error| Error::Wish { path: path.clone(), reason: error.to_string() })?;
    Ok(open.put_file(&path, PutMode::Overwrite, bytes.into()).await?)
}
