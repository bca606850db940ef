//! One pipeline as the repo of specs holds it: two files, `/NAME.yaml` and `/NAME.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;
use spout_repo::{Repo, Tree};
use spout_spec::Loaded;

use super::Error;

/// A pipeline that somebody created.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its spec, as it was written.
    pub text: String,
    /// What is to become of it.
    pub wish: Wish,
    /// Why that is not known: then it does not run.
    damage: Option<String>,
}

/// What is to become of a pipeline. Without the file it is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wish {
    /// Whether it is to run.
    pub running: bool,
    /// The directory where relative paths of its spec start.
    pub base: PathBuf,
    /// Names the last order to begin anew, from the first message of its sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reprocess: Option<String>,
    /// Names the last order to start again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// The last order to begin anew that was followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reprocessed: Option<String>,
}

impl Wish {
    /// All orders that were given: what runs is stopped and started where there is another.
    pub(super) fn orders(&self) -> Option<String> {
        let all: Vec<&str> = [&self.reprocess, &self.restart].into_iter().flatten().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }

    /// The order to begin anew, if it is still to be followed.
    pub(super) fn due(&self) -> Option<&str> {
        self.reprocess.as_deref().filter(|order| self.reprocessed.as_deref() != Some(order))
    }
}

impl Default for Wish {
    fn default() -> Self {
        Self { running: true, base: PathBuf::from("."), reprocess: None, restart: None, reprocessed: None }
    }
}

impl Wanted {
    /// Where the spec of a pipeline is.
    pub(super) fn spec_path(name: &str) -> String {
        format!("/{name}.yaml")
    }

    /// Where it says what is to become of it.
    pub(super) fn wish_path(name: &str) -> String {
        format!("/{name}.json")
    }

    /// All pipelines of a commit, by name. What is no spec is left alone.
    pub(super) async fn all(repo: &Repo, tree: &Tree) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for file in tree.below("/") {
            let Some(name) = file.path.strip_prefix('/').and_then(|path| path.strip_suffix(".yaml")) else { continue };
            let text = String::from_utf8_lossy(&repo.read_file(tree, &file.path).await?).into_owned();
            let wish = match tree.get(&Self::wish_path(name)) {
                Some(file) => serde_json::from_slice(&repo.read_file(tree, &file.path).await?),
                None => Ok(Wish::default()),
            };
            let damage = wish.as_ref().err().map(ToString::to_string);
            all.push(Self { name: name.to_owned(), text, wish: wish.unwrap_or_default(), damage });
        }
        Ok(all)
    }

    /// Where its spec is, for people.
    pub(super) fn shown(&self) -> PathBuf {
        PathBuf::from(format!("{}:{}", spout_repo::SPECS, Self::spec_path(&self.name)))
    }

    /// Its spec, read and checked.
    ///
    /// # Errors
    /// What is wrong with it; or it is of another pipeline than its file is named after, or of several.
    pub fn load(&self) -> Result<Loaded, Error> {
        if let Some(reason) = &self.damage {
            return Err(Error::Wish { path: Self::wish_path(&self.name), reason: reason.clone() });
        }
        let mut all = spout_spec::parse(&self.text, &self.shown(), &self.wish.base)?;
        match (all.pop(), all.len()) {
            (Some(only), 0) if only.spec.pipeline.name == self.name => Ok(only),
            _ => Err(Error::Misnamed { name: self.name.clone() }),
        }
    }

    /// The pipeline of a spec, to run from `base`.
    #[must_use]
    pub fn of_loaded(loaded: &Loaded, base: &Path) -> Self {
        let wish = Wish { base: base.to_owned(), ..Wish::default() };
        Self { name: loaded.spec.pipeline.name.clone(), text: loaded.text.clone(), wish, damage: None }
    }

    /// The pipelines of a text, to be created or updated: each with its own document, to run from `base`, and what it says. It
    /// may reach no more of the machine than `allowed`.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn of_text(text: &str, file: &Path, base: &Path, allowed: &[Reach]) -> Result<Vec<(Self, Loaded)>, Error> {
        let documents = spout_spec::documents(text, file)?;
        let all = spout_spec::parse_within(text, file, base, allowed)?;
        let wanted = |(loaded, text): (Loaded, String)| {
            let wish = Wish { base: base.to_owned(), ..Wish::default() };
            (Self { name: loaded.spec.pipeline.name.clone(), text, wish, damage: None }, loaded)
        };
        Ok(all.into_iter().zip(documents).map(wanted).collect())
    }
}
