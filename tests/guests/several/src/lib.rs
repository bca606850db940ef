//! Several of each kind in one plugin: messages with keys, headers and times, decoders that read them, handlers that declare
//! their columns.

mod decoders;
mod handlers;
mod sources;

use self::{
    decoders::{Envelope, Plain, Shaped},
    handlers::{Double, Renamed},
    sources::{Tagged, Tags},
};

spout_guest::register! {
    source "tagged": Tags, "messages with keys, headers and times";
    source "granted": Tags, "the same, for those who grant a directory", asks: ["extra", "{topic}"];
    stream "tagged": Tagged, "the same as one stream";
    decoder "plain": Plain, "payloads as text";
    decoder "envelope": Envelope, "payloads and all that comes with them";
    decoder "shaped": Shaped, "payloads in columns of choice";
    handler "double": Double, "adds `twice` to rows with a number `n`";
    handler "renamed": Renamed, "declares one name and answers with another";
}
