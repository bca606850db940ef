//! `just bench [decode|handler|state|nodes|nexmark|commits|pipeline|partitions|serve|spouts|sql|readers|startup|latency|sources|parquet|cluster|repo]`:
//! ratios in one run, with medians; `repo` also takes `--commits N`, `sources` what to read (`none`, `lz4`, `zstd`, `redis`), `nodes` a
//! part of what is measured (`window`), `nexmark` queries (`q1 q4`), and `parquet` sizes in millions of rows, to see what a row costs
//! where there are more of them.

mod cluster;
mod commits;
mod decode;
mod decode_csv;
mod events;
mod grown;
mod handler;
mod latency;
mod nexmark;
mod nodes;
mod parquet;
mod partitions;
mod peer;
mod pipeline;
mod process;
mod readers;
mod repo;
mod same;
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
        "nexmark",
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
        "parquet",
        "cluster",
        "repo",
    ];
    match wanted.as_slice() {
        [first, rest @ ..] if first == "repo" => return runtime.block_on(repo::run(rest)),
        [first, rest @ ..] if first == "grown" => return runtime.block_on(grown::Grown::run(rest)),
        [first, rest @ ..] if first == "sources" => return sources::run(&runtime, rest),
        [first, rest @ ..] if first == "nodes" => return runtime.block_on(nodes::run(rest)),
        [first, rest @ ..] if first == "nexmark" => return nexmark::run(rest),
        [first, rest @ ..] if first == "parquet" => return parquet::run(rest),
        _ => {}
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
            "cluster" => cluster::run()?,
            "handler" => runtime.block_on(handler::run())?,
            "state" => runtime.block_on(state::run())?,
            "nodes" => runtime.block_on(nodes::run(&[]))?,
            "nexmark" => nexmark::run(&[])?,
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
            "parquet" => parquet::run(&[])?,
            _ => pipeline::run()?,
        }
    }
    Ok(())
}
