//! Deeds with connections that the host makes, and with secrets.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration,
};

use spout_guest::{
    Error, Messages, Result, metrics,
    net::{Connection, PATIENCE},
    secret::{Form, Hash, Secret},
};

/// What came of a deed.
pub(crate) fn outcome(verb: &str, rest: &str) -> String {
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    let done = match verb {
        "open" => open(rest),
        "talk" => Connection::open(first, PATIENCE).map_err(Error::from).and_then(|mut to| talk(&mut to)),
        "plain" => plain(rest),
        "many" => return many(first, second.parse().unwrap_or(0)),
        "wait" => wait(rest),
        "tell" => tell(first, second),
        "prove" => prove(rest),
        "reveal" => Secret::named(rest).and_then(|secret| secret.reveal()),
        _ => Ok("unknown".to_owned()),
    };
    done.unwrap_or_else(|error| match error {
        Error::Fatal { code, message } => format!("fatal {code}: {message}"),
        Error::Retriable { code, .. } => code,
        other => other.to_string(),
    })
}

fn open(to: &str) -> Result<String> {
    let opened = Connection::open(to, Duration::from_secs(2))?;
    Ok(if opened.is_secure() { "secure" } else { "in the clear" }.to_owned())
}

/// Says hello to an echo, and reads it.
fn talk(to: &mut Connection) -> Result<String> {
    to.write_all(b"hello")?;
    to.finish()?;
    let mut answer = String::new();
    to.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Begins in the clear, and goes on with TLS.
fn plain(to: &str) -> Result<String> {
    let mut opened = Connection::open_plain(to, PATIENCE)?;
    opened.write_all(b"tls?\n")?;
    let mut answer = [0; 4];
    opened.read_exact(&mut answer)?;
    opened.start_tls(PATIENCE)?;
    talk(&mut opened)
}

/// Opens as many connections as it gets.
fn many(to: &str, most: usize) -> String {
    let mut open = Vec::new();
    while open.len() < most {
        match Connection::open(to, PATIENCE) {
            Ok(opened) => open.push(opened),
            Err(error) => return format!("{}, then {:?}", open.len(), error.kind()),
        }
    }
    format!("{}", open.len())
}

/// Waits for two connections of which one is spoken to.
fn wait(to: &str) -> Result<String> {
    let (quiet, mut loud) = (Connection::open(to, PATIENCE)?, Connection::open(to, PATIENCE)?);
    let before = Connection::wait_any(&[&quiet, &loud], Duration::from_millis(20));
    loud.write_all(b"hello")?;
    let after = Connection::wait_any(&[&quiet, &loud], PATIENCE);
    loud.set_read_timeout(Duration::ZERO);
    let mut answer = [0; 9];
    let count = loud.read(&mut answer)?;
    let more = loud.read(&mut answer).map_err(|error| error.kind());
    Ok(format!("{before:?} {after:?} {} {more:?}", String::from_utf8_lossy(&answer[..count])))
}

/// Has a secret written to an echo, and reads it.
fn tell(to: &str, name: &str) -> Result<String> {
    let (secret, mut to) = (Secret::named(name)?, Connection::open(to, PATIENCE)?);
    let basic = Form::Base64(b"user:");
    secret.send(&mut to)?;
    secret.send_as(&mut to, Form::Json)?;
    secret.send_as(&mut to, basic)?;
    to.finish()?;
    let mut answer = String::new();
    to.read_to_string(&mut answer)?;
    let all = secret.len() + secret.len_as(Form::Json) + secret.len_as(basic);
    if all != answer.len() {
        return Err(io::Error::other("another length").into());
    }
    spout_guest::warn!("it came back: {answer}");
    Ok(answer)
}

/// Puts a secret, which it may see, wherever a plugin has words.
#[expect(clippy::panic, reason = "it is to crash")]
pub(crate) fn spread(name: &str, how: &str, messages: &mut Messages) -> Result<()> {
    let secret = Secret::named(name)?.reveal()?;
    match how {
        "log" => {
            spout_guest::info!("I know: {secret}");
            println!("I print: {secret}");
            eprintln!("I shout: {secret}");
        }
        "metric" => metrics::add(&format!("known_{secret}"), 1),
        "fault" => messages.attribute("fault", format!("known.{secret} it is {secret}").as_bytes()),
        "error" => return Err(Error::fatal(&format!("known.{secret}"), format!("it is {secret}"))),
        "retry" => return Err(Error::retriable(&format!("known.{secret}"), format!("it is {secret}"))),
        "panic" => panic!("it is {secret}"),
        _ => {}
    }
    Ok(())
}

/// Makes proofs with a secret.
fn prove(name: &str) -> Result<String> {
    let secret = Secret::named(name)?;
    let hmac: String = secret.hmac(Hash::Sha256, b"data").iter().map(|byte| format!("{byte:02x}")).collect();
    let scram = secret.scram(Hash::Sha512, b"salt", 4096, b"message")?;
    let few = secret.scram(Hash::Sha256, b"salt", 1, b"message").err().map(|error| error.to_string());
    let signed = secret.sign_v4("20130524", "us-east-1", "s3", "text");
    let lengths = (scram.proof.len(), scram.server_signature.len(), signed.len());
    Ok(format!("{hmac} {lengths:?} {}", few.unwrap_or_default()))
}
