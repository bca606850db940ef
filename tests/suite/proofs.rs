//! Secrets by handle in C and in Python: the host makes what they prove, and the plugin does not see them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use anyhow::{Context as _, Result, ensure};

use crate::authors::{copied, unittest, with_c, with_python};

/// What a server asks that wants a proof, and HMAC-SHA-256 of it with the key `Jefe`, as RFC 4231 says.
const CHALLENGE: &str = "what do ya want for nothing?";
const PROOF: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

/// A server of 100 lines, from the one that it is told on, for who proves that it knows the key. It breaks off after 40 lines, once.
fn proved(listener: TcpListener) {
    let mut breaks = true;
    for mut client in listener.incoming().map_while(Result::ok) {
        drop(writeln!(client, "{CHALLENGE}"));
        let mut asked = BufReader::new(&client).lines().map_while(Result::ok);
        if asked.next().as_deref() != Some(PROOF) {
            continue;
        }
        let from: usize = asked.next().and_then(|from| from.parse().ok()).unwrap_or(0);
        drop(asked);
        let to = if std::mem::take(&mut breaks) { 40 } else { 100 };
        let text: String = (from..to).map(|n| format!("line {n}\n")).collect();
        drop(client.write_all(text.as_bytes()));
    }
}

#[test]
fn a_source_in_python_proves_a_secret_that_it_does_not_see() -> Result<()> {
    let Some(mut site) = with_python()? else { return Ok(()) };
    copied(&site, "pylines")?;
    site.ok(&["plugin", "build", "pylines"])?;
    unittest(&site.path().join("pylines"))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || proved(listener));
    site.environment.push(("SPOUT_TEST_LINES", "Jefe".into()));
    let spec = |secret: &str| {
        format!(
            "pipeline: {{name: read}}
producer: {{stream: {{plugin: pylines, topic: t, consumerType: highlevel}}, decoder: {{type: raw}}}}
grants: {{pylines: {{endpoints: {{server: {{address: \"{address}\"}}}}{secret}}}}}
commit: {{flush: {{rows: 10}}}}
"
        )
    };
    site.write("spec.yaml", spec(""))?;
    let said = site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &["grants no secret `password`"])?;
    ensure!(!said.contains("Jefe"), "{said}");
    site.write("spec.yaml", spec(", secrets: {password: {env: SPOUT_TEST_LINES}}"))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(distinct value) from read", None)? == 100);
    ensure!(site.number("select count(*) from read", None)? == 100);
    Ok(())
}

/// A stream in C that has the host make every proof, and tells a server what it is.
const PROVING: &str = r#"#include <spout.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static bool told;
void *spout_open(const void *state, size_t length) { (void)state, (void)length; return &told; }
static void hex(char *into, const uint8_t *bytes, size_t length) {
  for (size_t at = 0; at < length; at++) sprintf(into + 2 * at, "%02x", bytes[at]);
}
static spout_text text(const char *of) { return (spout_text){of, strlen(of)}; }
static const spout_text none = {NULL, 0};
spout_progress spout_next(void *self, spout_limits limits, spout_messages *messages) {
  (void)self, (void)limits, (void)messages;
  if (told) return SPOUT_ENDED;
  spout_secret *jefe = spout_secret_named("jefe"), *pencil = spout_secret_named("pencil"), *aws = spout_secret_named("aws");
  spout_connection *server = spout_connect("server", 5000);
  if (!jefe || !pencil || !aws || !server) return SPOUT_FAILED;
  uint8_t proof[64], signature[64];
  char line[700], hexed[129] = "", scram[129] = "", answer[129] = "", v4[65];
  hex(hexed, proof, spout_secret_hmac(jefe, SPOUT_SHA256, CHALLENGE, strlen(CHALLENGE), proof));
  size_t length = spout_secret_scram(pencil, SPOUT_SHA256, text("salt"), 4096, text("message"), proof, signature);
  if (!length) return SPOUT_FAILED;
  hex(scram, proof, length);
  hex(answer, signature, length);
  spout_secret_sign_v4(aws, "20130524", "us-east-1", "s3", text(TO_SIGN), v4);
  size_t seen = 0;
  char *plain = spout_secret_reveal(aws, &seen);
  if (!plain) return SPOUT_FAILED;
  snprintf(line, sizeof line, "%s %s %s %s %zu %u %u\n", hexed, scram, answer, v4, seen, spout_secret_length(pencil, SPOUT_SECRET_JSON, none),
           spout_secret_length(pencil, SPOUT_SECRET_BASE64, text("u:")));
  free(plain);
  told = spout_send(server, line, strlen(line), 5000) && spout_secret_send(pencil, server, SPOUT_SECRET_JSON, none, 5000) &&
         spout_secret_send(pencil, server, SPOUT_SECRET_BASE64, text("u:"), 5000) && spout_send(server, "\n", 1, 5000);
  spout_close(server);
  spout_secret_drop(jefe), spout_secret_drop(pencil), spout_secret_drop(aws);
  /* What is not for it to see stays so. */
  spout_secret *hidden = spout_secret_named("pencil");
  if (spout_secret_reveal(hidden, &seen)) abort();
  return SPOUT_FAILED;
}
spout_text spout_checkpoint(void *self) { (void)self; return none; }
"#;

#[test]
fn a_source_in_c_has_the_host_make_every_proof() -> Result<()> {
    let Some(mut site) = with_c()? else { return Ok(()) };
    let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let hashed = "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
    let to_sign = format!("AWS4-HMAC-SHA256\\n20130524T000000Z\\n20130524/us-east-1/s3/aws4_request\\n{hashed}");
    let code = PROVING.replace("CHALLENGE", &format!("\"{CHALLENGE}\"")).replace("TO_SIGN", &format!("\"{to_sign}\""));
    site.write("proving/plugin.c", code)?;
    site.write(
        "proving/spout.json",
        r#"{"name": "proving", "version": "0.1.0", "kind": "stream", "summary": "proves secrets"}"#,
    )?;
    site.ok(&["plugin", "build", "proving"])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let heard = thread::spawn(move || -> Result<Vec<String>> {
        let (client, _) = listener.accept()?;
        Ok(BufReader::new(client).lines().collect::<std::io::Result<_>>()?)
    });
    site.environment.extend([("S_JEFE", "Jefe".into()), ("S_PENCIL", "pencil".into()), ("S_AWS", key.into())]);
    let secrets = "secrets: {jefe: {env: S_JEFE}, pencil: {env: S_PENCIL}, aws: {env: S_AWS, reveal: true}}";
    let spec = format!(
        "pipeline: {{name: read}}
producer: {{stream: {{plugin: proving, topic: t, consumerType: highlevel}}, decoder: {{type: raw}}}}
grants: {{proving: {{endpoints: {{server: {{address: \"{address}\"}}}}, {secrets}}}}}
"
    );
    site.write("spec.yaml", spec)?;
    let said = site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &["the secret"])?;
    ensure!(!said.contains(key), "{said}");
    let heard = heard.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    let words: Vec<&str> = heard.first().context("a line")?.split(' ').collect();
    // SCRAM's are those of Python's hashlib, for `pencil`, the salt `salt`, 4096 rounds and the message `message`.
    let scram = "1e4a980899d92d5b76d69ac64c42f0396d8005a6cb77b37a06dcd3abb82970f7";
    let answer = "f4565c9672d3f3ad7c9eb3bf49dd044d5d0e7d23ed154e497a6cdcb700275de9";
    ensure!(words == [PROOF, scram, answer, signature, "40", "8", "12"], "{words:?}");
    ensure!(heard.get(1).is_some_and(|line| line == "\"pencil\"dTpwZW5jaWw="), "{heard:?}");
    Ok(())
}
