//! What a pipeline reads, as its spec says: one of the kinds of producer.

use spout_plugin::PluginRef;

use super::{
    ConsumerType, HttpSpec, MetadataColumn, Promise, RepoMode, RepoSpec, RepoStart, Start, StdinSpec, StreamSpec,
    SubscribeSpec, TcpSpec,
};

/// What a pipeline reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A stream, fetched through a plugin.
    Stream(StreamSpec),
    /// A TCP port.
    Tcp(TcpSpec),
    /// An HTTP port.
    Http(HttpSpec),
    /// Standard input.
    Stdin(StdinSpec),
    /// A ZeroMQ publisher, or another pipeline.
    Subscribe(SubscribeSpec),
    /// The commits of another repo.
    Repo(RepoSpec),
}

impl Source {
    /// Its key in a spec.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::Stdin(_) => "stdin",
            Self::Subscribe(_) => "subscribe",
            Self::Repo(_) => "repo",
        }
    }

    /// What it can promise.
    #[must_use]
    pub fn promise(&self) -> Promise {
        match self {
            Self::Stream(_) | Self::Repo(_) => Promise::REPLAYABLE,
            Self::Tcp(spec) => spec.promise(),
            Self::Http(spec) => spec.promise(),
            Self::Stdin(spec) => spec.promise(),
            Self::Subscribe(spec) => spec.promise(),
        }
    }

    /// Whether it brings messages that a decoder has to make rows of.
    #[must_use]
    pub fn decodes(&self) -> bool {
        match self {
            Self::Stream(_) | Self::Tcp(_) | Self::Http(_) | Self::Stdin(_) | Self::Subscribe(_) => true,
            Self::Repo(spec) => spec.mode != RepoMode::Rows,
        }
    }

    /// What the decoder is told that the messages belong to.
    #[must_use]
    pub fn topic(&self) -> &str {
        match self {
            Self::Stream(spec) => &spec.topic,
            Self::Tcp(_) | Self::Http(_) | Self::Stdin(_) | Self::Subscribe(_) => self.key(),
            Self::Repo(spec) => &spec.repo,
        }
    }

    /// Columns added to every row from the message it came from.
    #[must_use]
    pub fn metadata(&self) -> &[MetadataColumn] {
        match self {
            Self::Stream(spec) => &spec.metadata,
            Self::Tcp(spec) => &spec.metadata,
            Self::Http(spec) => &spec.metadata,
            Self::Stdin(spec) => &spec.metadata,
            Self::Subscribe(spec) => &spec.metadata,
            Self::Repo(spec) => &spec.metadata,
        }
    }

    /// Whether it may say one day that nothing will ever follow. Who listens waits for senders for ever.
    #[must_use]
    pub fn may_end(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Http(_) => false,
            Self::Stream(_) | Self::Stdin(_) | Self::Subscribe(_) | Self::Repo(_) => true,
        }
    }

    /// What can be done where it has nothing for now and its end is waited for.
    #[must_use]
    pub fn how_to_end(&self) -> String {
        let how = match self {
            Self::Stream(spec) => format!(
                "plugin `{}` has not reported the end of its partitions; see its settings (`files` follows its files unless `follow: false`)",
                PluginRef::parse(&spec.plugin).label
            ),
            Self::Repo(spec) => format!("the pipeline that writes {}@{} has not ended", spec.repo, spec.branch),
            Self::Tcp(_) | Self::Http(_) | Self::Stdin(_) | Self::Subscribe(_) => "its source has not ended".into(),
        };
        format!("{how}; `--until idle` stops when there is nothing to read")
    }

    /// What it reads, for people.
    #[must_use]
    pub fn reads(&self) -> String {
        match self {
            Self::Stream(spec) => stream(spec),
            Self::Tcp(spec) => format!("what clients send to TCP port {}", spec.listen),
            Self::Http(spec) => format!("what is posted to http://{}{}", spec.listen, spec.path),
            Self::Stdin(_) => "standard input".into(),
            Self::Subscribe(spec) => spec.reads(),
            Self::Repo(spec) => repo(spec),
        }
    }
}

fn repo(spec: &RepoSpec) -> String {
    let what = match spec.mode {
        RepoMode::Rows => "rows",
        RepoMode::Files => "files",
        RepoMode::Lines => "lines",
    };
    let start = match &spec.start {
        RepoStart::Earliest => "the first commit".into(),
        RepoStart::Latest => "the next commit".into(),
        RepoStart::Commit(id) => format!("commit {id}"),
    };
    let path = spec.path.as_deref().map(|path| format!(":{path}")).unwrap_or_default();
    format!("{what} of the commits of {}@{}{path}, from {start} or the last one read", spec.repo, spec.branch)
}

fn stream(spec: &StreamSpec) -> String {
    let how = match spec.consumer_type {
        ConsumerType::Lowlevel => "by partition",
        ConsumerType::Highlevel => "as one stream",
    };
    let start = match &spec.start {
        Start::Earliest => "earliest".into(),
        Start::Latest => "latest".into(),
        Start::Time(time) => time.to_string(),
        Start::Ago(period) => format!("{period} ago"),
        Start::Offset(offsets) => format!("the offsets of {} partitions", offsets.len()),
    };
    let plugin = PluginRef::parse(&spec.plugin).label;
    format!("topic `{}` of {plugin}, {how}, from {start} or the last commit", spec.topic)
}
