//! Nothing: its manifest is what it is for. `tests/suite/tidy.rs` compares the features of both builds.
