//! Waits for a granted file in many places at once.

use wasip2::{
    filesystem::{
        preopens::get_directories,
        types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags},
    },
    io::poll::poll,
};

use crate::{bindings::spout::plugin::types::Error, fatal};

/// Begins to read a file in a thousand streams, waits for none, and then for all of them.
pub(crate) fn read_many() -> Result<(), Error> {
    let dirs = get_directories();
    let (data, _) =
        dirs.iter().find(|(_, name)| name == "/data").ok_or_else(|| fatal("many.closed", "no directory"))?;
    let closed = |error: ErrorCode| fatal("many.closed", &error.to_string());
    let file = data.open_at(PathFlags::empty(), "in.txt", OpenFlags::empty(), DescriptorFlags::READ).map_err(closed)?;
    let streams = (0..1000).map(|_| file.read_via_stream(0)).collect::<Result<Vec<_>, _>>().map_err(closed)?;
    for stream in &streams {
        drop(stream.read(1));
    }
    let ready: Vec<_> = streams.iter().map(|stream| stream.subscribe()).collect();
    poll(&ready.iter().collect::<Vec<_>>());
    Err(fatal("many.read", "nothing hung"))
}
