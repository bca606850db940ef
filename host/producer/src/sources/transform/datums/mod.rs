//! A `transform` with an `input`: a plugin that is run for each file of another repo, and whose files are the output.
//!
//! What is read as one, a commit of the input or a run of them, becomes one commit, made as those of a [`Spout`](super::Spout): the
//! plugin is run for every file that was added or changed, what it made of such a file before, or of one that is gone, is removed,
//! and what was made of which file ([`index`]) is part of that commit too. The marker says up to where the input is read.
//!
//! **Invariant**: each file of the output belongs to one file of the input, and is there as long as what it was made of.

mod error;
mod head;
mod index;
mod making;
mod output;
mod per_file;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;
use spout_data::Period;
use spout_plugin::World;
use spout_repo::path;

pub use self::error::PerFileError;
use self::per_file::PerFile;
use super::{
    TransformSpec, is_default,
    producer::{Make, SpoutProducer},
};
use crate::{
    Error, FramingSpec, MetadataColumn, OutOfRange, Peek, Producer, Promise, SourceContext, SourcePlugin, SourceSpec,
    Upstream,
    sources::repo::{Branch, RepoMode, RepoSpec, RepoStart, Rewritten, Trigger},
};

/// The files that a `transform` is run for, one by one, as in `{pfs: {repo: images, glob: "/*"}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputSpec {
    /// Files of another repo.
    pub pfs: PfsSpec,
}

/// Files of another repo of the same store, as in `{repo: images, glob: "/*"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PfsSpec {
    /// Name of the repo, as in `images`; a pipeline writes the repo of its own name.
    pub repo: String,
    /// Its branch, as in `master`.
    #[serde(default = "master")]
    pub branch: String,
    /// Files that the plugin is run for: a directory as in `/raw/`, or a pattern as in `/*.png` or `/**`. Without it, all but those
    /// that the host keeps in `/dead-letter/`, `/late/` and `/.datums/`.
    #[serde(default, alias = "path", skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// When commits are taken as one, as in `{time: 1h}`. Without it, each is taken by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Where to start if this pipeline has not read the repo yet, as in `latest`: files of older commits are then left alone until
    /// they change.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start: RepoStart,
    /// What to do when commits that were not read yet are gone, or the branch was moved. `earliest` and `latest` compare what the
    /// commit there holds with what was read.
    #[serde(default, alias = "on_out_of_range", skip_serializing_if = "is_default")]
    pub on_out_of_range: OutOfRange,
    /// How often to look for new commits, as in `1s`; commits of this process are seen at once.
    #[serde(default = "second")]
    pub every: Period,
}

fn master() -> String {
    "master".into()
}

fn second() -> Period {
    Period(std::time::Duration::from_secs(1))
}

/// What becomes of a file that the plugin fails at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailedFile {
    /// The pipeline stops before it commits anything of that commit.
    #[default]
    Fail,
    /// The reason is committed under `/dead-letter/`, as the output of that file.
    DeadLetter,
}

/// A transform with the files that it is run for.
#[derive(Clone, Debug, PartialEq)]
pub struct PerFileSpec {
    /// The files.
    pub input: InputSpec,
    /// What is run.
    pub transform: TransformSpec,
}

impl PfsSpec {
    /// What is followed.
    fn followed(&self) -> RepoSpec {
        RepoSpec {
            repo: self.repo.clone(),
            branch: self.branch.clone(),
            path: None,
            glob: self.glob.clone(),
            trigger: self.trigger.clone(),
            split: false,
            start: self.start.clone(),
            mode: RepoMode::Files,
            framing: FramingSpec::default(),
            rewritten: Rewritten::Pass,
            on_out_of_range: self.on_out_of_range,
            every: self.every,
            producer: None,
            metadata: Vec::new(),
            own: false,
        }
    }

    fn selection(&self) -> Result<path::Selection, spout_repo::Error> {
        path::Selection::new(self.glob.as_deref())
    }
}

impl SourceSpec for PerFileSpec {
    fn reach(&self) -> Option<Reach> {
        self.transform.reach()
    }

    fn reads(&self) -> String {
        let PfsSpec { repo, branch, glob, .. } = &self.input.pfs;
        let files = glob.as_ref().map(|glob| format!(":{glob}")).unwrap_or_default();
        format!(
            "the files of {repo}@{branch}{files}, each given to {} when it is new or has changed",
            self.transform.label()
        )
    }

    fn peek(&self) -> Peek {
        Peek::Impossible(
            "it makes commits of its own; `spout plugin test --spec SPEC` runs it on stores that are gone afterwards"
                .into(),
        )
    }

    fn promise(&self) -> Promise {
        Promise::REPLAYABLE
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let transform = &self.transform;
        if transform.plugin.is_none() {
            let what = "only a plugin is run for each file; name one as `plugin: NAME` (`spout plugin new NAME --transform` makes one)";
            return Some((if transform.cmd.is_empty() { "plugin" } else { "cmd" }, what.into()));
        }
        let problem = self.input.pfs.followed().problem().map(|(key, what)| {
            let key = match key {
                "repo" => "input.pfs.repo",
                "branch" => "input.pfs.branch",
                "glob" => "input.pfs.glob",
                "trigger" => "input.pfs.trigger",
                _ => "input.pfs.start",
            };
            (key, what)
        });
        problem.or_else(|| transform.problem())
    }

    fn decodes(&self) -> bool {
        false
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &[]
    }

    fn unended(&self) -> String {
        self.input.pfs.followed().unended()
    }

    fn plugin(&self) -> Option<SourcePlugin<'_>> {
        Some(SourcePlugin { world: World::Transformer, ..self.transform.plugin()? })
    }

    fn upstream(&self) -> Option<Upstream<'_>> {
        Some(Upstream::Branch(&self.input.pfs.repo, &self.input.pfs.branch))
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        if self.transform.speaks_of_a_command() {
            let reason =
                "a plugin that is run for each file has `settings`, and neither `args`, `stdin` nor `output`".into();
            return Err(Error::Transform { reason });
        }
        let SourceContext { pipeline, store, output, writer_over, until_ended, .. } = context;
        let task = context.task.cloned().ok_or_else(|| Error::NotLoaded { plugin: self.transform.label() })?;
        let spec = self.input.pfs.followed();
        let files = self.input.pfs.selection().map_err(|source| Error::commit("choosing the files of", source))?;
        let label = format!("{}@{}", spec.repo, spec.branch);
        let branch = Branch { spec, store: store.clone(), writer_over, ends: until_ended, tracks: true };
        let make: Box<Make> = Box::new(move |_| Box::new(PerFile::new(task.clone(), branch.clone(), files.clone())));
        Ok(Box::new(SpoutProducer::new(pipeline, store, output, make).following(label)))
    }
}
