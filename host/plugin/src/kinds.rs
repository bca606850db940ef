//! What each error of this room means to whoever decides what happens next: its kind, and its code.

use spout_base::error::{Coded, Kind};

use super::Error;

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Retriable { .. } => Kind::Unavailable,
            Self::Unspilled(error) => error.kind(),
            Self::InvalidConfig { .. }
            | Self::Column { .. }
            | Self::StateFull { .. }
            | Self::Stateless { .. }
            | Self::Directory { .. }
            | Self::NotFound { .. }
            | Self::Broken { .. }
            | Self::NotAComponent { .. }
            | Self::WrongWorld { .. }
            | Self::NoInterface { .. }
            | Self::Several { .. }
            | Self::NoOffer { .. }
            | Self::WrongVersion { .. }
            | Self::Ungranted { .. }
            | Self::Grant { .. }
            | Self::Env { .. }
            | Self::Endpoint { .. }
            | Self::Secret { .. }
            | Self::Reserved { .. }
            | Self::DigestMismatch { .. }
            | Self::Compile { .. }
            | Self::CompileLimit { .. }
            | Self::CompilerCrash { .. }
            | Self::Partitions { .. } => Kind::Spec,
            Self::Closed | Self::Runtime { .. } => Kind::Internal,
            _ => Kind::Plugin,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Retriable { .. } => "E0201",
            Self::Fatal { .. } | Self::Cancelled { .. } | Self::EndOfStream { .. } => "E0202",
            Self::InvalidConfig { .. } => "E0203",
            Self::OutOfRange { .. } => "E0204",
            Self::Trap { .. } => "E0205",
            Self::TimedOut { .. } => "E0206",
            Self::Limit { .. } => "E0207",
            Self::Exit { .. } => "E0208",
            Self::Contract { .. } => "E0209",
            Self::Directory { .. } => "E0210",
            Self::NotFound { .. } => "E0211",
            Self::Broken { .. } => "E0212",
            Self::NotAComponent { .. } => "E0213",
            Self::WrongWorld { .. } | Self::NoInterface { .. } => "E0214",
            Self::WrongVersion { .. } => "E0215",
            Self::Ungranted { .. } => "E0216",
            Self::Grant { .. } => "E0217",
            Self::DigestMismatch { .. } => "E0218",
            Self::Compile { .. } => "E0219",
            Self::Closed | Self::Runtime { .. } => "E0220",
            Self::Reserved { .. } => "E0221",
            Self::Interrupted { .. } => "E0222",
            Self::Column { .. } => "E0223",
            Self::StateFull { .. } | Self::Stateless { .. } => "E0224",
            Self::Several { .. } | Self::NoOffer { .. } => "E0225",
            Self::Exited { .. } => "E0226",
            Self::Unspilled(error) => error.code(),
            Self::Env { .. } => "E0231",
            Self::Endpoint { .. } => "E0240",
            Self::Secret { .. } => "E0241",
            Self::CompileLimit { .. } => "E0232",
            Self::CompilerCrash { .. } => "E0233",
            Self::Together { .. } => "E0234",
            Self::Partitions { .. } => "E0235",
        }
    }
}
