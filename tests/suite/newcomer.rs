//! The path of somebody who has just built the tree: from the first tutorial alone to rows in the console, and a broken spec that is
//! mended with what the console says. How long each part takes is printed.

use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, browser::Browser, root, served::Served, spout};

use crate::pages::{Step, steps};

const PAGE: &str = "docs/tutorials/first-pipeline.md";
/// The command of the tutorial that does not end.
const SERVE: &str = "```bash\nspout serve --allow files\n```";

#[test]
fn from_the_tutorial_alone_to_rows_in_the_console_and_a_spec_that_is_mended_there() -> Result<()> {
    let Some(browser) = Browser::get()? else { return Ok(()) };
    let page = fs::read_to_string(root().join(PAGE))?;
    ensure!(page.contains(SERVE), "{PAGE} does not say how the console is opened");
    let site = Site::new()?;
    let steps = steps(&page);
    let (mut script, mut again) = ("set -euo pipefail\n".to_owned(), None);
    for step in &steps {
        match step {
            Step::File { path, text } if path == "again.yaml" => again = Some(text),
            Step::File { path, text } => {
                script +=
                    &format!("mkdir -p \"$(dirname '{path}')\"\ncat > '{path}' <<'END-OF-FILE'\n{text}END-OF-FILE\n");
            }
            // Where it is built is the tests' own.
            Step::Type(text) => {
                script.extend(
                    text.lines().filter(|line| !line.starts_with("export PATH=")).map(|line| format!("{line}\n")),
                );
            }
            Step::Says(_) => {}
        }
    }
    let begun = Instant::now();
    let bin = spout().parent().context("a directory")?.display().to_string();
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(site.path())
        .envs(site.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("HOME", site.path())
        .env("PATH", format!("{bin}:{}", std::env::var("PATH")?))
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let typed = begun.elapsed();
    let begun = Instant::now();
    let served = Served::start(&site, &["--allow", "files", "--base", "first"])?;
    let started = begun.elapsed();
    let again = again.context("a spec that is broken")?;
    let said = browser.look("newcomer.mjs", &served.url(), &[("AGAIN", again)])?;
    println!("the commands of the tutorial: {} ms; the server: {} ms\n{said}", typed.as_millis(), started.as_millis());
    served.stop()
}
