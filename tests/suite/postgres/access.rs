//! Who may come in, and how.

use std::fs;

use anyhow::{Result, ensure};
use spout_tests::{Site, postgres::Postgres, tls};

use super::{QUICK, messages, read_all};

const SECRET: &str = "very-secret-password-of-a-role";

/// A pipeline of this role; the endpoint has this TLS, if any.
fn spec(server: &Postgres, user: &str, secret: &str, tls: &str) -> String {
    let address = server.address();
    format!(
        r#"
pipeline: {{name: rows}}
producer:
  stream:
    plugin: postgres
    topic: pub
    settings: {{database: postgres, user: {user}, slot: spout{secret}}}
    metadata: [key, offset]
    fetch: {{timeout: 100ms}}
  decoder: {{type: raw}}
{QUICK}
grants:
  postgres:
    endpoints: {{server: {{address: "{address}"{tls}}}}}
    secrets: {{password: {{env: SPOUT_TEST_PASSWORD}}}}
"#
    )
}

#[test]
fn roles_prove_themselves_by_scram_or_within_tls_and_nothing_is_told() -> Result<()> {
    let certificate = tempfile::tempdir()?;
    tls::own_certificate(certificate.path())?;
    let key = |name: &str| fs::read_to_string(certificate.path().join(name));
    let Some(server) = Postgres::start("")? else { return Ok(()) };
    let hba = server.data().join("pg_hba.conf");
    let doors = "host postgres scram all scram-sha-256\nhostssl postgres tls all scram-sha-256\nhost postgres tls all reject\nhost postgres clear all password\n\
                 host postgres old all md5\nhost postgres nobody all reject\n";
    fs::write(&hba, format!("{doors}{}", fs::read_to_string(&hba)?))?;
    server.keep("server.crt", &key("chain.pem")?)?;
    server.keep("server.key", &key("key.pem")?)?;
    let role = |name: &str| format!("create role {name} login replication password '{SECRET}'");
    server.sql(&[
        &role("scram"),
        &role("tls"),
        &role("clear"),
        "set password_encryption = 'md5'; create role old login replication password 'x'",
        "create table t (id int primary key)",
        "create publication pub for table t",
        "grant select on t to public",
        "insert into t values (1)",
        "select pg_reload_conf()",
    ])?;
    let mut site = Site::new()?;
    site.environment.push(("SPOUT_TEST_PASSWORD", SECRET.into()));
    site.write("ca.pem", key("chain.pem")?)?;
    let (secret, trusted) = (", secret: password", ", tls: {ca: ./ca.pem, serverName: localhost}");
    let mut expected = 0;
    let mut said = String::new();
    let mut passes = |site: &Site, user: &str, tls: &str| -> Result<()> {
        site.write("spec.yaml", spec(&server, user, secret, tls))?;
        expected += 1;
        server.sql(&[&format!("insert into t values ({})", expected + 1)])?;
        said += &read_all(site)?;
        let found = messages(site)?.len();
        ensure!(found == expected + 1, "{user}: {found} messages instead of {}", expected + 1);
        Ok(())
    };
    passes(&site, "scram", "")?;
    let mut told = String::new();
    let mut fails = |site: &Site, user: &str, secret: &str, tls: &str, parts: &[&str]| -> Result<()> {
        site.write("spec.yaml", spec(&server, user, secret, tls))?;
        let output = site.run(&["run", "spec.yaml", "--until", "idle"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "{user} comes in\n{said}");
        told += &said;
        for part in parts {
            ensure!(said.contains(part), "{user}: {part:?} is not in\n{said}");
        }
        Ok(())
    };
    fails(&site, "scram", "", "", &["postgres.auth", "wants a password", "secret: password"])?;
    fails(&site, "clear", secret, "", &["postgres.auth", "in the clear"])?;
    fails(&site, "old", secret, "", &["postgres.auth", "MD5"])?;
    fails(&site, "nobody", secret, "", &["postgres.refused"])?;
    // The endpoint wants TLS, and the server has none yet.
    fails(&site, "scram", secret, trusted, &["postgres.tls", "ssl = on"])?;
    server.sql(&["alter system set ssl = on", "select pg_reload_conf()"])?;
    server.until("setting = 'on' from pg_settings where name = 'ssl'")?;
    passes(&site, "tls", trusted)?;
    passes(&site, "clear", trusted)?;
    passes(&site, "scram", "")?;
    fails(&site, "tls", secret, "", &["postgres.refused"])?;
    fails(&site, "clear", secret, "", &["postgres.auth", "in the clear"])?;
    fails(&site, "tls", secret, ", tls: {ca: ./ca.pem}", &["postgres.tls"])?;
    site.environment.clear();
    site.environment.push(("SPOUT_TEST_PASSWORD", "another".into()));
    fails(&site, "scram", secret, "", &["postgres.refused", "28P01"])?;
    fails(&site, "clear", secret, trusted, &["postgres.refused", "28P01"])?;
    ensure!(!told.contains(SECRET) && !said.contains(SECRET), "the secret is told");
    Ok(())
}
