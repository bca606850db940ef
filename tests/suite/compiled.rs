//! The directory of compiled plugins as an attacker would use it: what runs is what this installation compiled, and nothing else.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests};

/// What `mirror` says of itself; `keep-large`, whose code is put into its place, says something else.
const VICTIM: &str = "gives back what it was given";

const SPEC: &str = r#"
pipeline: {name: lines}
producer:
  stream: {plugin: hostile, topic: t, settings: {total: "10"}}
  decoder: {plugin: mirror}
"#;

/// A place with plugins and a directory of compiled code of its own.
struct Place {
    site: Site,
    cache: PathBuf,
}

impl Place {
    fn new() -> Result<Self> {
        let mut site = Site::new()?;
        for guest in ["mirror", "keep-large", "hostile"] {
            let wasm = fs::read(guests().join(format!("{guest}.wasm"))).context("`just guests` builds the guests")?;
            site.write(&format!("plugins/{guest}.wasm"), wasm)?;
        }
        site.write("spec.yaml", SPEC)?;
        site.plugins = site.path().join("plugins");
        let cache = site.path().join("cache");
        site.environment.push(("SPOUT_CACHE", cache.display().to_string()));
        Ok(Self { site, cache })
    }

    /// The file of the compiled `plugin`: the one that loading it adds to an empty directory.
    fn compiled(&self, plugin: &str) -> Result<PathBuf> {
        let aside = self.site.path().join("aside");
        if self.cache.exists() {
            fs::rename(&self.cache, &aside)?;
        }
        self.site.ok(&["plugin", "inspect", plugin])?;
        let entry = entries(&self.cache)?.pop().context("an entry")?;
        let name = entry.file_name().context("a name")?.to_owned();
        if aside.exists() {
            fs::remove_dir_all(&self.cache)?;
            fs::rename(&aside, &self.cache)?;
        }
        Ok(self.cache.join(name))
    }

    /// Plants something before each of the verbs that load plugins: they say `said` and do what they should.
    fn check(&self, what: &str, said: &str, plant: impl Fn() -> Result<()>) -> Result<()> {
        for verb in
            [&["plugin", "inspect", "mirror"][..], &["check", "spec.yaml"], &["run", "spec.yaml", "--until", "ended"]]
        {
            plant().with_context(|| format!("planting {what}"))?;
            let output = self.site.run(verb)?;
            sound(&output, verb).with_context(|| what.to_owned())?;
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(told.contains(said), "{what}: {verb:?} does not say {said:?}:\n{told}");
        }
        ensure!(self.site.number("select count(*) from lines where line like '{%'", None)? == 10, "{what}: other rows");
        Ok(())
    }
}

fn entries(cache: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(cache)? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|ending| ending == "cwasm"));
    Ok(files)
}

fn sound(output: &Output, verb: &[&str]) -> Result<()> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{verb:?}: {}\n{out}\n{err}", output.status);
    ensure!(!verb.contains(&"inspect") || out.contains(VICTIM), "another plugin's code ran:\n{out}");
    Ok(())
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

#[test]
fn code_that_was_not_made_here_does_not_run() -> Result<()> {
    let place = Place::new()?;
    let (ours, evil) = (place.compiled("mirror")?, place.compiled("keep-large")?);
    place.site.ok(&["check", "spec.yaml"])?;
    place.site.ok(&["plugin", "inspect", "keep-large"])?;
    let stolen = fs::read(&evil)?;
    place.check("another plugin's code under this name", "rejected the cached code", || {
        Ok(fs::write(&ours, &stolen)?)
    })?;

    // The same code as another installation keeps it, and as it was kept once, with a sum that anybody can make.
    let others = Place::new()?;
    others.site.ok(&["plugin", "inspect", "mirror"])?;
    let foreign = fs::read(others.compiled("mirror")?)?;
    place.check("another installation's code", "rejected the cached code", || Ok(fs::write(&ours, &foreign)?))?;
    let code = stolen.get(32..).context("code behind the seal")?;
    place.check("code with an unkeyed sum", "rejected the cached code", || {
        fs::write(&ours, code)?;
        Ok(fs::write(ours.with_extension("sum"), sum(code))?)
    })?;
    let half = stolen.get(..stolen.len() / 2).context("half of it")?;
    place.check("torn code", "rejected the cached code", || Ok(fs::write(&ours, half)?))?;
    place.check("code for all to write", "other users may write to it", || mode(&ours, 0o666))?;
    let beside = place.site.path().join("beside.cwasm");
    place.check("a symbolic link", "it is a symbolic link", || {
        fs::write(&beside, &stolen)?;
        fs::remove_file(&ours)?;
        Ok(symlink(&beside, &ours)?)
    })?;
    if owns_all()? {
        place.check("another user's code", "it belongs to user 12345", || Ok(chown(&ours, Some(12345), None)?))?;
    }
    Ok(())
}

#[test]
fn a_directory_that_others_can_change_is_not_used() -> Result<()> {
    let place = Place::new()?;
    place.site.ok(&["check", "spec.yaml"])?;
    let (cache, key) = (&place.cache, place.cache.join("key"));
    let before = entries(cache)?.len();
    place.check("a directory for all", "compiled plugins are not cached", || mode(cache, 0o777))?;
    ensure!(entries(cache)?.len() == before, "code was written where others can change it");
    mode(cache, 0o700)?;
    place.check("a key for all", "the key in it", || mode(&key, 0o644))?;
    mode(&key, 0o600)?;
    let real = place.site.path().join("real");
    fs::rename(cache, &real)?;
    symlink(&real, cache)?;
    place.check("a linked directory", "it is a symbolic link", || Ok(()))?;
    // Mended, it is used again without a word.
    fs::remove_file(cache)?;
    fs::rename(&real, cache)?;
    let output = place.site.run(&["plugin", "inspect", "mirror"])?;
    sound(&output, &["plugin", "inspect"])?;
    ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_tree_that_brings_compiled_code_along_brings_it_in_vain() -> Result<()> {
    let place = Place::new()?;
    let (ours, evil) = (place.compiled("mirror")?, place.compiled("keep-large")?);
    place.site.ok(&["plugin", "inspect", "keep-large"])?;
    let stolen = fs::read(&evil)?;
    let code = stolen.get(32..).context("code behind the seal")?;
    let name = ours.file_name().context("a name")?.to_string_lossy().into_owned();
    let planted = place.site.write(&format!(".spout/cache/{name}"), code)?;
    place.site.write(&format!(".spout/cache/{}", name.replace(".cwasm", ".sum")), sum(code))?;
    let run = |home: &Path, verb: &[&str]| -> Result<Output> {
        let mut command = place.site.command(verb);
        command.env_remove("SPOUT_CACHE").env_remove("XDG_CACHE_HOME").env("HOME", home);
        Ok(command.output()?)
    };
    let home = place.site.path().join("home");
    fs::create_dir(&home)?;
    for verb in
        [&["plugin", "inspect", "mirror"][..], &["check", "spec.yaml"], &["run", "spec.yaml", "--until", "ended"]]
    {
        sound(&run(&home, verb)?, verb)?;
    }
    ensure!(fs::read(&planted)? == code, "the directory in the tree was used");
    let kept = home.join(".cache/spout");
    ensure!(entries(&kept)?.len() == 2, "compiled code is not in the user's own directory");
    ensure!(fs::metadata(&kept)?.permissions().mode() & 0o777 == 0o700, "others may look into {}", kept.display());

    // A user without a home directory compiles every time, and hears of it once a start.
    let output = run(Path::new(""), &["check", "spec.yaml"])?;
    sound(&output, &["check"])?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(told.matches("compiled plugins are not cached").count() == 1, "{told}");
    Ok(())
}

#[test]
fn nobody_is_granted_what_the_host_keeps_for_itself() -> Result<()> {
    let place = Place::new()?;
    fs::create_dir(place.site.path().join("data"))?;
    let check = |path: &str, what: &str| -> Result<()> {
        for access in [path.to_owned(), format!("{{path: \"{path}\", write: true}}")] {
            let grants = format!("grants: {{hostile: {{dirs: {{data: {access}}}}}}}\n");
            place.site.write("granted.yaml", format!("{SPEC}{grants}"))?;
            if !what.is_empty() {
                // At the grant, not at the plugin.
                let line = SPEC.lines().count() + 1;
                let place = place.site.fails(&["check", "granted.yaml"], 2, &[])?;
                ensure!(place.contains(&format!("granted.yaml:{line}: `grants.hostile.dirs.data`")), "{place}");
            }
            for verb in [&["check", "granted.yaml"][..], &["run", "granted.yaml", "--until", "ended"]] {
                match what {
                    "" => place.site.ok(verb).map(drop)?,
                    what => place.site.fails(verb, 2, &["error[E0221]", "`hostile`", "`data`", what]).map(drop)?,
                }
            }
        }
        Ok(())
    };
    check("./data", "")?;
    check(".", "overlaps the store")?;
    check("..", "overlaps the store")?;
    check("./store", "overlaps the store")?;
    check("./store/repos/lines", "overlaps the store")?;
    check("./plugins", "overlaps the plugins directory")?;
    check("./cache", "overlaps the directory of compiled plugins")?;
    symlink(&place.cache, place.site.path().join("data/link"))?;
    check("./data/link", "overlaps the directory of compiled plugins")?;
    check("./data/../plugins", "overlaps the plugins directory")?;
    // What a granted directory links to cannot be reached through it, so it may stand there.
    check("./data", "")
}

/// `sha256:…`, as the sums beside compiled code once were.
fn sum(code: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let hash: String = Sha256::digest(code).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

/// Whether this process may give files to other users.
fn owns_all() -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let file = tempfile::NamedTempFile::new()?;
    Ok(file.as_file().metadata()?.uid() == 0)
}
