//! Brokers that let only those in who say who they are.

use std::time::Duration;

use spout_guest::{
    Error, Limits, Position, SharedReader as _, SharedSource as _,
    testing::{set_secret, settings},
};

use super::{
    broker::{Brokers, Log},
    build::batch,
};
use crate::Kafka;

const LIMITS: Limits = Limits { messages: 10, bytes: 1000, timeout: Duration::from_secs(2) };

/// Reads one message, from brokers that know `user` and `password`, as `mechanism`.
fn read(
    door: (&'static str, &'static str, &'static str),
    mechanism: &str,
    user: &str,
    password: &str,
) -> Result<usize, Error> {
    let brokers = Brokers::start(1, [Log { batches: vec![batch(0, &["a"])], ..Log::default() }]);
    brokers.lock().door = Some(door);
    set_secret("password", password);
    let address = brokers.address();
    let list = [("bootstrap.servers", address.as_str()), ("sasl.mechanism", mechanism), ("sasl.username", user)];
    let mut source = Kafka::open("t", settings(&list)?)?;
    source.partitions(&[], LIMITS.timeout)?;
    let mut reader = source.into_reader()?;
    let (_, answer) = reader.fetch(&[(0, Position::at(0))], LIMITS)?.remove(0);
    answer.map(|fetched| fetched.messages.len())
}

#[test]
fn whoever_knows_the_password_is_let_in_and_nobody_else() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let door = (mechanism, "alice", "open sesame");
        assert_eq!(read(door, mechanism, "alice", "open sesame").unwrap(), 1, "{mechanism}");
        for (user, password) in [("alice", "open barley"), ("bob", "open sesame")] {
            let error = read(door, mechanism, user, password).unwrap_err();
            assert!(matches!(&error, Error::Fatal { code, .. } if code == "kafka.sasl"), "{mechanism}: {error}");
            assert!(error.to_string().contains("who are you?") && !error.to_string().contains("open"), "{error}");
        }
    }
    let error = read(("SCRAM-SHA-512", "a", "b"), "PLAIN", "a", "b").unwrap_err();
    assert!(error.to_string().contains("does not take `sasl.mechanism` PLAIN, but SCRAM-SHA-512"), "{error}");
}

#[test]
fn settings_of_users_fit_together() {
    let check = |list: &[(&str, &str)], expected: &str| {
        let list: Vec<_> = [("bootstrap.servers", "127.0.0.1:1")].iter().chain(list).copied().collect();
        let error = Kafka::open("t", settings(&list).unwrap()).unwrap_err();
        assert!(matches!(error, Error::InvalidConfig { .. }) && error.to_string().contains(expected), "{error}");
    };
    check(&[("sasl.username", "a")], "`sasl.mechanism` is missing");
    check(&[("security.protocol", "SASL_SSL")], "`sasl.mechanism` is missing");
    check(&[("sasl.mechanism", "PLAIN")], "`sasl.username` is missing");
    check(&[("sasl.mechanism", "PLAIN"), ("sasl.username", "a"), ("security.protocol", "SSL")], "SASL_SSL");
}

#[test]
fn who_wants_tls_does_not_speak_in_the_clear() {
    let brokers = Brokers::start(1, [Log::default()]);
    let address = brokers.address();
    let list = [("bootstrap.servers", address.as_str()), ("security.protocol", "SSL")];
    let error = Kafka::open("t", settings(&list).unwrap()).unwrap().partitions(&[], LIMITS.timeout).unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "kafka.tls"), "{error}");
    assert!(brokers.lock().calls.is_empty());
}
