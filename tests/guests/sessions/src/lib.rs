//! The SDK's example of a handler that waits and forgets, as a plugin.

#[path = "../../../../sdk-guest/examples/sessions.rs"]
pub mod example;
