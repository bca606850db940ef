//! Secrets as a spec grants them: where they are, and whether a plugin may see them.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{
    reach::Reach,
    secret::{Secret, SecretSpec},
};

/// A secret that a plugin uses by its name: `{env: KAFKA_PASSWORD}` or `{file: /run/secrets/password}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum SecretGrant {
    /// In an environment variable of the host.
    Env {
        /// The variable, as in `KAFKA_PASSWORD`.
        env: String,
        /// Whether the plugin may see the secret itself.
        #[serde(default, skip_serializing_if = "hidden")]
        reveal: bool,
    },
    /// In a file.
    File {
        /// The file, as in `/run/secrets/password`; white space at its end does not count.
        file: PathBuf,
        /// Whether the plugin may see the secret itself.
        #[serde(default, skip_serializing_if = "hidden")]
        reveal: bool,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn hidden(reveal: &bool) -> bool {
    !reveal
}

impl SecretGrant {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> SecretSpec {
        match self {
            Self::Env { env, .. } => SecretSpec::Env(env.clone()),
            Self::File { file, .. } => SecretSpec::File(file.clone()),
        }
    }

    /// What of the machine it is read from.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.place().reach()
    }

    /// Whether the plugin may see it.
    #[must_use]
    pub fn reveals(&self) -> bool {
        matches!(self, Self::Env { reveal: true, .. } | Self::File { reveal: true, .. })
    }

    /// The secret; paths are absolute.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        self.place().read(Path::new(""))
    }

    /// The same with a path that starts at `base` if it is relative.
    #[must_use]
    pub fn absolute(&self, base: &Path) -> Self {
        match self {
            Self::File { file, reveal } => Self::File { file: base.join(file), reveal: *reveal },
            Self::Env { .. } => self.clone(),
        }
    }
}

/// The place, never the secret.
impl fmt::Display for SecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { env, .. } => write!(f, "from the environment variable {env}"),
            Self::File { file, .. } => write!(f, "from {}", file.display()),
        }?;
        f.write_str(if self.reveals() { ", which it may see" } else { "" })
    }
}
