//! What goes wrong between this plugin and brokers, and what the host is told.

use std::{fmt, io};

use spout_guest::Error;

/// Something a broker sent that is not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<bytes::TryGetError> for Malformed {
    fn from(_: bytes::TryGetError) -> Self {
        Self("it ends too early")
    }
}

/// An answer of the broker at `address` that cannot be read.
pub(crate) fn garbage(address: &str, what: impl fmt::Display) -> Error {
    Error::retriable("kafka.protocol", format!("{address} sent something that is not Kafka's protocol: {what}"))
}

/// The broker at `address` cannot be reached, or the connection broke.
pub(crate) fn unreachable(address: &str, doing: &str, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "kafka.timeout",
        _ => "kafka.broker",
    };
    let message = format!("broker {address}, {doing}: {error}");
    match error.kind() {
        // Repeating it cannot help: the spec has to grant it.
        io::ErrorKind::PermissionDenied => Error::fatal("kafka.grant", message),
        io::ErrorKind::InvalidInput => Error::invalid_config(message),
        io::ErrorKind::InvalidData => Error::fatal("kafka.tls", message),
        _ => Error::retriable(code, message),
    }
}

/// The broker at `address` did not answer in time.
pub(crate) fn late(address: &str, doing: &str) -> Error {
    Error::retriable("kafka.timeout", format!("broker {address}, {doing}: no answer in time (`request.timeout.ms`)"))
}

/// What an error code of a broker means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Ask again after looking who leads now.
    Refresh,
    /// Ask again.
    Retry,
    /// The offset does not exist.
    OutOfRange,
    /// Asking again is pointless.
    Fatal,
}

pub(crate) const OFFSET_OUT_OF_RANGE: i16 = 1;
pub(crate) const UNKNOWN_TOPIC: i16 = 3;
pub(crate) const UNKNOWN_TOPIC_ID: i16 = 100;

pub(crate) fn meaning(code: i16) -> Meaning {
    match code {
        OFFSET_OUT_OF_RANGE => Meaning::OutOfRange,
        UNKNOWN_TOPIC | UNKNOWN_TOPIC_ID | 5 | 6 | 8 | 9 | 13 | 15 | 16 | 56 | 72 | 74 | 75 | 103 => Meaning::Refresh,
        -1 | 2 | 7 | 14 | 19 | 20 | 51 | 70 | 71 | 78 | 89 => Meaning::Retry,
        _ => Meaning::Fatal,
    }
}

/// An error code in words.
pub(crate) fn words(code: i16) -> String {
    let name = match code {
        -1 => "UNKNOWN_SERVER_ERROR",
        1 => "OFFSET_OUT_OF_RANGE",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        8 => "BROKER_NOT_AVAILABLE",
        9 => "REPLICA_NOT_AVAILABLE",
        13 => "NETWORK_EXCEPTION",
        14 => "COORDINATOR_LOAD_IN_PROGRESS",
        15 => "COORDINATOR_NOT_AVAILABLE",
        16 => "NOT_COORDINATOR",
        17 => "INVALID_TOPIC_EXCEPTION",
        25 => "UNKNOWN_MEMBER_ID: the group has members; give the pipeline a group of its own",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        30 => "GROUP_AUTHORIZATION_FAILED",
        31 => "CLUSTER_AUTHORIZATION_FAILED",
        33 => "UNSUPPORTED_SASL_MECHANISM",
        34 => "ILLEGAL_SASL_STATE: the broker wants clients to authenticate",
        35 => "UNSUPPORTED_VERSION",
        43 => "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        56 => "KAFKA_STORAGE_ERROR",
        58 => "SASL_AUTHENTICATION_FAILED",
        74 => "FENCED_LEADER_EPOCH",
        75 => "UNKNOWN_LEADER_EPOCH",
        76 => "UNSUPPORTED_COMPRESSION_TYPE",
        78 => "OFFSET_NOT_AVAILABLE",
        100 => "UNKNOWN_TOPIC_ID",
        103 => "INCONSISTENT_TOPIC_ID",
        _ => return format!("error {code}"),
    };
    format!("error {code}, {name}")
}

/// The error that the host gets for one of a broker.
pub(crate) fn refused(doing: &str, code: i16) -> Error {
    let message = format!("{doing}: the broker says {}", words(code));
    match meaning(code) {
        Meaning::Fatal => Error::fatal("kafka.refused", message),
        _ => Error::retriable("kafka.refused", message),
    }
}
