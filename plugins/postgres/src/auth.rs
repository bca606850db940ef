//! What the server asks for before a session begins: TLS, and who we are.

use std::{
    io::{self, Write as _},
    time::Instant,
};

use bytes::{Buf as _, Bytes};
use spout_guest::{
    Error, Result,
    net::Connection,
    now,
    secret::{Hash, ScramClient, Secret},
};

use crate::{
    Settings,
    frame::{self, Wrong, short, text},
    session::{CONNECT, WRITE},
};

const SCRAM: &str = "SCRAM-SHA-256";

/// Connects, with TLS if the endpoint has it.
///
/// Whether it has is found out by beginning it: the host refuses without a byte where it has not. A server that has TLS wants it then,
/// so it is asked again, in the clear.
pub(crate) fn dial(settings: &Settings, call: Instant) -> Result<Connection> {
    let mut connection = open(settings, call)?;
    if settings.clear.get() {
        return Ok(connection);
    }
    connection.write_all(&frame::tls()).map_err(|error| unreached(settings, &error))?;
    connection.set_read_timeout(left(call));
    // Not a byte more: what follows is TLS.
    let answer = connection.receive(1).map_err(|error| unreached(settings, &error))?;
    let offered = match answer.first() {
        Some(b'S') => true,
        Some(b'N') => false,
        Some(other) => return Err(Wrong(format!("{other:#04x} when it was asked for TLS")).into()),
        None => return Err(Error::retriable("postgres.closed", "the server closed the connection")),
    };
    match connection.start_tls(left(call)) {
        Ok(()) => Ok(connection),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            settings.clear.set(true);
            if offered { open(settings, call) } else { Ok(connection) }
        }
        Err(_) if !offered => {
            let told = "the endpoint has `tls`, and the server offers none: set `ssl = on` there";
            Err(Error::fatal("postgres.tls", told))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Error::fatal("postgres.tls", error.to_string()))
        }
        Err(error) => Err(unreached(settings, &error)),
    }
}

fn open(settings: &Settings, call: Instant) -> Result<Connection> {
    let mut connection =
        Connection::open_plain(&settings.address, left(call)).map_err(|error| unreached(settings, &error))?;
    connection.set_write_timeout(WRITE);
    Ok(connection)
}

fn left(call: Instant) -> std::time::Duration {
    call.saturating_duration_since(now()).min(CONNECT)
}

fn unreached(settings: &Settings, error: &io::Error) -> Error {
    let told = format!("cannot connect to `{}`: {error}", settings.address);
    match error.kind() {
        // No grant comes while the pipeline runs.
        io::ErrorKind::PermissionDenied => Error::fatal("postgres.denied", told),
        io::ErrorKind::InvalidInput => Error::invalid_config(told),
        _ => Error::retriable("postgres.unreachable", told),
    }
}

/// The proof of who we are, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    scram: Option<ScramClient>,
    /// Whether the server has shown that it knows the secret, too.
    known: bool,
}

impl Proof {
    /// Answers a request for authentication.
    ///
    /// # Errors
    /// It cannot be answered, or the server does not know the secret.
    pub(crate) fn answer(&mut self, mut body: Bytes, settings: &Settings, connection: &mut Connection) -> Result<()> {
        match body.try_get_u32().map_err(short)? {
            0 if self.scram.is_some() && !self.known => {
                Err(refused("does not prove that it knows the password: it may be another server"))
            }
            0 => Ok(()),
            3 if !connection.is_secure() => Err(refused(
                "wants the password in the clear: give the endpoint `tls`, or set `scram-sha-256` in pg_hba.conf",
            )),
            3 => {
                let secret = secret(settings)?;
                write(connection, &frame::password_head(secret.len()))?;
                secret.send(connection)?;
                write(connection, &[0])
            }
            5 => Err(refused(
                "wants a password hashed with MD5, which proves too little: set `password_encryption = 'scram-sha-256'`, and the \
                 password of the role anew",
            )),
            10 => {
                let mut offered = Vec::new();
                while body.first().is_some_and(|byte| *byte != 0) {
                    offered.push(text(&mut body)?);
                }
                if !offered.iter().any(|mechanism| mechanism == SCRAM) {
                    return Err(refused("knows no SCRAM-SHA-256"));
                }
                secret(settings)?;
                // The server has been told the role.
                let scram = self.scram.insert(ScramClient::new(Hash::Sha256, ""));
                write(connection, &frame::sasl_first(SCRAM, &scram.first()))
            }
            11 => {
                let scram = self.scram.as_mut().ok_or_else(|| Wrong("an answer to what was not asked".into()))?;
                let last = scram.last(&utf8(&body)?, &secret(settings)?)?;
                write(connection, &frame::sasl_last(&last))
            }
            12 => {
                let scram = self.scram.as_ref().ok_or_else(|| Wrong("an answer to what was not asked".into()))?;
                scram.verify(&utf8(&body)?)?;
                self.known = true;
                Ok(())
            }
            _ => Err(refused(
                "wants a way to authenticate that this plugin does not know: use `scram-sha-256` in pg_hba.conf",
            )),
        }
    }
}

fn utf8(body: &Bytes) -> Result<String> {
    Ok(String::from_utf8(body.to_vec()).map_err(|_| Wrong("a name that is no UTF-8".into()))?)
}

fn write(connection: &mut Connection, bytes: &[u8]) -> Result<()> {
    connection.write_all(bytes).map_err(|error| Error::retriable("postgres.broken", error.to_string()))
}

fn refused(why: &str) -> Error {
    Error::fatal("postgres.auth", format!("the server {why}"))
}

/// The secret of the settings.
fn secret(settings: &Settings) -> Result<Secret> {
    match &settings.secret {
        Some(name) => Secret::named(name),
        None => Err(refused(
            "wants a password: set `secret: password`, and grant it as in `grants: {postgres: {secrets: {password: {env: PGPASSWORD}}}}`",
        )),
    }
}
