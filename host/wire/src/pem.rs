//! Certificates and keys in files: bounded, and not waited for where they are pipes that nobody writes.

use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use spout_base::bounded;

/// Bytes of a file: those of all authorities that a machine trusts have some hundred kilobytes.
const LARGEST: u64 = 16 << 20;

/// The certificates of a file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// The private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    bounded::read(path, LARGEST).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_certificate_and_no_key_is_read_for_ever() {
        for endless in ["/dev/zero", "/dev/urandom"].map(Path::new) {
            assert!(certificates(endless).unwrap_err().contains("bytes it may have"));
            assert!(key(endless).unwrap_err().contains("bytes it may have"));
        }
    }
}
