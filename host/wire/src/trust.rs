//! Whom a connection leads to over TLS: what the peer has to prove, and what it is shown.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::pem;

/// A connection over TLS.
pub type Secured = TlsStream<TcpStream>;

/// The authorities that this machine trusts; asked for once, because they are read from many files.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

/// Whom to trust. A peer always has to prove who it is.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Trust {
    /// Trusts the authorities in the PEM file `ca`, or those that this machine trusts; shows the chain of certificates in the first
    /// file of `identity`, whose key is in the second; and expects a certificate for `name`, or for whatever host is dialled.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub fn read(ca: Option<&Path>, identity: Option<(&Path, &Path)>, name: Option<&str>) -> Result<Self, String> {
        let roots = ca.map_or_else(system, authorities)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.map_err(|error| error.to_string())?.with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let secret = pem::key(key).map_err(|why| format!("{}: {why}", key.display()))?;
                let config = builder.with_client_auth_cert(certificates(chain)?, secret);
                config.map_err(|error| format!("{} with {}: {error}", chain.display(), key.display()))?
            }
        };
        Ok(Self { config: Arc::new(config), name: name.map(server_name).transpose()? })
    }

    /// Shakes hands with who was reached at `host`.
    ///
    /// # Errors
    /// If it cannot prove who it is, or speaks no TLS.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Secured> {
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        let name = self.name.clone().map_or_else(|| server_name(host), Ok).map_err(wrong)?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| format!("`{host}` is neither the name of a host nor an address"))
}

fn system() -> Result<Arc<RootCertStore>, String> {
    if SYSTEM.is_empty() {
        return Err("this machine trusts no authority; name a file of them with `ca`".into());
    }
    Ok(Arc::clone(&SYSTEM))
}

pub(super) fn authorities(path: &Path) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(Arc::new(roots))
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = pem::certificates(path).map_err(|why| format!("{}: {why}", path.display()))?;
    if found.is_empty() { Err(format!("{} has no certificate", path.display())) } else { Ok(found) }
}
