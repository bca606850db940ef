//! Gets at what lies outside of granted directories, by names that a guest may change: `/data` and `/more` are granted to be written,
//! `/keep` to be read, and beside them lies `secret.txt`.

use std::hint::black_box;

use wasip2::{
    clocks::wall_clock::Datetime,
    filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags},
    },
};

use crate::{bindings::spout::plugin::types::Error, fatal};

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
const ITSELF: PathFlags = PathFlags::empty();

/// Whether something outside was reached in each of the ways by which `path` leads there.
fn reached(data: &Descriptor, path: &str) -> Option<&'static str> {
    let time = || NewTimestamp::Timestamp(Datetime { seconds: 1, nanoseconds: 0 });
    let secret = format!("{path}/secret.txt");
    let new = format!("{path}/new.txt");
    let open = |open, flags| data.open_at(FOLLOW, &secret, open, flags).is_ok();
    let ways = [
        ("read", open(OpenFlags::empty(), DescriptorFlags::READ)),
        ("write", open(OpenFlags::empty(), DescriptorFlags::WRITE)),
        ("truncate", open(OpenFlags::TRUNCATE, DescriptorFlags::WRITE)),
        ("create", data.open_at(FOLLOW, &new, OpenFlags::CREATE, DescriptorFlags::WRITE).is_ok()),
        ("list", data.open_at(FOLLOW, path, OpenFlags::DIRECTORY, DescriptorFlags::READ).is_ok()),
        ("stat", data.stat_at(FOLLOW, &secret).is_ok()),
        ("hash", data.metadata_hash_at(FOLLOW, &secret).is_ok()),
        ("times", data.set_times_at(FOLLOW, &secret, time(), time()).is_ok()),
        ("directory", data.create_directory_at(&format!("{path}/made")).is_ok()),
        ("link in", data.link_at(ITSELF, &secret, data, "stolen").is_ok()),
        ("link out", data.link_at(ITSELF, "in.txt", data, &new).is_ok()),
        ("symlink out", data.symlink_at("in.txt", &format!("{path}/sym")).is_ok()),
        ("readlink", data.readlink_at(&format!("{path}/link")).is_ok()),
        ("rename in", data.rename_at(&secret, data, "stolen").is_ok()),
        ("rename out", data.rename_at("in.txt", data, &new).is_ok()),
        ("unlink", data.unlink_file_at(&secret).is_ok()),
        ("remove", data.remove_directory_at(&format!("{path}/empty")).is_ok()),
    ];
    ways.into_iter().find_map(|(way, open)| open.then_some(way))
}

/// Tries every way, by every name that leads out.
pub(crate) fn links() -> Result<(), Error> {
    let open = |what: String| Err(fatal("links.open", &what));
    let all = get_directories();
    let dir = |name: &str| all.iter().find(|(_, path)| path == name).map(|(dir, _)| dir);
    let (Some(data), Some(more), Some(keep)) = (dir("/data"), dir("/more"), dir("/keep")) else {
        return Err(fatal("links.closed", "a directory is missing"));
    };
    // Links of its own making: whether they may be made at all is one thing, where they lead is another.
    let links = [("..", "up"), ("/", "root"), ("sub/../..", "about"), ("up", "up-again"), ("loop", "loop")];
    black_box(links.map(|(to, name)| data.symlink_at(to, name).is_ok()));
    for path in ["..", "up", "up-again", "about", "loop", "sub/../..", "sub/../up", "out", "out-absolute", "root/tmp"] {
        if let Some(way) = reached(data, path) {
            return open(format!("{way} by {path}"));
        }
    }
    // A directory below one that is renamed while its handle is open, and one that was moved into another grant.
    let below = OpenFlags::DIRECTORY;
    let Ok(sub) = data.open_at(ITSELF, "sub/deep", below, DescriptorFlags::MUTATE_DIRECTORY) else {
        return Err(fatal("links.closed", "a directory below cannot be opened"));
    };
    if data.rename_at("sub/deep", more, "moved").is_err() || data.rename_at("sub", data, "other").is_err() {
        return Err(fatal("links.closed", "a directory cannot be renamed"));
    }
    for path in ["..", "../..", "../../..", "../up"] {
        if let Some(way) = reached(&sub, path) {
            return open(format!("{way} by {path} of a directory that was moved"));
        }
    }
    // What is granted to be read is not written by another name for it, nor moved to where that is allowed.
    let into_writable = [
        ("link", keep.link_at(ITSELF, "kept.txt", data, "kept-link").is_ok()),
        ("rename", keep.rename_at("kept.txt", data, "kept-moved").is_ok()),
        ("link back", data.link_at(ITSELF, "in.txt", keep, "from-data").is_ok()),
        ("rename back", data.rename_at("in.txt", keep, "from-data").is_ok()),
    ];
    if let Some((way, _)) = into_writable.into_iter().find(|(_, done)| *done) {
        return open(format!("{way} across a grant to read"));
    }
    // The same directory by a grant to write above it is what was granted; by that to read it is not.
    if keep.open_at(FOLLOW, "kept.txt", OpenFlags::empty(), DescriptorFlags::WRITE).is_ok()
        || keep.open_at(FOLLOW, "kept.txt", OpenFlags::TRUNCATE, DescriptorFlags::WRITE).is_ok()
        || keep.unlink_file_at("kept.txt").is_ok()
    {
        return open("a grant to read writes".into());
    }
    Err(fatal("links.denied", "nothing outside was reached"))
}
