//! Secrets: named in specs, read when they are needed, never shown, logged or stored.

use std::{env, fmt, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bounded, reach::Reach};

/// Bytes that the file of a secret may have.
const LONGEST: u64 = 64 << 10;

/// Where a secret is, as in `{env: TOKEN}` or `{file: /run/secrets/token}`. The secret itself has no place in a spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretSpec {
    /// In this environment variable of the host, as in `TOKEN`.
    Env(String),
    /// In this file, as in `/run/secrets/token`; white space at its end does not count.
    File(std::path::PathBuf),
}

/// A secret. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl SecretSpec {
    /// What of the machine it is read from.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self {
            Self::Env(_) => Reach::Environment,
            Self::File(_) => Reach::Files,
        }
    }

    /// Reads the secret; a relative path starts at `base`.
    ///
    /// # Errors
    /// What is not there, or empty, and what to do.
    pub fn read(&self, base: &Path) -> Result<Secret, String> {
        let found = match self {
            Self::Env(name) => env::var(name).map_err(|_| {
                format!("the environment variable {name} is not set or not valid UTF-8; set it for the host")
            })?,
            Self::File(path) => {
                let path = base.join(path);
                let bytes = bounded::read(&path, LONGEST)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))?
            }
        };
        match found.trim_end() {
            "" => Err("it is empty".into()),
            secret => Ok(Secret(secret.to_owned())),
        }
    }
}

impl Secret {
    /// The secret, for the code that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_is_read_and_does_not_show_itself() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "s3cret\n").unwrap();
        fs::write(dir.path().join("empty"), "\n").unwrap();
        let check = |spec: &str, expected: Result<&str, &str>| {
            let spec: SecretSpec = serde_json::from_str(spec).unwrap();
            match (spec.read(dir.path()), expected) {
                (Ok(secret), Ok(expected)) => {
                    assert_eq!(secret.reveal(), expected);
                    assert!(!format!("{secret:?}").contains(expected));
                }
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (got, _) => panic!("{got:?}"),
            }
        };
        check(r#"{"file":"token"}"#, Ok("s3cret"));
        check(r#"{"file":"empty"}"#, Err("it is empty"));
        check(r#"{"file":"nowhere"}"#, Err("cannot be read"));
        check(r#"{"env":"SPOUT_NO_SUCH_SECRET"}"#, Err("SPOUT_NO_SUCH_SECRET is not set"));
    }
}
