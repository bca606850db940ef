//! What only the command line can get wrong.

use std::{io, path::PathBuf};

use spout_base::{
    counted::counted,
    error::{Coded, Kind},
};

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Arguments that do not go together.
    #[error("{what}; `spout {verb} --help` has examples")]
    Usage {
        /// The verb.
        verb: &'static str,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Workers that were waited for did not come.
    #[cfg(feature = "cluster")]
    #[error(
        "{there} of {wanted} workers have joined within a minute; start more `spout worker` processes of this store with the same token, or ask for fewer with --workers"
    )]
    TooFewWorkers {
        /// How many are there.
        there: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// A process of a cluster has to show that it is one.
    #[cfg(feature = "cluster")]
    #[error(
        "the processes of a cluster know each other by a token; make one with `openssl rand -hex 32 > token`, and name the file with --join-token, or set {variable}"
    )]
    NoToken {
        /// The variable.
        variable: &'static str,
    },
    /// No such code.
    #[error("there is no error code `{code}`; {advice}")]
    UnknownCode {
        /// What was asked for.
        code: String,
        /// The nearest code, or how to list them.
        advice: String,
    },
    /// A file outside the store cannot be written.
    #[error("cannot write {}; check the directory and its permissions", path.display())]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file outside the store cannot be read.
    #[error("cannot read {}; check the path and its permissions", path.display())]
    ReadFile {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A tool that building plugins needs is not there.
    #[error("cannot run `{tool}`; {advice}")]
    NoTool {
        /// The program.
        tool: String,
        /// How to get it.
        advice: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A plugin did not compile.
    #[error("the plugin in {} was not built: {what}", crate_dir.display())]
    Build {
        /// Its directory.
        crate_dir: PathBuf,
        /// What went wrong, and what to do.
        what: String,
    },
    /// A toolchain that is neither there nor can be installed.
    #[error("{tool} cannot be installed from PyPI: {why}; {instead}")]
    Toolchain {
        /// The package.
        tool: String,
        /// What the installer said.
        why: String,
        /// How else to get it.
        instead: &'static str,
    },
    /// A directory without plugin projects.
    #[error("{} contains no plugin project; name a directory with one, or one whose subdirectories have some; `spout plugin build --help` says what a project is", dir.display())]
    NoProject {
        /// The directory.
        dir: PathBuf,
    },
    /// Plugins that cannot be used as they are.
    #[error("{failed} of {plugins} failed; what to change is above")]
    PluginsFailed {
        /// How many failed.
        failed: u64,
        /// How many there are.
        plugins: String,
    },
    /// A plugin that does not hold what the host relies on.
    #[error(
        "{promises} tried, {broken} broken; the differences are above, and a pipeline with this plugin may lose, repeat or change rows"
    )]
    PromisesBroken {
        /// How many are broken.
        broken: u64,
        /// How many there are.
        promises: String,
    },
    /// Bytes that no person can read were to be shown to one.
    #[error(
        "{format} is binary, and standard output is a terminal; write to a file with -o, or pipe the output into a program"
    )]
    Terminal {
        /// The format.
        format: &'static str,
    },
    /// The name of a file does not say what is to be in it.
    #[error("the name {} does not tell the format; end it with .csv, .ndjson, .parquet or .arrow, or set `--format`", file.display())]
    OutputFormat {
        /// The file.
        file: PathBuf,
    },
    /// The store is not as it was written.
    #[error("fsck found {problems} in {place}; each is listed above, and commits that are not listed are intact")]
    Damaged {
        /// How many problems.
        problems: String,
        /// The store or repo.
        place: String,
    },
    /// Tables that are not as the commits are.
    #[error("{tables} could not be published; the reasons are above, and the tables stay as they were")]
    Unpublished {
        /// How many.
        tables: String,
    },
    /// The token cannot be read.
    #[error("there is no token for the server: {why}")]
    Token {
        /// Why not.
        why: String,
    },
    /// Something outside the store that is no file to put.
    #[error("cannot put {}: {why}", path.display())]
    NotAFile {
        /// The path outside.
        path: PathBuf,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// Tests of specs that did not pass.
    #[error("{failed} of {tests} failed; the differences are above: `-` was expected and is missing, `+` came instead")]
    TestsFailed {
        /// How many failed.
        failed: u64,
        /// How many there are.
        tests: String,
    },
    /// Specs without a test were to be tested.
    #[error("{what}; write some under `tests:`, as in `tests: [{{name: …, input: [{{…}}], expect: [{{…}}]}}]`")]
    NoTests {
        /// Where there is none.
        what: String,
    },
    /// More messages, or rows of them, were set aside than may be.
    #[error(
        "the run set aside {}, and --fail-on-dead-letters allows {allowed}; everything is committed, and the reasons are above",
        counted(*dead_letters, "dead letter")
    )]
    DeadLetters {
        /// How many were.
        dead_letters: u64,
        /// How many may be.
        allowed: u64,
    },
    /// A commit that was waited for is not there.
    #[error("there is no such commit of {reference} after {waited}; `spout list commit` shows what there is")]
    NoCommit {
        /// What was waited for.
        reference: String,
        /// How long.
        waited: String,
    },
    /// A program that may do anything was to be held to what the spec names.
    #[error(
        "pipeline `{pipeline}` runs a program of this machine (`trusted: true`), which `--harden` would break; run it by itself without `--harden`, or as a plugin"
    )]
    HardenedCommand {
        /// The pipeline.
        pipeline: String,
    },
    /// Senders were to have programs run by a server that is held to what it needs.
    #[error(
        "`--allow commands` lets senders run programs of this machine, which `--harden` would break; leave out one of them"
    )]
    HardenedServer,
    /// The system cannot hold a process to what its specs name.
    #[error("this process cannot be hardened: {why}; without `--harden` it runs with all that its user may do")]
    NotHardened {
        /// Why not.
        why: String,
    },
    /// What only the process knows that runs a pipeline.
    #[error("no process of this machine runs the pipeline `{pipeline}` of the store {store}; {advice}")]
    NotRunning {
        /// The pipeline.
        pipeline: String,
        /// The store.
        store: String,
        /// What runs, or how to start it.
        advice: String,
    },
    /// Something of what was looked at is wrong.
    #[error("{errors} found; what to do is said above")]
    Unwell {
        /// How many.
        errors: String,
    },
    /// A file that is there.
    #[error("{} is there already, and is left as it is; name another with -o, or remove it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Nobody looks at the terminal.
    #[error("standard output is no terminal that could be drawn on; `spout top --once` prints the same as text")]
    NoScreen,
    /// Stopped for the second time.
    #[error("stopped before everything that was read was committed; the next run reads it again")]
    Interrupted,
    /// The process cannot start what it needs to run.
    #[error("the system does not let this process start threads or handle signals; check its limits")]
    Runtime {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            #[cfg(feature = "cluster")]
            Self::NoToken { .. } => Kind::Spec,
            #[cfg(feature = "cluster")]
            Self::TooFewWorkers { .. } => Kind::Unavailable,
            Self::Usage { .. } | Self::UnknownCode { .. } | Self::NoProject { .. } => Kind::Spec,
            Self::Terminal { .. } | Self::OutputFormat { .. } => Kind::Spec,
            Self::NotAFile { .. } | Self::Token { .. } | Self::HardenedCommand { .. } | Self::HardenedServer => {
                Kind::Spec
            }
            Self::NoTests { .. } | Self::Exists { .. } | Self::NoScreen => Kind::Spec,
            Self::TestsFailed { .. } | Self::DeadLetters { .. } => Kind::Message,
            Self::WriteFile { .. }
            | Self::ReadFile { .. }
            | Self::NoTool { .. }
            | Self::Toolchain { .. }
            | Self::Runtime { .. }
            | Self::NoCommit { .. }
            | Self::NotHardened { .. }
            | Self::NotRunning { .. }
            | Self::Unwell { .. }
            | Self::Interrupted => Kind::Unavailable,
            Self::Build { .. } => Kind::Plugin,
            Self::PluginsFailed { .. } | Self::PromisesBroken { .. } => Kind::Plugin,
            Self::Damaged { .. } | Self::Unpublished { .. } => Kind::Corrupt,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "E0801",
            Self::UnknownCode { .. } => "E0802",
            Self::WriteFile { .. } => "E0803",
            Self::ReadFile { .. } => "E0804",
            Self::NoTool { .. } => "E0805",
            Self::Build { .. } => "E0806",
            Self::Toolchain { .. } => "E0833",
            Self::PluginsFailed { .. } => "E0834",
            Self::PromisesBroken { .. } => "E0835",
            Self::NoProject { .. } => "E0807",
            Self::Damaged { .. } => "E0809",
            Self::Runtime { .. } => "E0811",
            Self::Interrupted => "E0812",
            Self::Terminal { .. } => "E0820",
            Self::OutputFormat { .. } => "E0821",
            Self::Unpublished { .. } => "E0823",
            Self::NotAFile { .. } => "E0827",
            Self::Token { .. } => "E0844",
            Self::TestsFailed { .. } => "E0830",
            Self::NoTests { .. } => "E0831",
            Self::DeadLetters { .. } => "E0832",
            Self::NoCommit { .. } => "E0836",
            Self::HardenedCommand { .. } => "E0959",
            Self::NotHardened { .. } => "E0960",
            Self::HardenedServer => "E0961",
            Self::NotRunning { .. } => "E0925",
            Self::Unwell { .. } => "E0926",
            Self::Exists { .. } => "E0927",
            Self::NoScreen => "E0928",
            #[cfg(feature = "cluster")]
            Self::NoToken { .. } => "E0985",
            #[cfg(feature = "cluster")]
            Self::TooFewWorkers { .. } => "E0983",
        }
    }
}
