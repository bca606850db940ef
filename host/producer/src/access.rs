//! How a program that a pipeline runs on this machine is let into the API of its store.

use std::{any::Any, fmt, io};

use async_trait::async_trait;
use spout_base::secret::Secret;

/// Lets programs into the API of a store.
#[async_trait]
pub trait StoreAccess: fmt::Debug + Send + Sync {
    /// A pass to the repo of this name, and to no other.
    ///
    /// # Errors
    /// If the API cannot be offered.
    async fn grant(&self, repo: &str) -> io::Result<Pass>;
}

/// What a program needs to be let in. Dropping it revokes the token.
pub struct Pass {
    /// The address of the API.
    pub server: String,
    /// What it asks for.
    pub token: Secret,
    _valid: Box<dyn Any + Send + Sync>,
}

impl Pass {
    /// One that is valid as long as `valid` lives.
    #[must_use]
    pub fn new(server: String, token: Secret, valid: Box<dyn Any + Send + Sync>) -> Self {
        Self { server, token, _valid: valid }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("server", &self.server).finish_non_exhaustive()
    }
}
