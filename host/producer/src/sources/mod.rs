//! The sources by their key in a spec, one file or folder each.
//!
//! To add one, write its file, with its [`SourceSpec`](crate::SourceSpec), and name it here.

mod http;
mod listen;
mod repo;
mod stdin;
mod stream;
mod subscribe;
mod tcp;
mod transform;

pub use self::{
    repo::Cron,
    stream::{ConsumerType, FetchSpec, Readers, Start, StreamSpec, Twice},
    subscribe::LinkedPublisher,
    transform::{InputSpec, OnExit, OnFailedFile, PerFileError, PerFileSpec, TransformSpec},
};

/// What a producer's spec can say: a key for each source, with a sentence for those who choose one, and what all have in common.
macro_rules! sources {
    ($($key:ident($spec:ty), $sentence:literal,)*) => {
        /// Where messages come from.
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct ProducerSpec {
            /// Its name within `producers`, as in `orders`: commits know its partitions by it, and rows have it in `__producer`.
            #[serde(default, skip_serializing_if = "String::is_empty")]
            pub name: String,
            $(
                #[doc = $sentence]
                #[serde(default)]
                pub $key: Option<$spec>,
            )*
            /// A spout that drives itself, which a spec has as `transform` beside `producer`.
            #[serde(skip)]
            pub transform: Option<TransformSpec>,
            /// A plugin that is run for each file, which a spec has as `input` and `transform` beside `producer`.
            #[serde(skip)]
            pub per_file: Option<Box<PerFileSpec>>,
            /// `stream` in Apache Pinot's terms: a flat map of strings.
            #[serde(default, alias = "stream_configs")]
            pub stream_configs: Option<std::collections::BTreeMap<String, String>>,
            /// What turns messages into rows.
            #[serde(default)]
            pub decoder: Option<crate::DecoderSpec>,
            /// What its plugins may reach, by plugin name, instead of what the pipeline grants them.
            #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub grants: std::collections::BTreeMap<String, spout_plugin::GrantSpec>,
        }

        impl ProducerSpec {
            /// The keys of all sources that are written in a producer.
            pub const SOURCES: &'static [&'static str] = &[$(stringify!($key)),*];

            /// What is written of sources, by key.
            #[must_use]
            pub fn written(&self) -> Vec<(&'static str, &dyn crate::SourceSpec)> {
                let mut all: Vec<(&'static str, &dyn crate::SourceSpec)> = Vec::new();
                $(
                    if let Some(spec) = &self.$key {
                        all.push((stringify!($key), spec));
                    }
                )*
                if let Some(spec) = &self.transform {
                    all.push(("transform", spec));
                }
                if let Some(spec) = &self.per_file {
                    all.push(("transform", spec.as_ref()));
                }
                all
            }

            /// What it reads. A sound spec has exactly one source.
            #[must_use]
            pub fn sources(&self) -> Vec<crate::Source> {
                let mut all = Vec::new();
                $(
                    if let Some(spec) = &self.$key {
                        all.push(crate::Source { key: stringify!($key), spec: std::sync::Arc::new(spec.clone()) });
                    }
                )*
                if let Some(spec) = &self.transform {
                    all.push(crate::Source { key: "transform", spec: std::sync::Arc::new(spec.clone()) });
                }
                if let Some(spec) = &self.per_file {
                    all.push(crate::Source { key: "transform", spec: std::sync::Arc::new(PerFileSpec::clone(spec)) });
                }
                all
            }
        }
    };
}

sources! {
    stream(StreamSpec), "A stream fetched through a plugin.",
    tcp(tcp::TcpSpec), "A TCP port: clients send streams of messages.",
    http(http::HttpSpec), "An HTTP port: clients post messages and are answered after the commit.",
    stdin(stdin::StdinSpec), "Standard input, until it ends.",
    subscribe(subscribe::SubscribeSpec), "A ZeroMQ publisher, or another pipeline of the same run.",
    repo(repo::RepoSpec), "The commits of another repo of the same store.",
}

impl ProducerSpec {
    /// The source of a sound spec.
    #[must_use]
    pub fn source(&self) -> Option<crate::Source> {
        self.sources().pop()
    }

    /// The same with the dead letters of the branch that its pipeline writes in the place of what it reads, if that is messages.
    #[must_use]
    pub fn of_dead_letters(&self, repo: &str, branch: &str, own: bool) -> Option<Self> {
        let source = self.source().filter(|source| source.spec.decodes())?;
        let name = Some(self.name.as_str()).filter(|name| !name.is_empty());
        let letters = repo::RepoSpec::dead_letters(repo, branch, name, source.spec.metadata());
        let letters = repo::RepoSpec { own, ..letters };
        Some(Self {
            name: self.name.clone(),
            repo: Some(letters),
            decoder: self.decoder.clone().or_else(|| source.spec.usual_decoder()),
            grants: self.grants.clone(),
            ..Self::default()
        })
    }
}
