//! The docs site: it is built strictly, every link and anchor in it leads somewhere, no page is lost, nothing comes from elsewhere, and a
//! browser shows every page without an error and as narrow as a telephone.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, browser::Browser, root, spout, venv};

/// What the site is built with.
fn tools() -> Result<Option<PathBuf>> {
    let pinned = fs::read_to_string(root().join("docs/site/requirements.txt"))?;
    venv::python(&pinned.lines().collect::<Vec<_>>())
}

/// A page as a browser would see it.
#[derive(Debug)]
struct Page {
    /// Where its links lead: the file, and the place in it.
    links: Vec<(PathBuf, String)>,
    /// What it loads.
    loads: Vec<String>,
    ids: BTreeSet<String>,
}

/// The values of an attribute.
fn attribute<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {name}=");
    let parts: Vec<&str> = html.split(begin.as_str()).skip(1).collect();
    parts.into_iter().map(|rest| match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => rest.split([' ', '>']).next().unwrap_or_default(),
    })
}

/// The tags of this name, without what they enclose.
fn tags<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("<{name} ");
    html.split(begin.as_str()).skip(1).map(|rest| rest.split('>').next().unwrap_or_default()).collect()
}

/// What stands for itself in HTML.
fn plain(text: &str) -> String {
    text.replace("&amp;", "&").replace("&quot;", "\"").replace("&#39;", "'")
}

impl Page {
    fn read(site: &Path, file: &Path) -> Result<Self> {
        let html = fs::read_to_string(file)?;
        let from = file.parent().context("a directory")?;
        let local = |link: &&str| {
            !["http:", "https:", "mailto:", "data:", "javascript:"].iter().any(|far| link.starts_with(far))
        };
        let links = tags(&html, "a")
            .into_iter()
            .flat_map(|tag| attribute(&format!(" {tag}"), "href").map(str::to_owned).collect::<Vec<_>>());
        let links = links.filter(|link| local(&link.as_str())).map(|link| {
            let link = plain(&link);
            let (path, place) = link.split_once('#').unwrap_or((&link, ""));
            let path = path.split('?').next().unwrap_or_default();
            let to = match path.strip_prefix('/') {
                Some(path) => site.join(path),
                None if path.is_empty() => file.to_path_buf(),
                None => from.join(path),
            };
            let to = if to.is_dir() { to.join("index.html") } else { to };
            (to, place.to_owned())
        });
        let links = links.collect();
        let loads = ["script", "img", "link", "iframe"].iter().flat_map(|name| tags(&html, name));
        let loads = loads.filter(|tag| !tag.contains("rel=\"canonical\"") && !tag.contains("rel=canonical"));
        let loads = loads.flat_map(|tag| {
            let tag = format!(" {tag}");
            let all: Vec<String> = attribute(&tag, "src").chain(attribute(&tag, "href")).map(str::to_owned).collect();
            all
        });
        Ok(Self {
            links,
            loads: loads.filter(|load| !local(&load.as_str()) && !load.starts_with("data:")).collect(),
            ids: attribute(&html, "id").chain(attribute(&html, "name")).map(plain).collect(),
        })
    }
}

/// Every page below a directory.
fn pages(site: &Path, below: &Path, found: &mut BTreeMap<PathBuf, Page>) -> Result<()> {
    for entry in fs::read_dir(below)? {
        let path = entry?.path();
        if path.is_dir() {
            pages(site, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "html") {
            let page = Page::read(site, &path)?;
            found.insert(fs::canonicalize(path)?, page);
        }
    }
    Ok(())
}

/// What is wrong with the links between pages: those that lead nowhere, and pages that none leads to.
fn wrong(site: &Path, pages: &BTreeMap<PathBuf, Page>) -> Result<Vec<String>> {
    let (mut wrong, start) = (Vec::new(), fs::canonicalize(site.join("index.html"))?);
    let (mut seen, mut next) = (BTreeSet::from([start.clone()]), VecDeque::from([start]));
    while let Some(file) = next.pop_front() {
        let Some(page) = pages.get(&file) else { continue };
        let here = file.strip_prefix(fs::canonicalize(site)?)?.display().to_string();
        wrong.extend(page.loads.iter().map(|load| format!("{here} loads {load}")));
        for (to, place) in &page.links {
            let Ok(to) = fs::canonicalize(to) else {
                wrong.push(format!("{here} leads to {}, which is not there", to.display()));
                continue;
            };
            if let Some(target) = pages.get(&to).filter(|target| !place.is_empty() && !target.ids.contains(place)) {
                let some: Vec<&String> = target.ids.iter().take(3).collect();
                wrong.push(format!("{here} leads to #{place} of {}, which has {some:?} and others", to.display()));
            }
            if seen.insert(to.clone()) {
                next.push_back(to);
            }
        }
    }
    let lost = pages.keys().filter(|page| !seen.contains(*page) && !page.ends_with("404.html"));
    wrong.extend(lost.map(|page| format!("nothing leads to {}", page.display())));
    Ok(wrong)
}

#[test]
fn the_site_is_whole() -> Result<()> {
    let Some(python) = tools()? else { return Ok(()) };
    let site = root().join("target/test-site");
    let built = Command::new(python)
        .arg(root().join("docs/site/build.py"))
        .args([spout(), site.clone()])
        .env("SPOUT_CACHE", root().join("target/test-cache"))
        .output()
        .context("python")?;
    ensure!(built.status.success(), "the site is not built:\n{}", String::from_utf8_lossy(&built.stderr));
    let mut found = BTreeMap::new();
    pages(&site, &site, &mut found)?;
    ensure!(found.len() > 200, "only {} pages", found.len());
    let wrong = wrong(&site, &found)?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let Some(browser) = Browser::get()? else { return Ok(()) };
    println!("{}", browser.look("site.mjs", "", &[("SITE", &site.display().to_string())])?);
    Ok(())
}

#[test]
fn what_leads_nowhere_is_found() -> Result<()> {
    let place = tempfile::tempdir()?;
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text);
    write(
        "index.html",
        "<p id=\"top\"><a href=\"b.html#there\">b</a> <a class=x href=b.html#gone>b</a> <a href=\"none.html\">c</a> <a href=\"#top\">d</a>",
    )?;
    write("b.html", "<h1 id=\"there\">b</h1><script src=\"https://elsewhere.example/x.js\"></script>")?;
    write("lost.html", "<a href=\"index.html\">home</a>")?;
    let mut found = BTreeMap::new();
    pages(place.path(), place.path(), &mut found)?;
    let wrong = wrong(place.path(), &found)?;
    let said = |part: &str| wrong.iter().filter(|one| one.contains(part)).count();
    ensure!(wrong.len() == 4, "{wrong:?}");
    ensure!(["#gone", "none.html", "lost.html", "elsewhere.example"].iter().all(|part| said(part) == 1), "{wrong:?}");
    Ok(())
}

#[test]
fn examples_of_the_reference_run() -> Result<()> {
    let site = Site::new()?;
    let mut examples = Vec::new();
    for kind in ["handlers", "decoders"] {
        for entry in fs::read_dir(root().join("docs/site/examples").join(kind))? {
            let path = entry?.path();
            // Others are files that they name.
            if path.extension().is_some_and(|extension| extension == "yaml") {
                examples.push(path.display().to_string());
            }
        }
    }
    examples.sort();
    ensure!(examples.len() > 28, "{examples:?}");
    let mut args = vec!["test"];
    args.extend(examples.iter().map(String::as_str));
    let said = site.ok(&args)?;
    ensure!(said.contains(&format!("{} tests passed", examples.len())), "{said}");
    for digits in ["0", "0g", "012"] {
        let spec = "pipeline: {name: p}\nproducer: {stdin: {}, decoder: {type: raw}}\n";
        site.write("half.yaml", format!("{spec}tests: [{{name: t, hex: [\"{digits}\"], expect: []}}]\n"))?;
        site.fails(&["test", "half.yaml"], 2, &["half.yaml:3", "hexadecimal"])?;
    }
    Ok(())
}
