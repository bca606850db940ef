//! Who a listener is: the certificate that it shows to those who connect, and its key.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{ServerConfig, server::WebPkiClientVerifier};
use spout_base::error::{Coded, Kind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{pem, trust};

/// A handshake has to be over within this time.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a listener shows to prove who it is.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

/// A certificate or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used for TLS: {why}", path.display())]
pub struct IdentityError {
    /// The file.
    path: PathBuf,
    /// Why not.
    why: String,
}

impl Coded for IdentityError {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn code(&self) -> &'static str {
        "E0915"
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// The chain of certificates in one PEM file, and the key in another.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, IdentityError> {
        let wrong = |path: &Path, why: String| IdentityError { path: path.to_owned(), why };
        let certificates = pem::certificates(chain).map_err(|why| wrong(chain, why))?;
        let secret = pem::key(key).map_err(|why| wrong(key, why))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, secret));
        config.map(|config| Self(Arc::new(config))).map_err(|error| wrong(chain, error.to_string()))
    }

    /// The same for a listener whose callers have to show a certificate too, which an authority in the PEM file `ca` vouches for.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn mutual(chain: &Path, key: &Path, ca: &Path) -> Result<Self, IdentityError> {
        let wrong = |path: &Path, why: String| IdentityError { path: path.to_owned(), why };
        let certificates = pem::certificates(chain).map_err(|why| wrong(chain, why))?;
        let secret = pem::key(key).map_err(|why| wrong(key, why))?;
        let roots = trust::authorities(ca).map_err(|why| wrong(ca, why))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let callers = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let callers = callers.map_err(|error| wrong(ca, error.to_string()))?;
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions
            .and_then(|builder| builder.with_client_cert_verifier(callers).with_single_cert(certificates, secret));
        config.map(|config| Self(Arc::new(config))).map_err(|error| wrong(chain, error.to_string()))
    }

    /// Shakes hands with who has connected.
    ///
    /// # Errors
    /// If that fails, or takes too long.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        match timeout(HANDSHAKE, TlsAcceptor::from(Arc::clone(&self.0)).accept(stream)).await {
            Ok(accepted) => accepted,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "a TLS handshake took too long")),
        }
    }
}
