//! Plugins that are kept by their digest, where whoever replaces files of the plugins directory cannot reach them.

use std::fmt::Debug;

use async_trait::async_trait;

/// Where such plugins are.
#[async_trait]
pub trait Shelf: Debug + Send + Sync {
    /// The digest of the version that `name` stands for where the plugins directory has no such file.
    fn newest(&self, name: &str) -> Option<String>;

    /// The names that stand for a version.
    fn names(&self) -> Vec<String>;

    /// The bytes of a version, if it is kept.
    ///
    /// # Errors
    /// Why they cannot be read.
    async fn read(&self, name: &str, digest: &str) -> Result<Option<Vec<u8>>, String>;

    /// Where a version is, for people.
    fn place(&self, name: &str, digest: &str) -> String;
}
