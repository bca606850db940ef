//! What a pipeline reads: what users write of one kind of source, and all that the host asks of it before it runs.

use std::{collections::BTreeMap, fmt::Debug, path::Path, sync::Arc};

use spout_base::{
    reach::Reach,
    secret::{Secret, SecretSpec},
};
use spout_plugin::{Settings, Task, World};
use spout_repo::Store;
use tokio_util::sync::CancellationToken;

use super::{
    CsvStyle, DecoderSpec, Error, FramingSpec, LinkedPublisher, MetadataColumn, OnExit, OnFailedFile, Producer,
    Promise, Standings, StoreAccess,
};

/// What a producer reads.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its key in a spec.
    pub key: &'static str,
    /// What is written there.
    pub spec: Arc<dyn SourceSpec>,
}

impl Source {
    /// What the messages belong to, for the decoder.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.spec.topic().unwrap_or(self.key)
    }

    /// What can be done where it has nothing for now and its end is waited for.
    #[must_use]
    pub fn how_to_end(&self) -> String {
        format!("{}; `--until idle` stops when there is nothing to read", self.spec.unended())
    }
}

/// What users write of one kind of source.
///
/// All of a source is in its own file or folder: what can be written of it, this, and how it is read ([`Producer`]). Besides,
/// it has a line in the list of [`sources`](super::sources).
pub trait SourceSpec: Debug + Send + Sync {
    /// What this one reads, in a few words, for `spout check`.
    fn reads(&self) -> String;

    /// What it reaches beyond the store, the sandbox of its plugin, and its secret.
    fn reach(&self) -> Option<Reach>;

    /// Whether it reads files of the machine that are its own.
    fn reads_files(&self) -> bool {
        false
    }

    /// What it can promise.
    fn promise(&self) -> Promise;

    /// What it does to others that a few of its messages are read, and nothing of them is committed.
    fn peek(&self) -> Peek;

    /// The first key whose value cannot work, and what to do about it.
    fn problem(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Whether it brings messages that a decoder has to make rows of.
    fn decodes(&self) -> bool {
        true
    }

    /// The decoder where the spec names none.
    fn usual_decoder(&self) -> Option<DecoderSpec> {
        None
    }

    /// What the messages belong to, for the decoder, where that is not its key.
    fn topic(&self) -> Option<&str> {
        None
    }

    /// Columns added to every row from the message it came from.
    fn metadata(&self) -> &[MetadataColumn];

    /// Where messages end in its bytes, where that is for the host to find.
    fn framing(&self) -> Option<&FramingSpec> {
        None
    }

    /// How it tells CSV records apart, if it does, and the key that says so.
    fn csv(&self) -> Option<(&'static str, CsvStyle)> {
        Some(("framing", self.framing()?.csv()?))
    }

    /// Whether offsets can be passed over where they are reached: its messages come by partition, each at its own.
    fn passes_over(&self) -> bool {
        false
    }

    /// Whether it may say one day that nothing will ever follow.
    fn may_end(&self) -> bool {
        true
    }

    /// Why it has not ended, where it has nothing for now.
    fn unended(&self) -> String {
        "its source has not ended".into()
    }

    /// The plugin that it is read through, if it is.
    fn plugin(&self) -> Option<SourcePlugin<'_>> {
        None
    }

    /// The secret that it needs, and its key.
    fn secret(&self) -> Option<(&'static str, &SecretSpec)> {
        None
    }

    /// What it may read of another pipeline of the same run.
    fn upstream(&self) -> Option<Upstream<'_>> {
        None
    }

    /// Whether it replays dead letters into the table that they would have gone into.
    fn replays(&self) -> bool {
        false
    }

    /// What of the process it takes for itself, so that it can be read once only.
    fn exclusive(&self) -> Option<&'static str> {
        None
    }

    /// What reads it while a pipeline runs. Nothing is opened yet.
    ///
    /// # Errors
    /// What `context` lacks.
    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error>;
}

/// What it does to others that a few messages of a source are read, and nothing of them is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing.
    Harmless,
    /// Something that passes by itself: what.
    Passing(String),
    /// Something that stays, or that somebody else notices, so that it has to be wanted: what.
    Harmful(String),
    /// It cannot be done: why not, and what to do instead.
    Impossible(String),
}

/// How a spec uses the plugin that a source is read through.
#[derive(Clone, Copy, Debug)]
pub struct SourcePlugin<'a> {
    /// Its name, perhaps with its digest; the key is `plugin`.
    pub reference: &'a str,
    /// What it is used as.
    pub world: World,
    /// Its settings; the key is `settings`.
    pub settings: &'a Settings,
    /// What it reads.
    pub topic: &'a str,
    /// Environment variables that it has besides those that are granted.
    pub env: Option<&'a BTreeMap<String, String>>,
    /// Whether it is to be acknowledged.
    pub acked: bool,
}

/// What a source may read of another pipeline of the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream<'a> {
    /// What the pipeline of this name consumes, over a link between the two; the key is `pipeline`.
    Link(&'a str),
    /// The branch of a repo that it may write.
    Branch(&'a str, &'a str),
}

/// Where a pipeline commits, for a source that makes commits of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The branch of the repo that has the pipeline's name.
    pub branch: String,
    /// Whether a put that does not say so takes the place of what the file has.
    pub overwrite: bool,
    /// The file that shows the marker.
    pub marker: Option<String>,
    /// What to do when the source has ended by itself.
    pub on_exit: OnExit,
    /// What becomes of a file of its input that a plugin fails at.
    pub on_failed_file: OnFailedFile,
}

/// Where a source is read.
#[derive(Debug)]
pub struct SourceContext<'a> {
    /// Name of the pipeline.
    pub pipeline: &'a str,
    /// Where relative paths of the spec start.
    pub base: &'a Path,
    /// What makes rows of its messages.
    pub decoder: &'a DecoderSpec,
    /// Its [plugin](SourceSpec::plugin).
    pub task: Option<&'a Task>,
    /// Its [secret](SourceSpec::secret).
    pub secret: Option<&'a Secret>,
    /// Where repos are.
    pub store: &'a Store,
    /// Where it says what is in the way.
    pub standings: Standings,
    /// The other end, where it reads another pipeline over a link.
    pub publisher: Option<LinkedPublisher>,
    /// Cancelled when the pipeline that writes the branch it reads is over; `None` where none of this run does.
    pub writer_over: Option<CancellationToken>,
    /// Whether the pipeline stops when everything that it reads has ended.
    pub until_ended: bool,
    /// Where the pipeline commits.
    pub output: &'a Output,
    /// What lets programs of this machine into the API of the store, if anything does.
    pub access: Option<&'a Arc<dyn StoreAccess>>,
}
