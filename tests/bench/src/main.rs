//! `just bench [decode|handler|state|nodes|commits|pipeline|partitions|serve|spouts|sql|readers|startup|latency|sources|repo]`: ratios in one
//! run, with medians; `repo` also takes `--commits N`, and `sources` what to read: `none`, `lz4`, `zstd`, `redis`.

mod commits;
mod decode;
mod decode_csv;
mod events;
mod grown;
mod handler;
mod latency;
mod nodes;
mod partitions;
mod peer;
mod pipeline;
mod process;
mod readers;
mod repo;
mod sandbox;
mod serve;
mod sources;
mod spouts;
mod sql;
mod startup;
mod state;
mod timing;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let all = [
        "decode",
        "handler",
        "state",
        "nodes",
        "commits",
        "pipeline",
        "partitions",
        "serve",
        "spouts",
        "sql",
        "readers",
        "startup",
        "latency",
        "sources",
        "repo",
    ];
    if let [first, rest @ ..] = wanted.as_slice()
        && first == "repo"
    {
        return runtime.block_on(repo::run(rest));
    }
    if let [first, rest @ ..] = wanted.as_slice()
        && first == "grown"
    {
        return runtime.block_on(grown::Grown::run(rest));
    }
    if let [first, rest @ ..] = wanted.as_slice()
        && first == "sources"
    {
        return sources::run(&runtime, rest);
    }
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(&name.as_str())) {
        bail!("there is no benchmark {unknown}; there are {}", all.join(", "));
    }
    for name in all.iter().filter(|name| wanted.is_empty() || wanted.iter().any(|wanted| wanted == *name)) {
        match *name {
            "decode" => {
                runtime.block_on(decode::run())?;
                runtime.block_on(decode_csv::run())?;
            }
            "handler" => runtime.block_on(handler::run())?,
            "state" => runtime.block_on(state::run())?,
            "nodes" => runtime.block_on(nodes::run())?,
            "commits" => runtime.block_on(commits::run())?,
            "repo" => runtime.block_on(repo::run(&[]))?,
            "partitions" => partitions::run()?,
            "serve" => serve::run()?,
            "spouts" => spouts::run()?,
            "sql" => runtime.block_on(sql::run())?,
            "readers" => runtime.block_on(readers::run())?,
            "startup" => startup::run()?,
            "latency" => latency::run()?,
            "sources" => sources::run(&runtime, &[])?,
            _ => pipeline::run()?,
        }
    }
    Ok(())
}
