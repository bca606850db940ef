//! What keeps a process out of a fleet.

use spout_base::error::{Cause, Coded, Kind};

/// Why a process is in no fleet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that only a fleet with certificates may have.
    #[error(
        "{address} can be reached from other machines, which needs certificates; give them with --cert, --key and --ca, or use a loopback address"
    )]
    Open {
        /// The address.
        address: String,
    },
    /// An address that is none, or that others cannot dial.
    #[error("cannot use {address:?} as the address of a member: {why}")]
    Address {
        /// What was given.
        address: String,
        /// Why not, and what to do.
        why: String,
    },
    /// The port cannot be listened at.
    #[error("cannot listen at {address}: {why}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        why: String,
    },
    /// Certificates that cannot be used.
    #[error("cannot use the certificates of the fleet: {why}")]
    Certificates {
        /// Which, and why not.
        why: String,
        /// What is below that.
        #[source]
        cause: Option<Cause>,
    },
    /// A token that is too short or too long.
    #[error(
        "the join token has {length} bytes; give one of {} to {}",
        super::settings::SHORTEST,
        super::settings::LONGEST
    )]
    Token {
        /// How many it has.
        length: usize,
    },
    /// The leader has another token.
    #[error("the leader at {leader} has another join token; give all processes of the fleet the same")]
    Stranger {
        /// Its address.
        leader: String,
    },
    /// The leader is another version.
    #[error("the leader at {leader} does not take version {version}: {why}")]
    Version {
        /// Its address.
        leader: String,
        /// Ours.
        version: String,
        /// What it says.
        why: String,
    },
    /// The leader takes no members now, or not this one.
    #[error("the leader at {leader} does not take this process into {fleet:?}: {why}")]
    Refused {
        /// Its address.
        leader: String,
        /// The fleet.
        fleet: String,
        /// What it says.
        why: String,
        /// Whether it leads the fleet at all.
        leads: bool,
    },
    /// The leader cannot be reached, or does not answer.
    #[error("cannot reach the leader at {leader}: {why}")]
    Unreachable {
        /// Its address.
        leader: String,
        /// Why not.
        why: String,
    },
    /// A member is gone with its share of something that is not begun again by itself.
    #[error("the process {member} of the cluster was lost with its share of the query: {reason}; run it again")]
    Lost {
        /// Its id.
        member: String,
        /// What became of it.
        reason: String,
    },
    /// A second leader of one fleet in one process.
    #[error("this process leads {fleet:?} already")]
    Twice {
        /// The fleet.
        fleet: String,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Open { .. }
            | Self::Address { .. }
            | Self::Listen { .. }
            | Self::Certificates { .. }
            | Self::Token { .. }
            | Self::Stranger { .. }
            | Self::Version { .. } => Kind::Spec,
            Self::Refused { .. } | Self::Unreachable { .. } | Self::Lost { .. } => Kind::Unavailable,
            Self::Twice { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "E0970",
            Self::Address { .. } => "E0971",
            Self::Listen { .. } => "E0972",
            Self::Certificates { .. } => "E0973",
            Self::Token { .. } => "E0974",
            Self::Stranger { .. } => "E0975",
            Self::Version { .. } => "E0976",
            Self::Refused { .. } => "E0977",
            Self::Unreachable { .. } => "E0978",
            Self::Twice { .. } => "E0979",
            Self::Lost { .. } => "E0984",
        }
    }
}
