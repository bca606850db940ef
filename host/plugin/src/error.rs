//! What can go wrong with a plugin, told apart by what happens next.

use std::{fmt, io, path::PathBuf, time::Duration};

use spout_base::spill::Unspilled;
use spout_data::Position;
use thiserror::Error;

use super::{TooMuch, World};

/// Who was called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the plugin.
    pub plugin: String,
    /// The call, such as `partition-consumer.fetch`.
    pub call: &'static str,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin `{}` of pipeline `{}`, call {}", self.plugin, self.pipeline, self.call)
    }
}

/// An error of the plugin room.
#[derive(Debug, Error)]
pub enum Error {
    /// The guest asks to be tried again.
    #[error("{at}: {code}: {message}")]
    Retriable {
        /// Who was called.
        at: Box<At>,
        /// The guest's code.
        code: String,
        /// The guest's words.
        message: String,
        /// How long the guest wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The guest says that retrying is pointless.
    #[error("{at}: {code}: {message}")]
    Fatal {
        /// Who was called.
        at: Box<At>,
        /// The guest's code.
        code: String,
        /// The guest's words.
        message: String,
    },
    /// The guest cannot work with its settings.
    #[error("{at}: invalid settings: {code}: {message}; `spout plugin inspect {}` lists the settings it takes", .at.plugin)]
    InvalidConfig {
        /// Who was called.
        at: Box<At>,
        /// The guest's code.
        code: String,
        /// The guest's words.
        message: String,
    },
    /// The source no longer has the offset asked for.
    #[error("{at}: the source no longer has the offset; it has {}", shown(.range))]
    OutOfRange {
        /// Who was called.
        at: Box<At>,
        /// What the source has: the oldest message that was not read, and the place after the newest one.
        range: Option<Box<(Position, Position)>>,
    },
    /// The guest says the stream is over where it may not.
    #[error("{at}: the guest reported the end of the stream, which only `progress` may do")]
    EndOfStream {
        /// Who was called.
        at: Box<At>,
    },
    /// The guest gave up on its own.
    #[error("{at}: the guest cancelled the call")]
    Cancelled {
        /// Who was called.
        at: Box<At>,
    },
    /// The guest trapped: a panic, an unreachable, an access out of bounds.
    #[error("{at}: the guest crashed: {reason}")]
    Trap {
        /// Who was called.
        at: Box<At>,
        /// What the runtime says.
        reason: String,
    },
    /// The guest took too long.
    #[error(
        "{at}: no response within {limit:?}; raise `limits.call`, or look for an endless loop or wait in the plugin"
    )]
    TimedOut {
        /// Who was called.
        at: Box<At>,
        /// The limit.
        limit: Duration,
    },
    /// The pipeline wanted to stop, and the guest was busy for too long.
    #[error(
        "{at}: interrupted because it was still busy when the pipeline had to stop; the next run rereads everything since the last commit"
    )]
    Interrupted {
        /// Who was called.
        at: Box<At>,
    },
    /// The guest wanted more than its quota.
    #[error(
        "{at}: the guest exceeded its limit of {limit} for {what}; raise `limits.{setting}`, or make the plugin use less"
    )]
    Limit {
        /// Who was called.
        at: Box<At>,
        /// Of what.
        what: &'static str,
        /// How much.
        limit: String,
        /// The spec's name for it.
        setting: &'static str,
    },
    /// The instances of a plugin wanted more than all of them may have.
    #[error(
        "{at}: its instances in this pipeline, {instances} of them, would exceed the limit of {limit} for {what} of one plugin; this one has {mine}; raise `limits.{setting}`, lower `readers`, or make the plugin use less"
    )]
    Together {
        /// Who was called.
        at: Box<At>,
        /// Of what.
        what: &'static str,
        /// The spec's name for the limit.
        setting: &'static str,
        /// How much.
        limit: String,
        /// What the instance has that wanted more.
        mine: String,
        /// How many there are.
        instances: u64,
    },
    /// The source has more partitions than it may.
    #[error(
        "{at}: the source has {count} partitions, more than the {limit} that `limits.partitions` allows; raise it, or read fewer with the settings of the plugin"
    )]
    Partitions {
        /// Who was called.
        at: Box<At>,
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: u32,
    },
    /// The guest ended its own process.
    #[error("{at}: the guest exited with status {status}; a plugin must return an error instead")]
    Exit {
        /// Who was called.
        at: Box<At>,
        /// The status.
        status: i32,
    },
    /// A command exited with a status other than 0.
    #[error("{at}: the command exited with status {status}; what it said before is in the log")]
    Exited {
        /// Who was called.
        at: Box<At>,
        /// The status.
        status: i32,
    },
    /// What the guest returned breaks the interface's rules.
    #[error("{at}: the answer violates the interface: {what}; fix the plugin (the answer was discarded)")]
    Contract {
        /// Who was called.
        at: Box<At>,
        /// Which value, and what is wrong with it.
        what: String,
    },
    /// A column has a type that the interface has no word for.
    #[error("{at}: {what}")]
    Column {
        /// Who was called.
        at: Box<At>,
        /// Which column, and what to do.
        what: String,
    },
    /// The guest keeps more state than it may.
    #[error(
        "{at}: the keyed state exceeds its limit of {limit}; raise limits.state, or make the plugin delete keys it no longer needs"
    )]
    StateFull {
        /// Who was called.
        at: Box<At>,
        /// How much.
        limit: String,
    },
    /// The guest keeps state, and its spec says that it does not.
    #[error("{at}: the plugin keeps keyed state, which a stateless handler does not have; remove `stateless: true`")]
    Stateless {
        /// Who was called.
        at: Box<At>,
    },
    /// There is no room for keyed state.
    #[error(transparent)]
    Unspilled(Unspilled),
    /// The instance is gone.
    #[error("the plugin's instance is gone; this is a bug in the host")]
    Closed,
    /// The plugins directory cannot be read.
    #[error("cannot read the plugins directory {}; set it with `--plugins`, or build the plugins with `just plugins`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no plugin of that name.
    #[error("there is no plugin `{name}` in {}{}", dir.display(), nearest(.project, .near))]
    NotFound {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
        /// The project that it is built from, where it lies beside.
        project: Option<PathBuf>,
        /// A name that is close.
        near: Option<String>,
    },
    /// The file is not WebAssembly, or broken.
    #[error("{} is not a WebAssembly component: {reason}; build it with `spout plugin build`", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file is a core module.
    #[error("{} is a core WebAssembly module, not a component; build it for the target wasm32-wasip2, as `spout plugin build` does", path.display())]
    NotAComponent {
        /// The file.
        path: PathBuf,
    },
    /// The plugin does not have the interface.
    #[error("plugin `{plugin}` is not a {wanted}; it has {has}")]
    WrongWorld {
        /// The plugin.
        plugin: String,
        /// What it was asked to be.
        wanted: String,
        /// What it is.
        has: String,
    },
    /// It is a component, and nothing that a pipeline knows.
    #[error(
        "`{plugin}` is a component, but no plugin: it has {has}; export a part of it with `register!` (in Python, derive a class from Decoder, Handler, Source or Stream)"
    )]
    NoInterface {
        /// The plugin.
        plugin: String,
        /// What it is.
        has: String,
    },
    /// The spec does not say which of several things it means.
    #[error("plugin `{plugin}` offers several {world}s: {offers}; write `plugin: {example}`, or another one of them")]
    Several {
        /// The plugin.
        plugin: String,
        /// What it is used as.
        world: World,
        /// The names of all.
        offers: String,
        /// One of them, as a spec names it.
        example: String,
    },
    /// There is no offer of that name.
    #[error("plugin `{plugin}` has no {what} `{wanted}`; it offers {offers}")]
    NoOffer {
        /// The plugin.
        plugin: String,
        /// What it is used as, or `offer`.
        what: String,
        /// The name that was asked for.
        wanted: String,
        /// The names of all.
        offers: String,
    },
    /// The plugin speaks another version of the interface.
    #[error("{} was built for {found}, but this host supports spout:plugin@0.1; rebuild the plugin with this release's `spout-guest`, or use the host it was built for", path.display())]
    WrongVersion {
        /// The file.
        path: PathBuf,
        /// What it speaks.
        found: String,
    },
    /// The plugin asks for something that the spec does not grant.
    #[error("plugin `{plugin}` asks for {missing}, which the spec does not grant; add {add}")]
    Ungranted {
        /// The plugin.
        plugin: String,
        /// What it asks for.
        missing: String,
        /// What to add to the spec.
        add: String,
    },
    /// A granted directory is not there.
    #[error("plugin `{plugin}` is granted the directory {} as `{name}`, which cannot be opened; create it or fix `grants`", path.display())]
    Grant {
        /// The plugin.
        plugin: String,
        /// The name inside.
        name: String,
        /// The directory on the host.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// An environment variable of a plugin has no value.
    #[error("plugin `{plugin}` is granted the environment variable `{name}`, which has no value: {reason}")]
    Env {
        /// The plugin.
        plugin: String,
        /// The variable.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An endpoint of a plugin cannot be used.
    #[error("plugin `{plugin}` is granted the endpoint `{name}`, which cannot be used: {reason}")]
    Endpoint {
        /// The plugin.
        plugin: String,
        /// The endpoint.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A secret of a plugin cannot be read.
    #[error("plugin `{plugin}` is granted the secret `{name}`, which cannot be read: {reason}")]
    Secret {
        /// The plugin.
        plugin: String,
        /// The secret.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A granted directory is the host's own.
    #[error(
        "plugin `{plugin}` is granted the directory {} as `{name}`, which overlaps {what}, {}; grant a directory that neither contains it nor lies inside it",
        path.display(),
        reserved.display()
    )]
    Reserved {
        /// The plugin.
        plugin: String,
        /// The name inside.
        name: String,
        /// The directory on the host.
        path: PathBuf,
        /// What it overlaps.
        what: &'static str,
        /// Where that is.
        reserved: PathBuf,
    },
    /// The file is not the one that the spec pins.
    #[error(
        "plugin `{plugin}` has the digest {found}, but the spec pins {pinned}; restore the pinned file, or pin the new one"
    )]
    DigestMismatch {
        /// The plugin.
        plugin: String,
        /// The digest of the file.
        found: String,
        /// The digest in the spec.
        pinned: String,
    },
    /// The component cannot be compiled.
    #[error("cannot compile {}: {reason}", path.display())]
    Compile {
        /// The file.
        path: PathBuf,
        /// What the compiler said.
        reason: String,
    },
    /// Compiling the component takes more than it may.
    #[error("compiling plugin `{plugin}` ({}) takes more than {much}", path.display())]
    CompileLimit {
        /// The plugin.
        plugin: String,
        /// The file.
        path: PathBuf,
        /// More than what.
        much: TooMuch,
    },
    /// The compiler did not survive the component.
    #[error("the compiler crashed on plugin `{plugin}` ({}): {reason}", path.display())]
    CompilerCrash {
        /// The plugin.
        plugin: String,
        /// The file.
        path: PathBuf,
        /// How it ended, and what it said.
        reason: String,
    },
    /// The runtime itself cannot start.
    #[error("cannot start the WebAssembly runtime: {reason}")]
    Runtime {
        /// What it said.
        reason: String,
    },
}

fn shown(range: &Option<Box<(Position, Position)>>) -> String {
    range.as_ref().map_or_else(|| "other offsets".to_owned(), |range| format!("{}..{}", range.0.offset, range.1.offset))
}

fn nearest(project: &Option<PathBuf>, near: &Option<String>) -> String {
    match (project, near) {
        (Some(project), _) => format!("; build it first: `spout plugin build {}`", project.display()),
        (None, Some(near)) => format!("; did you mean `{near}`?"),
        (None, None) => "; `spout plugin list` lists them".into(),
    }
}

impl Error {
    /// Whether it cost the instance, so that another one, or fewer messages, may succeed.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        matches!(
            self,
            Self::Trap { .. } | Self::TimedOut { .. } | Self::Limit { .. } | Self::Exit { .. } | Self::Exited { .. }
        )
    }

    /// Whether the guest used up all the time it had.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// The code of a message or row that causes this error.
    #[must_use]
    pub fn fault_code(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "plugin.timeout",
            Self::Limit { .. } => "plugin.limit",
            Self::Exit { .. } => "plugin.exit",
            _ => "plugin.trap",
        }
    }

    /// A stored stream checkpoint that cannot be read.
    #[must_use]
    pub fn token(reason: &str) -> Self {
        let at = Box::new(At { call: "stream-consumer.open", ..At::default() });
        Self::Contract { at, what: format!("the stored checkpoint cannot be read: {reason}") }
    }
}
