//! `spout plugin`: what is in the plugins directory, and how it gets there.

mod build;
mod check;
mod inspect;
mod kind;
mod list;
mod located;
mod new;
mod pack;
mod shipped;
mod test;

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Global, print::Printer};

/// List, inspect, create, build, check and test plugins.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin list
  spout plugin inspect files
  spout plugin new my-plugin --handler --lang python
  spout plugin build my-plugin/
  spout plugin check my-plugin
  spout plugin test my-plugin --input rows.ndjson")]
pub(super) struct PluginVerb {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::List),
    Inspect(inspect::Inspect),
    New(new::New),
    Build(build::Build),
    Check(check::Check),
    Test(test::Test),
    Pack(pack::Pack),
}

impl PluginVerb {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let here = env::current_dir().unwrap_or_default();
        let global = &global.with_plugins(nearest(&here, &global.plugins));
        match &self.what {
            What::List(verb) => verb.run(global, printer).await,
            What::Inspect(verb) => verb.run(global, printer).await,
            What::Build(verb) => verb.run(global, printer).await,
            What::New(verb) => verb.run(printer),
            What::Check(verb) => verb.run(global, printer).await,
            What::Test(verb) => verb.run(global, printer).await,
            What::Pack(verb) => verb.run(global, printer).await,
        }
    }
}

/// The directory of plugins where nobody names one.
const USUAL: &str = "plugins";

/// `plugins`; or, where nobody named it, `here` is within a project and has no such directory, that of the nearest directory above.
fn nearest(here: &Path, plugins: &Path) -> PathBuf {
    match here.ancestors().position(|above| above.join(plugins).is_dir()) {
        Some(steps) if plugins == Path::new(USUAL) => PathBuf::from("../".repeat(steps)).join(plugins),
        _ => plugins.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_finds_the_plugins_above_it() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("plugins/mine/src")).unwrap();
        std::fs::create_dir_all(tree.path().join("out")).unwrap();
        let check = |here: &str, plugins: &str, expected: &str| {
            assert_eq!(nearest(&tree.path().join(here), Path::new(plugins)), Path::new(expected), "{here} {plugins}");
        };
        check("", "plugins", "plugins");
        check("plugins/mine", "plugins", "../../plugins");
        check("plugins/mine/src", "plugins", "../../../plugins");
        check("plugins/mine", "out", "out");
        check("plugins/mine", "/somewhere/plugins", "/somewhere/plugins");
    }
}
