//! What a guest reaches of the network: what is granted and nothing else, whatever names resolve to.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::BoxFuture;
use spout_base::secret::SecretSpec;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    super::{files::Threads, net::Resolver},
    *,
};

/// A name server that we turn as an attacker would.
struct Attacker {
    asked: AtomicUsize,
    /// The names that it was asked for.
    heard: Arc<Mutex<BTreeSet<String>>>,
    answer: fn(&str, usize) -> Vec<&'static str>,
}

impl Resolver for Attacker {
    fn resolve(&self, name: String, _: Threads) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.heard.lock().unwrap().insert(name.clone());
        let answer = (self.answer)(&name, self.asked.fetch_add(1, Ordering::Relaxed));
        let found: Vec<IpAddr> = answer.into_iter().map(|ip| ip.parse().unwrap()).collect();
        let none = || io::Error::from(io::ErrorKind::NotFound);
        Box::pin(std::future::ready(if found.is_empty() { Err(none()) } else { Ok(found) }))
    }
}

fn names(name: &str, asked: usize) -> Vec<&'static str> {
    match name {
        "self.example" => vec!["127.0.0.1"],
        "cloud.example" => vec!["169.254.169.254"],
        "mapped.example" => vec!["::ffff:169.254.169.254", "::ffff:127.0.0.1"],
        "six.example" => vec!["::1", "fe80::1", "fd00:ec2::254", "64:ff9b::7f00:1"],
        "zero.example" => vec!["0.0.0.0", "::"],
        // Outside when the host looks, inside when it would look again.
        "flip.example" if asked.is_multiple_of(2) => vec!["203.0.113.7"],
        "flip.example" => vec!["127.0.0.1"],
        _ => Vec::new(),
    }
}

fn granting(net: &[String]) -> GrantSpec {
    GrantSpec { net: net.iter().map(|text| text.parse().unwrap()).collect(), ..GrantSpec::default() }
}

/// What comes of each deed.
pub(super) async fn check(grants: GrantSpec, deeds: &[(&str, &str)]) {
    let list: Vec<&str> = deeds.iter().map(|(deed, _)| *deed).collect();
    for ((deed, expected), said) in deeds.iter().zip(outcomes(grants, &list).await) {
        assert_eq!(&said, expected, "{deed}");
    }
}

/// What comes of each deed, in words.
pub(super) async fn outcomes(grants: GrantSpec, list: &[&str]) -> Vec<String> {
    overheard(grants, list).await.0
}

/// What comes of each deed, and the names that a name server hears of meanwhile.
async fn overheard(grants: GrantSpec, list: &[&str]) -> (Vec<String>, Vec<String>) {
    let heard = Arc::default();
    let mut task = task("", "").await;
    let mut plugin = (*PLUGINS.get("network").await.expect("a plugin")).clone();
    plugin.resolver = Arc::new(Attacker { asked: AtomicUsize::new(0), heard: Arc::clone(&heard), answer: names });
    task.settings = vec![("deeds".into(), serde_json::to_string(list).unwrap())];
    (task.plugin, task.offer, task.grants) = (Arc::new(plugin), "deeds".into(), grants);
    task.limits = LimitsSpec { call: Period(Duration::from_secs(60)), ..LimitsSpec::default() };
    let mut consumer = StreamConsumer::open(task, "t", "g", StreamStart::Earliest).await.unwrap();
    let mut all = Vec::new();
    for deed in list {
        let fetched = consumer.next(&LIMITS).await.unwrap();
        let said = String::from_utf8(fetched.0.values.bytes.to_vec()).unwrap();
        all.push(said.strip_prefix(&format!("{deed}: ")).expect("the deed").to_owned());
    }
    let heard = heard.lock().unwrap().iter().cloned().collect();
    (all, heard)
}

/// A server that sends back what it gets.
pub(super) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_not_reached() {
    let port = echo().await.port();
    let here = format!("connect 127.0.0.1:{port}");
    let deeds = [
        (here.as_str(), "PermissionDenied"),
        ("connect 169.254.169.254:80", "PermissionDenied"),
        ("connect 10.0.0.1:80", "PermissionDenied"),
        ("connect [::1]:80", "PermissionDenied"),
        ("connect [fe80::1]:80", "PermissionDenied"),
        ("connect [fd00:ec2::254]:80", "PermissionDenied"),
        ("connect 0.0.0.0:80", "InvalidInput"),
        ("connect 224.0.0.1:80", "InvalidInput"),
        ("connect localhost:80", "PermissionDenied"),
        ("connect self.example:80", "PermissionDenied"),
        ("mapped", "invalid-argument"),
        ("udp", "access-denied"),
        ("listen 127.0.0.1:8000", "PermissionDenied"),
        ("listen 0.0.0.0:0", "PermissionDenied"),
        ("env HOME", "not set"),
    ];
    check(GrantSpec::default(), &deeds).await;
    // A grant opens what it names, and no more; a wide one nothing of the host's own.
    check(granting(&[format!("127.0.0.1:{}", port.wrapping_add(1).max(1))]), &deeds).await;
    check(granting(&["0.0.0.0/0:1-65535".into(), "[::]:1".into()]), &[deeds[0], deeds[1], deeds[9], deeds[11]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_is_reached() {
    let address = echo().await;
    let port = address.port();
    let by_number = format!("echo {address}");
    let by_name = format!("echo self.example:{port}");
    check(granting(&[address.to_string()]), &[(&by_number, "hello")]).await;
    check(granting(&[format!("127.0.0.0/8:{port}")]), &[(&by_number, "hello")]).await;
    check(granting(&[address.to_string(), format!("self.example:{port}")]), &[(&by_name, "hello")]).await;
    let grants = format!(r#"{{"listen": [{port}], "env": {{"TOPIC": "events", "PORT": 9092}}}}"#);
    let grants = serde_json::from_str(&grants).unwrap();
    let listen = format!("listen 127.0.0.1:{port}");
    check(grants, &[(&listen, "AddrInUse"), ("env TOPIC", "events"), ("env PORT", "9092")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_an_answer_and_not_a_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let moved = "HTTP/1.1 301 Moved\r\nLocation: http://169.254.169.254/\r\nTransfer-Encoding: chunked\r\n\r\n4\r\naway\r\n0\r\n\r\n";
            drop(stream.read(&mut [0; 1024]).await);
            drop(stream.write_all(moved.as_bytes()).await);
        }
    });
    let get = format!("get http://{address}/");
    let deeds = [(get.as_str(), "301 away"), ("get http://169.254.169.254/", "PermissionDenied")];
    check(granting(&[address.to_string()]), &deeds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_only_outside() {
    let port = echo().await.port();
    let all: Vec<String> = ["self", "cloud", "mapped", "six", "zero", "flip", "gone"]
        .iter()
        .map(|name| format!("{name}.example:{port}"))
        .collect();
    let deeds: Vec<String> = all.iter().map(|address| format!("connect {address}")).collect();
    let mut deeds: Vec<(&str, &str)> = deeds.iter().map(|deed| (deed.as_str(), "PermissionDenied")).collect();
    deeds[6].1 = "NotFound";
    // Where the name flips to is not reached, however often it is tried.
    let flip = format!("flip flip.example:{port}");
    deeds[5] = (&flip, "0 of 1000, 500 denied");
    check(granting(&all), &deeds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_serves_names_hears_only_those_that_are_granted() {
    let deeds = [
        "connect s3cret.evil.example:80",
        "open s3cret.evil.example:80",
        "open good.example.evil.example:80",
        "connect good.example:80",
        // By another port, by its notation and by what would be a part of it.
        "open good.example:81",
        "connect GOOD.example.:80",
        "open s3cret.good.example:80",
    ];
    let (said, heard) = overheard(granting(&["good.example:80".into()]), &deeds).await;
    assert_eq!(heard, ["good.example"], "{said:?}");
    // Whoever grants all names below one grants whatever stands in them.
    let (_, heard) = overheard(granting(&["*.evil.example:80".into()]), &deeds[..2]).await;
    assert_eq!(heard, ["s3cret.evil.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_and_silence_cost_only_who_meets_them() {
    check(GrantSpec::default(), &[("sockets 10000", "256, then new-socket-limit"), ("sockets 10", "10")]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(stream.write_all(b"x").await);
        // Nothing more comes for a minute.
        drop(stream.read(&mut [0]).await);
    });
    let slow = format!("slow {address}");
    check(granting(&[address.to_string()]), &[(&slow, "TimedOut, soon")]).await;
}

/// A guest that listens at port 8000, which `exposed` leads to.
async fn serving(exposed: &Exposed) -> StreamConsumer {
    let mut task = task("", "").await;
    task.plugin = PLUGINS.get("network").await.expect("a plugin");
    (task.offer, task.settings) = ("lines".into(), vec![("port".into(), "8000".into())]);
    task.exposed = Some(exposed.clone());
    task.limits = LimitsSpec { call: Period(Duration::from_secs(60)), ..LimitsSpec::default() };
    StreamConsumer::open(task, "t", "g", StreamStart::Earliest).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exposed_port_is_the_guests_own() {
    let (left, right) = (Exposed::new(8000), Exposed::new(8000));
    assert!(left.listener(0, Duration::ZERO).await.is_none(), "nobody listens yet");
    for exposed in [&left, &right] {
        let mut guest = serving(exposed).await;
        let address = exposed.listener(7, Duration::from_secs(5)).await.expect("a guest that listens");
        assert!(address.ip().is_loopback() && address.port() != 8000, "{address}");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"there\n").await.unwrap();
        let mut got = Vec::new();
        while got.is_empty() {
            got = guest.next(&LIMITS).await.unwrap().0.values.bytes.to_vec();
        }
        assert_eq!(got, b"there");
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"1\n");
        // Both listen at the port that each knows as 8000; when one has gone, so has its address.
        let second = serving(exposed).await;
        drop(guest);
        assert_ne!(exposed.listener(0, Duration::ZERO).await, Some(address));
        drop(second);
        assert!(exposed.listener(0, Duration::ZERO).await.is_none());
    }
}

#[tokio::test]
async fn what_is_asked_for_is_granted_or_named() {
    let plugin = PLUGINS.get("network").await.unwrap();
    let check = |grants: &str, expected: Option<&str>| {
        let grants: GrantSpec = serde_json::from_str(grants).unwrap();
        match (check_grants(&plugin, (World::StreamSource, "asking"), &grants, (None, None)), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    };
    check(
        "{}",
        Some(
            r#"`grants: {network: {dirs: {data: ./data}, net: ["HOST:PORT", "api.example.com:443"], listen: [8000], env: {KEY: VALUE}}}`"#,
        ),
    );
    let all = |net: &str, env: &str| {
        format!(r#"{{"dirs": {{"data": "/d"}}, "net": [{net}], "listen": ["0.0.0.0:8000"], "env": {{{env}}}}}"#)
    };
    check(&all(r#""*.example.com:443""#, r#""KEY": "k""#), None);
    check(&all(r#""api.example.com:80""#, r#""KEY": "k""#), Some("connections to api.example.com:443, which"));
    check(
        &all(r#""*.example.com:443""#, r#""KEY": {"env": "SPOUT_NO_SUCH_KEY"}"#),
        Some("SPOUT_NO_SUCH_KEY is not set"),
    );
    check(&all(r#""*.example.com:443""#, r#""K=Y": "k", "KEY": "k""#), Some("has no `=`"));
    let secret = GrantSpec {
        env: [("KEY".into(), EnvGrant::Secret(SecretSpec::Env("NAME".into())))].into(),
        ..GrantSpec::default()
    };
    assert!(format!("{secret:?}").contains("NAME"));
}
