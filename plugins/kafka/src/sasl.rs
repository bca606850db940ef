//! Who we are: SASL's PLAIN and SCRAM. The password stays with the host, which makes the proofs and writes it.

use std::time::Instant;

use spout_guest::{
    Error, Result,
    secret::{Hash, ScramClient, Secret},
};

use crate::{
    connection::Connection,
    settings::{Mechanism, Settings},
    trouble::{garbage, words},
    wire::{SASL_AUTHENTICATE, SASL_HANDSHAKE, authenticated, handshaken},
};

/// The secret that a spec grants.
const PASSWORD: &str = "password";
/// What a broker says to a wrong password.
const REFUSED: i16 = 58;

/// Authenticates, if the settings say as whom.
pub(crate) fn authenticate(connection: &mut Connection, settings: &Settings, until: Instant) -> Result<()> {
    let Some(mechanism) = settings.sasl_mechanism else { return Ok(()) };
    let secret = Secret::named(PASSWORD)?;
    let user = settings.sasl_username.as_deref().unwrap_or_default();
    let (input, _) = connection.call(SASL_HANDSHAKE, until, |out, _| out.text(mechanism.name()))?;
    let (code, known) = handshaken(input).map_err(|what| garbage(connection.address(), what))?;
    if code != 0 {
        let message = format!(
            "broker {} does not take `sasl.mechanism` {}, but {} ({})",
            connection.address(),
            mechanism.name(),
            known.join(", "),
            words(code)
        );
        return Err(Error::fatal("kafka.sasl", message));
    }
    let hash = match mechanism {
        Mechanism::Plain => {
            let before = format!("\0{user}\0");
            connection.send_secret(SASL_AUTHENTICATE, before.as_bytes(), &secret, until)?;
            return answer(connection, until).map(drop);
        }
        Mechanism::ScramSha256 => Hash::Sha256,
        Mechanism::ScramSha512 => Hash::Sha512,
    };
    let mut client = ScramClient::new(hash, user);
    let first = exchange(connection, &client.first(), until)?;
    let last = client.last(&first, &secret)?;
    let verdict = exchange(connection, &last, until)?;
    client.verify(&verdict)
}

fn exchange(connection: &mut Connection, message: &str, until: Instant) -> Result<String> {
    connection.send(SASL_AUTHENTICATE, until, |out, _| out.blob(message.as_bytes()))?;
    answer(connection, until)
}

/// What the broker says to that.
fn answer(connection: &mut Connection, until: Instant) -> Result<String> {
    let (input, _) = connection.answer(SASL_AUTHENTICATE, until)?;
    let (code, message, bytes) = authenticated(input).map_err(|what| garbage(connection.address(), what))?;
    let address = connection.address();
    match code {
        0 => String::from_utf8(bytes.to_vec()).map_err(|_| garbage(address, "a message of SCRAM that is not text")),
        REFUSED => Err(Error::fatal("kafka.sasl", format!("broker {address} does not let us in: {message}"))),
        code => {
            Err(Error::retriable("kafka.sasl", format!("broker {address}, authenticating: {}: {message}", words(code))))
        }
    }
}
