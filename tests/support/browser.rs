//! Chromium at a running server: scripts in `tests/console` look at its console.
//!
//! **Invariant**: what a script sees is what a user's browser shows; nothing is installed on the machine.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    debian::{self, Program},
    npm::{self, Package},
    root, target,
};

/// What drives it, in versions that fit each other.
const PLAYWRIGHT: &str = "1.65.1";
/// What says who is shut out.
const AXE: &str = "4.14.1";

/// A browser that can be started.
#[derive(Debug)]
pub struct Browser {
    chromium: Program,
    playwright: Package,
    axe: Package,
}

impl Browser {
    /// Debian's Chromium. `None`, with a line that says why, where it cannot be had, unless `SPOUT_TEST_PYPI=required` is set, as in CI.
    ///
    /// # Errors
    /// If it is required and cannot be had.
    pub fn get() -> Result<Option<Self>> {
        // Its wrapper in /usr/bin knows only the place where it is installed.
        let Some(chromium) = debian::program("chromium", "usr/lib/chromium/chromium")? else { return Ok(None) };
        let Some(playwright) = npm::package("playwright-core", PLAYWRIGHT)? else { return Ok(None) };
        let Some(axe) = npm::package("axe-core", AXE)? else { return Ok(None) };
        Ok(Some(Self { chromium, playwright, axe }))
    }

    /// Where scripts put what they have seen.
    #[must_use]
    pub fn shots() -> PathBuf {
        target().join("console-shots")
    }

    /// Has the script `tests/console/NAME` look at the server at `url`; what it prints.
    ///
    /// # Errors
    /// If it finds anything wrong, with what.
    pub fn look(&self, script: &str, url: &str, environment: &[(&str, &str)]) -> Result<String> {
        let output = Command::new(&self.playwright.node)
            .arg(root().join("tests/console").join(script))
            .env("SPOUT_URL", url)
            .env("PLAYWRIGHT", &self.playwright.dir)
            .env("AXE", &self.axe.dir)
            .env("CHROMIUM", &self.chromium.path)
            .env("CHROMIUM_LIBRARIES", env::join_paths(&self.chromium.libraries)?)
            .env("SHOTS", Self::shots())
            .envs(environment.iter().copied())
            .output()
            .context("start Node")?;
        let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{script} at {url}: {wrong}\n{said}");
        Ok(said.into_owned())
    }
}
