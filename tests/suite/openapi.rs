//! The API, fuzzed from its own document: no request meets a bug, and answers are what the document says.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Site, served::Served, venv};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Names that are there, so that requests get beyond looking for them; and are there to the end.
const NAMES: &str = "[parameters]
\"path.repo\" = \"r\"
\"path.at\" = \"master\"
\"path.branch\" = \"master\"
\"path.path\" = \"d/a.txt\"
\"query.at\" = \"master\"
\"query.force\" = false

[[operations]]
include-name = \"DELETE /v1/repos/{repo}/branches/{branch}\"
enabled = false
";

/// The routes whose answers do not end.
fn endless(document: &Value) -> Vec<&str> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let streams =
        paths.filter(|(_, methods)| methods.pointer("/get/responses/200/content/text~1event-stream").is_some());
    streams.map(|(path, _)| path.as_str()).collect()
}

#[test]
fn no_request_meets_a_bug_and_every_answer_is_documented() -> Result<()> {
    let Some(python) = venv::python(&[SCHEMATHESIS])? else { return Ok(()) };
    let site = Site::new()?;
    site.write("a.txt", "one\n")?;
    site.write("t.csv", "id,name\n1,a\n2,b\n")?;
    site.ok(&["create", "repo", "r"])?;
    site.ok(&["put", "file", "r@master:/d/", "-f", "a.txt"])?;
    site.ok(&["put", "file", "r@master:/t/t.parquet", "--table", "-f", "t.csv"])?;
    site.write("any.toml", "")?;
    site.write("names.toml", NAMES)?;
    let create = ["token", "create", "--tokens", "tokens.json", "--name", "fuzz", "--scope", "admin:*"];
    let token = site.ok(&create)?;
    let served = Served::start(&site, &["--tokens", "tokens.json"])?;
    let document = served.get("/openapi.json")?.json()?;
    let streams = endless(&document);
    ensure!(!streams.is_empty(), "event streams are known by their media type");
    let cases: u64 = std::env::var("SPOUT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(15);
    let (cases, seed) = (cases.to_string(), cases.to_string());
    for config in ["any.toml", "names.toml"] {
        let mut fuzz = Command::new(&python);
        fuzz.args(["-m", "schemathesis.cli", "--config-file", config, "run"])
            .arg(format!("{}/openapi.json", served.url()));
        fuzz.args(["--phases", "coverage,fuzzing", "--max-examples", &cases, "--seed", &seed, "--continue-on-failure"]);
        // A name that fits the document may still be that of nothing, or of what cannot be done.
        fuzz.args([
            "--exclude-checks",
            "positive_data_acceptance",
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
        ]);
        fuzz.args(["--generation-database", "none", "--request-timeout", "30", "--no-color"]);
        fuzz.args(streams.iter().flat_map(|path| ["--exclude-path", path]));
        // 503 is one of its two answers.
        fuzz.args(["--exclude-path", "/ready"]);
        fuzz.arg("--header").arg(format!("Authorization: Bearer {}", token.trim()));
        let output = fuzz.current_dir(site.path()).env("PYTHONDONTWRITEBYTECODE", "1").output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{config}\n{out}\n{err}");
        println!("{}", out.lines().find(|line| line.contains("generated")).context("how much was tried")?);
    }
    let commits = site.json(&["list", "commit", "r"])?.len();
    ensure!(commits > 10, "requests did no more than {commits} commits");
    served.stop()?;
    site.ok(&["fsck"]).map(drop)
}
