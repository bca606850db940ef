//! What only a server can refuse.

use std::{io, net::SocketAddr, path::PathBuf};

use spout_base::error::{Coded, Kind};
use spout_wire::Refused;

use crate::Access;

/// An error of the server room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No token, or none that is known.
    #[error("{why}; send `Authorization: Bearer TOKEN` with a token of `spout token create`")]
    Unauthorized {
        /// Why not.
        why: &'static str,
    },
    /// The token does not allow it.
    #[error(
        "this token has no scope `{access}:{}`, which that takes; ask for one that has: `spout token create --help`",
        name.as_deref().unwrap_or("*")
    )]
    Forbidden {
        /// What it would take.
        access: Access,
        /// Of which repo, pipeline or plugin; of any, where it is about none.
        name: Option<String>,
    },
    /// What stands there runs.
    #[error(
        "the repo {repo} is not changed as others are: use the routes of pipelines and plugins, or a command on the store itself"
    )]
    OwnRepo {
        /// Its name.
        repo: String,
    },
    /// A spec reads a repo that its sender may not.
    #[error(
        "`{key}` of pipeline {pipeline} reads the repo {repo}, which is not there for this token; ask for one with the scope read:{repo}"
    )]
    Unseen {
        /// The pipeline.
        pipeline: String,
        /// What says so.
        key: String,
        /// The repo.
        repo: String,
    },
    /// A repair needs the store to itself.
    #[error(
        "nothing was repaired: this server runs {pipelines}, and a repair removes what a running write has not finished; stop them first: `spout stop pipeline NAME`"
    )]
    AtWork {
        /// Their names.
        pipelines: String,
    },
    /// A trial takes too long.
    #[error(
        "the trial of {what} took longer than {seconds} s and was stopped; try less of it, or run `{command}` beside it, which has no limit"
    )]
    TrialTime {
        /// What was tried.
        what: String,
        /// How long that may take.
        seconds: u64,
        /// What does the same without a server.
        command: &'static str,
    },
    /// A web page of somebody else asks.
    #[error("a server without tokens does not answer web pages: {why}; start it with --tokens")]
    CrossSite {
        /// How that shows.
        why: &'static str,
    },
    /// The request cannot be read.
    #[error("the request cannot be understood: {why}; /openapi.json says what each route takes")]
    Request {
        /// Why not.
        why: String,
    },
    /// There is no such route.
    #[error("there is no {method} {path}; /openapi.json lists the routes")]
    NoRoute {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// The route has other methods.
    #[error("{path} has no {method}; /openapi.json lists the routes")]
    NoMethod {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// The body is too large.
    #[error("the body has more than {limit} bytes; send less at once, or start the server with a larger --max-body")]
    TooLarge {
        /// How many it may have.
        limit: u64,
    },
    /// The body does not come.
    #[error("the body did not come within {seconds} s; nothing of it was kept, so send it again")]
    Slow {
        /// How long it was waited for.
        seconds: u64,
    },
    /// Too many connections.
    #[error(
        "{refused}; try again later, close connections that are not used, or start the server with a larger --max-connections or --max-per-address"
    )]
    Busy {
        /// What there are too many of.
        refused: Refused,
    },
    /// A query takes too long.
    #[error("the query took longer than {seconds} s and was stopped; ask for less")]
    QueryTime {
        /// How long it may take.
        seconds: u64,
    },
    /// The socket of this machine.
    #[error(
        "cannot open the control socket {}: what runs here cannot be steered from another process; `SPOUT_RUNTIME` names a directory of your own for it",
        path.display()
    )]
    Control {
        /// The socket, or its directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A bug.
    #[error("the request met a bug in the server; its log says more")]
    Panicked,
    /// No pipeline of that name runs here.
    #[error("no pipeline `{name}` runs on this server; `/v1/pipelines` lists those that do")]
    NoPipeline {
        /// Its name.
        name: String,
    },
    /// The file of tokens.
    #[error("the tokens in {} cannot be used: {why}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// No such token.
    #[error("there is no token `{id}` in {place}; `spout token list` shows them")]
    NoToken {
        /// What was asked for.
        id: String,
        /// The file.
        place: String,
    },
    /// The address would let others in.
    #[error("{address} can be reached from other machines, and {why}; or listen on 127.0.0.1")]
    Exposed {
        /// The address.
        address: SocketAddr,
        /// What is missing, and what to do.
        why: &'static str,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}; choose another with --listen")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] spout_wire::IdentityError),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Slow { .. } | Self::Busy { .. } | Self::Listen { .. } => Kind::Unavailable,
            Self::Panicked => Kind::Internal,
            Self::AtWork { .. } => Kind::Conflict,
            _ => Kind::Spec,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized { .. } => "E0901",
            Self::Forbidden { .. } => "E0902",
            Self::Request { .. } => "E0903",
            Self::NoRoute { .. } | Self::NoMethod { .. } => "E0904",
            Self::TooLarge { .. } => "E0905",
            Self::Slow { .. } => "E0906",
            Self::Busy { .. } => "E0907",
            Self::QueryTime { .. } => "E0908",
            Self::Control { .. } => "E0920",
            Self::Panicked => "E0909",
            Self::NoPipeline { .. } => "E0910",
            Self::TokenFile { .. } => "E0911",
            Self::NoToken { .. } => "E0912",
            Self::Exposed { .. } => "E0913",
            Self::Listen { .. } => "E0914",
            Self::Tls(error) => error.code(),
            Self::CrossSite { .. } => "E0916",
            Self::OwnRepo { .. } => "E0917",
            Self::Unseen { .. } => "E0918",
            Self::AtWork { .. } => "E0919",
            Self::TrialTime { .. } => "E0932",
        }
    }
}
