//! The certificate of a server, and its key.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::Error;

/// What a server shows to prove who it is.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// The chain of certificates in one PEM file, and the key in another.
    ///
    /// # Errors
    /// [`Error::Tls`], which names the file.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, Error> {
        let wrong = |path: &Path, why: String| Error::Tls { path: path.to_owned(), why };
        let read = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = read.map_err(|error| wrong(chain, error.to_string()))?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, secret));
        config.map(|config| Self(Arc::new(config))).map_err(|error| wrong(chain, error.to_string()))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}
