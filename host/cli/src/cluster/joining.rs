//! What of a command line says who a process is to the others of its cluster.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::Args;
use spout_base::bounded;
use spout_cluster::{Certificates, Settings, Token};

use crate::{certificate::Certificate, error::Error};

/// Where the token is, unless a file says it.
const TOKEN: &str = "SPOUT_JOIN_TOKEN";

/// Where a process listens that is not told where.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Most bytes of a token with what is around it.
const MOST: u64 = 64 << 10;

/// Who a process is to the others of its cluster.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Joining {
    /// Host and port where the other processes of the cluster reach this one; a free port of 127.0.0.1 by default. Without --cert it
    /// has to be an address of this machine alone.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where others reach it, if that is elsewhere: behind a proxy, or at 0.0.0.0.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// File with what all processes of the cluster know, and nobody else: 16 characters at least. Or the variable SPOUT_JOIN_TOKEN
    /// has it.
    #[arg(long, value_name = "FILE")]
    join_token: Option<PathBuf>,
    /// What is said of this process, for pipelines that are pinned; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The authority in PEM that vouches for the certificates of all processes of the cluster; every connection between them is TLS
    /// then, and both ends show one.
    #[arg(long, value_name = "FILE", requires = "cert")]
    ca: Option<PathBuf>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as zone=a".to_owned()),
    }
}

impl Joining {
    /// The same as the cluster room has it. A certificate without an authority is for others, which the process `serves`.
    pub(super) fn settings(&self, certificate: &Certificate, serves: bool) -> Result<Settings> {
        if certificate.files().is_some() && self.ca.is_none() && !serves {
            let what = "`--cert` without `--ca`: other processes of the cluster need the authority that vouches for it; --ui alone does not";
            return Err(Error::Usage { verb: "worker", what: what.into() }.into());
        }
        let token = Token::new(self.token()?.trim())?;
        let certificates = certificate.files().zip(self.ca.as_ref());
        let certificates = certificates.map(|((chain, key), ca)| Certificates {
            chain: chain.to_owned(),
            key: key.to_owned(),
            ca: ca.clone(),
        });
        Ok(Settings {
            advertise: self.advertise.clone(),
            labels: self.labels.iter().cloned().collect(),
            certificates,
            ..Settings::new(self.listen.unwrap_or(HERE), token)
        })
    }

    fn token(&self) -> Result<String, Error> {
        let missing = || Error::NoToken { variable: TOKEN };
        match &self.join_token {
            Some(file) => read(file),
            None => std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).ok_or_else(missing),
        }
    }
}

fn read(file: &Path) -> Result<String, Error> {
    bounded::read(file, MOST)
        .and_then(bounded::text)
        .map_err(|source| Error::ReadFile { path: file.to_owned(), source })
}

/// `spout run --cluster`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Shared {
    /// Share the work with `spout worker` processes of the same store: the pipelines are created in it, or updated.
    #[arg(
        long,
        help_heading = "Cluster",
        conflicts_with_all = ["reset_node", "harden", "fail_on_dead_letters"]
    )]
    pub(crate) cluster: bool,
    #[command(flatten)]
    pub(crate) joining: Joining,
}
