//! What tests kill, stop and starve: lives of a store that say aloud what was acknowledged, and checks of what they left.

mod bodies;
mod check;
mod compare;
mod damage;
mod portrait;
mod script;
mod verify;
mod versions;
mod workers;

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};
use spout_base::error::Coded as _;

const USAGE: &str = "spout-life points | live STORE [REFERENCE] | check STORE REFERENCE ACKNOWLEDGED | write STORE LABEL | \
                     edit STORE LABEL | collect STORE | sweep STORE | go-on STORE | \
                     gc STORE MIN_AGE_MS | damage STORE | \
                     write-on STORE | verify STORE exact|atleast TOLD... | versions STORE REPO";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code =
                error.chain().find_map(|cause| cause.downcast_ref::<spout_repo::Error>()).map(|ours| ours.code());
            eprintln!("error[{}]: {error:#}", code.unwrap_or("none"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match args {
        ["points"] => spout_repo::fail_points().for_each(|point| println!("{point}")),
        ["live", store] => runtime.block_on(script::live(store, None))?,
        ["live", store, reference] => runtime.block_on(script::live(store, Some(Path::new(reference))))?,
        ["check", store, reference, acknowledged] => {
            runtime.block_on(check::check(store, Path::new(reference), acknowledged.parse()?))?;
        }
        ["write", store, label] => runtime.block_on(workers::write(store, label))?,
        ["edit", store, label] => runtime.block_on(workers::edit(store, label))?,
        ["collect", store] => runtime.block_on(workers::collect(store))?,
        ["sweep", store] => runtime.block_on(check::sweep(store))?,
        ["go-on", store] => runtime.block_on(check::go_on(store))?,
        ["gc", store, min_age_ms] => runtime.block_on(check::gc(store, min_age_ms.parse()?))?,
        ["damage", store] => runtime.block_on(damage::damage(store))?,
        ["write-on", store] => runtime.block_on(damage::write_on(store))?,
        ["verify", store, "exact", told @ ..] => runtime.block_on(verify::verify(store, told, true))?,
        ["verify", store, "atleast", told @ ..] => runtime.block_on(verify::verify(store, told, false))?,
        ["versions", store, repo] => runtime.block_on(versions::versions(store, repo))?,
        _ => bail!("{USAGE}"),
    }
    Ok(())
}
