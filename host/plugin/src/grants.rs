//! What one plugin may reach outside its sandbox. Nothing, unless the spec says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Plugin, World};

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

/// Checks that everything is granted that `plugin` asks for where its offer of `world` named `offer` is used, and nothing of the
/// host's own; paths are absolute. Where it asks for `{topic}`, that is the directory of `topic`, which it is used to read.
///
/// # Errors
/// What is missing, and what to add to the spec; a directory that nobody may be granted.
pub fn check_grants(
    plugin: &Plugin,
    (world, offer): (World, &str),
    grants: &GrantSpec,
    topic: Option<&str>,
) -> Result<(), Error> {
    grants.dirs.iter().try_for_each(|(name, grant)| check_reserved(plugin, name, grant))?;
    let Some(manifest) = plugin.manifest() else { return Ok(()) };
    let directory = topic.and_then(|topic| topic.split('/').find(|part| !part.is_empty()));
    let asked = manifest.dirs(world.interface(), offer).filter_map(|dir| match dir {
        "{topic}" => directory,
        dir => Some(dir),
    });
    let missing: BTreeSet<&str> = asked.filter(|dir| !grants.dirs.contains_key(*dir)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let dirs: Vec<String> = missing.iter().map(|dir| format!("{dir}: ./{dir}")).collect();
    Err(Error::Ungranted {
        plugin: plugin.name().to_owned(),
        missing: format!("the directories {}", missing.into_iter().collect::<Vec<_>>().join(", ")),
        add: format!("`grants: {{{}: {{dirs: {{{}}}}}}}`", plugin.name(), dirs.join(", ")),
    })
}

/// Refuses a directory that holds something of the host's own, or lies in it.
pub(super) fn check_reserved(plugin: &Plugin, name: &str, grant: &DirGrant) -> Result<(), Error> {
    let Some((what, reserved)) = plugin.reserved.overlap(grant.path()) else { return Ok(()) };
    Err(Error::Reserved {
        plugin: plugin.name().to_owned(),
        name: name.to_owned(),
        path: grant.path().clone(),
        what,
        reserved: reserved.to_path_buf(),
    })
}
