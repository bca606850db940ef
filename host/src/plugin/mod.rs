//! Loads sandboxed plugins and talks to them. The only room that knows wasmtime.

mod grants;
mod limits;
mod settings;

pub use grants::{DirGrant, GrantSpec};
pub use limits::LimitsSpec;
pub use settings::Settings;
