//! What each error of this room means to whoever decides what happens next: its kind, and its code.

use spout_archive::Fault;
use spout_base::error::{Coded, Kind};

use super::Error;

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Stream { source, .. } | Self::Decoder { source, .. } | Self::GivenUp { source, .. } => source.kind(),
            Self::OutOfRange { .. } | Self::Ambiguous { .. } => Kind::Plugin,
            Self::Tls(error) => error.kind(),
            Self::Start { .. }
            | Self::Unseekable { .. }
            | Self::Schema { .. }
            | Self::Differ { .. }
            | Self::Unsettled { .. }
            | Self::File { .. }
            | Self::Framing { .. } => Kind::Spec,
            Self::Registry(source) => source.kind(),
            Self::Subscribe { .. } | Self::Access { .. } | Self::Busy { .. } | Self::TooSlow => Kind::Unavailable,
            Self::NotLinked { .. } => Kind::Spec,
            Self::Upstream { source, .. } => source.kind(),
            Self::Spout { source, .. } => source.kind(),
            Self::PerFile(source) => source.kind(),
            Self::Commit { source, .. } => source.kind(),
            Self::Rewritten { .. } | Self::Gone { .. } => Kind::Plugin,
            Self::ManyCommits { .. }
            | Self::ManyHeld { .. }
            | Self::ManyFiles { .. }
            | Self::Unclosed
            | Self::LargeMarker { .. }
            | Self::OwnFile { .. }
            | Self::NoTable { .. }
            | Self::NoSuchFile { .. }
            | Self::Ended { .. }
            | Self::SpoutOver => Kind::Plugin,
            Self::Archive { source } => match &source.fault {
                Fault::Unread(_) => Kind::Unavailable,
                _ => Kind::Plugin,
            },
            Self::Uncommitted { source, .. } => match source.kind() {
                // What cannot be put is not what the user wrote, but what the command did.
                Kind::Spec | Kind::Message => Kind::Plugin,
                other => other,
            },
            Self::Launch { .. } | Self::Transform { .. } => Kind::Spec,
            Self::Pfs { .. } => Kind::Unavailable,
            Self::Listen { .. } | Self::Secret { .. } | Self::StdinTaken | Self::Stdin { .. } => Kind::Spec,
            Self::Frame { .. } | Self::Compressed { .. } => Kind::Message,
            Self::Kernel { .. } | Self::NotLoaded { .. } | Self::Panicked { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Stream { source, .. } | Self::Decoder { source, .. } | Self::GivenUp { source, .. } => source.code(),
            Self::OutOfRange { .. } => "E0301",
            Self::Tls(error) => error.code(),
            Self::Start { .. } => "E0302",
            Self::Unseekable { .. } => "E0360",
            Self::Schema { .. } => "E0304",
            Self::Differ { .. } => "E0307",
            Self::Unsettled { .. } => "E0308",
            Self::Kernel { .. } => "E0305",
            Self::Ambiguous { .. } => "E0306",
            Self::Framing { .. } => "E0310",
            Self::File { .. } => "E0313",
            Self::Registry(source) => source.code(),
            Self::Frame { .. } => "E0311",
            Self::Compressed { .. } => "E0312",
            Self::Listen { .. } => "E0330",
            Self::Subscribe { .. } => "E0350",
            Self::NotLinked { .. } => "E0351",
            Self::NotLoaded { .. } | Self::Panicked { .. } => "E0704",
            Self::Secret { .. } => "E0331",
            Self::StdinTaken => "E0332",
            Self::Stdin { .. } => "E0333",
            Self::Upstream { source, .. } => source.code(),
            Self::Rewritten { .. } => "E0334",
            Self::Gone { .. } => "E0335",
            Self::Spout { source, .. } => source.code(),
            Self::PerFile(source) => source.code(),
            Self::Commit { source, .. } => source.code(),
            Self::ManyCommits { .. } | Self::ManyHeld { .. } | Self::ManyFiles { .. } => "E0336",
            Self::Unclosed => "E0337",
            Self::LargeMarker { .. } => "E0338",
            Self::OwnFile { .. } | Self::NoTable { .. } | Self::NoSuchFile { .. } => "E0339",
            Self::SpoutOver => "E0340",
            Self::Archive { source } => match &source.fault {
                Fault::Refused(_) => "E0342",
                _ => "E0341",
            },
            Self::Uncommitted { source, .. } => source.code(),
            Self::Ended { .. } => "E0343",
            Self::Launch { .. } => "E0344",
            Self::Access { .. } => "E0361",
            Self::Busy { .. } => "E0362",
            Self::TooSlow => "E0363",
            Self::Transform { .. } => "E0345",
            Self::Pfs { .. } => "E0346",
        }
    }
}
