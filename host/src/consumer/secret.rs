//! A secret by name: where it is, never what it is.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Error;

/// Where a secret is found when the pipeline starts. It is never logged, stored in a commit or shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretSpec {
    /// In a variable of the environment, as in `{env: HOOK_TOKEN}`.
    Env(String),
    /// In a file, as in `{file: /run/secrets/hook}`, without the line's end.
    File(PathBuf),
}

impl SecretSpec {
    /// The secret; a relative file starts at `base`.
    ///
    /// # Errors
    /// If it is not there.
    pub(super) fn read(&self, consumer: &'static str, base: &Path) -> Result<String, Error> {
        let missing = |what: String| Error::Secret { consumer, what };
        match self {
            Self::Env(name) => std::env::var(name).map_err(|_| missing(format!("the environment variable {name}"))),
            Self::File(path) => {
                let path = base.join(path);
                let text = std::fs::read_to_string(&path).map_err(|_| missing(format!("the file {}", path.display())))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "s3cret\n").unwrap();
        let file = SecretSpec::File("token".into());
        assert_eq!(file.read("http", dir.path()).unwrap(), "s3cret");
        let text = serde_json::to_string(&file).unwrap();
        assert_eq!(serde_json::from_str::<SecretSpec>(&text).unwrap(), file);
        for absent in [SecretSpec::Env("SPOUT_NO_SUCH_SECRET".into()), SecretSpec::File("none".into())] {
            assert!(matches!(absent.read("http", dir.path()), Err(Error::Secret { .. })));
        }
    }
}
