//! The readers against a service of this thread, and directories; tests/suite/objects.rs has them in the sandbox.

mod bucket;
mod directory;

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}
