//! What one plugin may reach outside its sandbox. Nothing, unless the spec says so.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the spec grants to one plugin, by plugin name under `grants`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrantSpec {
    /// Directories by the name the plugin sees them under (`events` is `/events` inside); relative paths start at the
    /// spec's own directory.
    pub dirs: BTreeMap<String, DirGrant>,
}

/// One granted directory: a path (read only), or a path with `write: true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DirGrant {
    /// Read only.
    Path(PathBuf),
    /// With access spelled out.
    Access {
        /// Directory on the host.
        path: PathBuf,
        /// Whether the plugin may change what is in it.
        #[serde(default)]
        write: bool,
    },
}

impl DirGrant {
    /// The directory on the host.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Path(path) | Self::Access { path, .. } => path,
        }
    }

    /// Whether the plugin may change what is in it.
    #[must_use]
    pub fn writable(&self) -> bool {
        matches!(self, Self::Access { write: true, .. })
    }
}
