//! Who is let in by certificates, and what may be done without.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use spout_base::error::Coded as _;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{
    membership::{ask, join},
    *,
};
use crate::Certificates;

/// Authorities and what they vouch for, as files.
struct Papers(TempDir);

impl Papers {
    fn new() -> Self {
        let papers = Self(tempfile::tempdir().unwrap());
        for ca in ["ours", "theirs"] {
            let out = format!("-keyout {ca}.key -out {ca}.pem -subj /CN={ca}");
            papers.openssl(&format!("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 {out}"));
        }
        papers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, args: &str) {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A certificate for `host` that `ca` vouches for, shown to those that trust `trusted`.
    fn of(&self, ca: &str, host: &str, trusted: &str) -> Certificates {
        let name = format!("{ca}-{host}");
        let request = format!("-keyout {name}.key -out {name}.csr -subj /CN=spout");
        self.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes {request}"));
        std::fs::write(self.path("extensions"), format!("subjectAltName={host}\n")).unwrap();
        let signed =
            format!("-CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days 30 -extfile extensions -out {name}.pem");
        self.openssl(&format!("x509 -req -in {name}.csr {signed}"));
        let path = |file: String| self.path(&file);
        Certificates {
            chain: path(format!("{name}.pem")),
            key: path(format!("{name}.key")),
            ca: path(format!("{trusted}.pem")),
        }
    }
}

fn with(certificates: Certificates) -> Settings {
    Settings { certificates: Some(certificates), ..settings() }
}

#[tokio::test]
async fn a_fleet_with_certificates_takes_only_its_own() {
    let papers = Papers::new();
    let ours = || with(papers.of("ours", "IP:127.0.0.1", "ours"));
    let two = Two::with(ours(), ours()).await;
    two.is_well().await;

    // Whom another authority vouches for, whichever it trusts itself.
    for trusted in ["ours", "theirs"] {
        let stranger = Site::open(with(papers.of("theirs", "IP:127.0.0.1", trusted))).await.unwrap();
        let (joining, _) = stranger.follow(&two.leader);
        let refused = soon(joining).await.unwrap();
        assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
    }
    // Who speaks no TLS, of both kinds.
    let plain = Site::open(settings()).await.unwrap();
    let (joining, _) = plain.follow(&two.leader);
    assert!(matches!(soon(joining).await.unwrap(), Err(Error::Unreachable { .. })));
    let (_, answer) = ask(&two.leader, join(&plain)).await;
    assert_eq!(answer, None);
    let leading = plain.station.lead(FLEET).unwrap();
    let (joining, _) = two.worker.follow(&plain);
    assert!(matches!(soon(joining).await.unwrap(), Err(Error::Unreachable { .. })));
    assert_eq!(leading.members().borrow().len(), 1);
    two.is_well().await;
}

#[tokio::test]
async fn a_certificate_is_for_the_host_that_is_dialled() {
    let papers = Papers::new();
    let leader = Site::open(with(papers.of("ours", "IP:127.0.0.1", "ours"))).await.unwrap();
    let leading = leader.station.lead(FLEET).unwrap();
    // As a client its certificate is good; the leader would start tasks at an address that it is not for.
    let elsewhere = Site::open(with(papers.of("ours", "DNS:elsewhere.test", "ours"))).await.unwrap();
    let (joining, _) = elsewhere.follow(&leader);
    let refused = soon(joining).await.unwrap();
    assert!(matches!(&refused, Err(Error::Refused { leads: true, .. })), "{refused:?}");
    assert_eq!(leading.members().borrow().len(), 1);
    // And a leader is only who its certificate says.
    elsewhere.station.lead("another").unwrap();
    let leave = CancellationToken::new();
    let refused = soon(leader.station.follow(&elsewhere.station.address(), "another", &leave)).await;
    assert!(matches!(&refused, Err(Error::Unreachable { .. })), "{refused:?}");
}

#[tokio::test]
async fn without_certificates_nobody_else_reaches_it() {
    let everywhere = Settings::new(([0, 0, 0, 0], 0).into(), token());
    let error = Site::open(everywhere).await.map(drop).unwrap_err();
    assert_eq!(error.code(), "E0970");
    let error =
        Site::open(Settings { advertise: Some("example.test:1".into()), ..settings() }).await.map(drop).unwrap_err();
    assert_eq!(error.code(), "E0970");
    let site = Site::open(settings()).await.unwrap();
    let leave = CancellationToken::new();
    let error = soon(site.station.follow("192.0.2.1:4000", FLEET, &leave)).await.unwrap_err();
    assert_eq!(error.code(), "E0970");
}

#[tokio::test]
async fn settings_that_cannot_be_used_say_why() {
    let papers = Papers::new();
    let ours = papers.of("ours", "IP:127.0.0.1", "ours");
    let code = async |settings: Settings| Site::open(settings).await.map(drop).unwrap_err().code();
    let none = Certificates { ca: papers.path("none.pem"), ..ours.clone() };
    assert_eq!(code(with(none)).await, "E0973");
    let wrong = Certificates { key: papers.path("theirs.key"), ..ours.clone() };
    assert_eq!(code(with(wrong)).await, "E0973");
    let everywhere = Settings { listen: ([0, 0, 0, 0], 0).into(), ..with(ours.clone()) };
    assert_eq!(code(everywhere.clone()).await, "E0971");
    assert_eq!(code(Settings { advertise: Some("no port".into()), ..everywhere.clone() }).await, "E0971");
    Site::open(Settings { advertise: Some("example.test:4000".into()), ..everywhere }).await.unwrap();
    let taken = Site::open(settings()).await.unwrap();
    let listen = taken.station.address().parse().unwrap();
    assert_eq!(code(Settings { listen, ..settings() }).await, "E0972");
    assert_eq!(Token::new("short").map(drop).unwrap_err().code(), "E0974");
    assert!(Path::new(&ours.key).exists());
    drop(TcpStream::connect(listen).await.unwrap());
}
