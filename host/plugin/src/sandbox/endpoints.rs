//! What a guest reaches through the host: endpoints that are granted, and secrets that it does not see.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    network::{check, echo},
    *,
};

fn grants(json: &str) -> GrantSpec {
    serde_json::from_str(json).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_reached_by_what_it_says_and_no_more() {
    let address = echo().await;
    let port = address.port();
    let (by_number, by_name) = (format!("talk {address}"), format!("talk self.example:{port}"));
    let endpoint = format!(r#"{{"endpoints": {{"broker": {{"address": "{address}"}}}}}}"#);
    let other = format!("open 127.0.0.1:{}", port.wrapping_add(1).max(1));
    let denied = format!("fatal net.denied: the spec does not grant {} (`endpoints` or `net`)", &other[5..]);
    let by_socket = format!("connect {address}");
    check(
        grants(&endpoint),
        &[
            (&by_number, "hello"),
            ("talk broker", "hello"),
            ("open broker", "in the clear"),
            (&other, &denied),
            // A socket of its own needs a grant of its own.
            (&by_socket, "PermissionDenied"),
            (
                "open nonsense",
                "fatal net.invalid: `nonsense` is neither a host and a port, like broker:9092, nor an endpoint",
            ),
        ],
    )
    .await;
    // What `net` grants is reached too.
    check(grants(&format!(r#"{{"net": ["{address}"]}}"#)), &[(&by_number, "hello")]).await;
    // A name that leads to this machine needs the number as well.
    let named = format!(r#""broker": {{"address": ["self.example:{port}", "flip.example:{port}"]}}"#);
    let guarded = format!("fatal net.denied: self.example:{port}: the spec does not grant what the name resolves to");
    check(grants(&format!(r#"{{"endpoints": {{{named}}}}}"#)), &[(&by_name, &guarded)]).await;
    let both = format!(r#"{{"endpoints": {{{named}}}, "net": ["{address}"]}}"#);
    check(grants(&both), &[(&by_name, "hello")]).await;
    let wide = r#"{"endpoints": {"all": {"address": ["0.0.0.0/0:1-65535", "[::]:1"]}}}"#;
    for deed in [by_number.as_str(), "open 169.254.169.254:80", "open [::ffff:127.0.0.1]:80"] {
        let said = outcome(grants(wide), deed).await;
        assert!(said.starts_with("fatal net.denied"), "{deed}: {said}");
    }
}

/// What comes of one deed.
async fn outcome(grants: GrantSpec, deed: &str) -> String {
    network::outcomes(grants, &[deed]).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_the_host_count_and_several_are_waited_for() {
    let address = echo().await;
    let endpoint = format!(r#"{{"endpoints": {{"broker": {{"address": "{address}"}}}}}}"#);
    check(
        grants(&endpoint),
        &[
            ("many broker 300", "256, then QuotaExceeded"),
            ("sockets 10000", "256, then new-socket-limit"),
            ("many broker 10", "10"),
            ("wait broker", "[] [1] hello Err(WouldBlock)"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_speaks_costs_its_time_and_one_that_talks_no_tls_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // The first says nothing, all others say something that is no TLS.
        let (_silent, _) = listener.accept().await.unwrap();
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.read(&mut [0; 1024]).await);
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let dir = certificate("localhost");
    let ca = dir.path().join("chain.pem");
    let ca = ca.display();
    let endpoint = format!(r#"{{"endpoints": {{"broker": {{"address": "{address}", "tls": {{"ca": "{ca}"}}}}}}}}"#);
    let said = network::outcomes(grants(&endpoint), &["open broker", "open broker"]).await;
    assert_eq!(said[0], "net.timed-out");
    assert!(said[1].starts_with("fatal net.tls: 127.0.0.1: the TLS handshake failed: "), "{}", said[1]);
}

/// A directory with `chain.pem` and `key.pem` for a host of this name.
fn certificate(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (subject, names) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-keyout", "key.pem", "-out", "chain.pem", "-days", "2", "-subj", &subject, "-addext", &names])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(dir.path())
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    dir
}

/// An echo over TLS, for who asks for it in the clear where `asked`; and what it got so.
async fn secure_echo(dir: &std::path::Path, asked: bool) -> std::net::SocketAddr {
    let identity = spout_wire::Identity::read(&dir.join("chain.pem"), &dir.join("key.pem")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let identity = identity.clone();
            tokio::spawn(async move {
                if asked {
                    let mut line = [0; 5];
                    drop(stream.read_exact(&mut line).await);
                    drop(stream.write_all(b"yes\n").await);
                }
                let Ok(secured) = identity.accept(stream).await else { return };
                let (mut read, mut write) = tokio::io::split(secured);
                drop(tokio::io::copy(&mut read, &mut write).await);
                drop(write.shutdown().await);
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_talks_tls_and_knows_with_whom() {
    let (dir, stranger) = (certificate("broker.test"), certificate("broker.test"));
    let (at_once, asked) = (secure_echo(dir.path(), false).await, secure_echo(dir.path(), true).await);
    let ca = dir.path().join("chain.pem");
    let with = |ca: &std::path::Path, more: &str| {
        let tls = format!(r#""tls": {{"ca": "{}"{more}}}"#, ca.display());
        grants(&format!(r#"{{"endpoints": {{"broker": {{"address": ["{at_once}", "{asked}"], {tls}}}}}}}"#))
    };
    let (talk, plain, wrong) = (format!("talk {at_once}"), format!("plain {asked}"), format!("talk {asked}"));
    let named = with(&ca, r#", "serverName": "broker.test""#);
    check(named.clone(), &[("open broker", "secure"), (&talk, "hello"), (&plain, "hello")]).await;
    // Who expects to be asked first takes a hello for that: what it answers is no TLS, or it waits for more, and we for so long.
    let said = outcome(named, &wrong).await;
    assert!(said == "net.timed-out" || said.contains("the TLS handshake failed"), "{said}");
    // A certificate for another host, one of another authority, and one of authorities of this machine are none.
    for (grants, part) in [
        (with(&ca, ""), "not valid for name"),
        (with(&ca, r#", "serverName": "other.test""#), "not valid for name"),
        (with(&stranger.path().join("chain.pem"), r#", "serverName": "broker.test""#), "invalid peer certificate"),
    ] {
        for deed in [&talk, &plain] {
            let said = outcome(grants.clone(), deed).await;
            assert!(said.starts_with("fatal net.tls") && said.contains(part), "{said}");
        }
    }
    // Without TLS in the spec there is none.
    let open = grants(&format!(r#"{{"endpoints": {{"broker": {{"address": "{asked}"}}}}}}"#));
    assert!(outcome(open, &plain).await.contains("grants no TLS here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_used_and_not_seen() {
    let address = echo().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "s3\"cret\n").unwrap();
    let secret = format!(r#""secrets": {{"password": {{"file": "{}"}}}}"#, file.display());
    let granted = format!(r#"{{"endpoints": {{"broker": {{"address": "{address}"}}}}, {secret}}}"#);
    let deeds = ["prove password", "tell broker password", "reveal password", "reveal other"];
    let said = network::outcomes(grants(&granted), &deeds).await;
    assert!(
        said[0].ends_with(" (64, 64, 64) net.invalid: the server asks for 1 rounds of SCRAM; 4096 to 1000000 are made"),
        "{}",
        said[0]
    );
    assert!(said[0].split(' ').next().is_some_and(|hex| hex.len() == 64), "{}", said[0]);
    assert_eq!(said[1], r#"s3"cret"s3\"cret"dXNlcjpzMyJjcmV0"#);
    assert_eq!(said[2], "fatal net.denied: the spec does not let the plugin see it; add `reveal: true` to it");
    assert!(said[3].contains("grants no secret `other`"), "{}", said[3]);
    // What `net` grants is no endpoint, and an endpoint with TLS gets it only so.
    let net = format!(r#"{{"net": ["{address}"], {secret}}}"#);
    let told = format!("tell {address} password");
    let said = outcome(grants(&net), &told).await;
    assert!(said.contains("only to an endpoint"), "{said}");
    let revealed = secret.replace("}}", r#", "reveal": true}}"#);
    assert_eq!(outcome(grants(&format!("{{{revealed}}}")), "reveal password").await, "s3\"cret");
}

#[tokio::test]
async fn what_a_guest_says_has_no_secret_in_it() {
    let task = task("", "").await;
    task.quotas.masks().add(&"s3cret".to_owned().into());
    let fault = bindings::spout::plugin::types::Fault {
        code: "server.s3cret".into(),
        message: "it said: s3cret!".into(),
        retry_after_ms: None,
    };
    let error = instance::said(&task, "next", bindings::spout::plugin::types::Error::Fatal(fault)).to_string();
    assert!(error.contains("server.[secret]: it said: [secret]!") && !error.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn endpoints_and_secrets_that_are_asked_for_are_granted_or_named() {
    let plugin = PLUGINS.get("network").await.unwrap();
    let check = |json: &str, expected: Option<&str>| match (
        check_grants(&plugin, (World::StreamSource, "using"), &grants(json), (None, None)),
        expected,
    ) {
        (Ok(()), None) => {}
        (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
        (got, expected) => panic!("{got:?}, not {expected:?}"),
    };
    check(
        "{}",
        Some(r#"`grants: {network: {endpoints: {broker: {address: "HOST:PORT"}}, secrets: {password: {env: NAME}}}}`"#),
    );
    let with = |tls: &str, env: &str| {
        format!(
            r#"{{"endpoints": {{"broker": {{"address": "a:1"{tls}}}}}, "secrets": {{"password": {{"env": "{env}"}}}}}}"#
        )
    };
    check(&with("", "PATH"), None);
    check(&with("", "SPOUT_NO_SUCH_SECRET"), Some("SPOUT_NO_SUCH_SECRET is not set"));
    check(
        &with(r#", "tls": {"ca": "/nowhere.pem"}"#, "PATH"),
        Some("the endpoint `broker`, which cannot be used: /nowhere.pem"),
    );
}
