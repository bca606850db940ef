//! Names of files: a template, and what is free.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use spout_base::clock;

const KNOWN: [&str; 3] = ["{pipeline}", "{time}", "{n}"];

/// Whether `path` can be the template of `several` files, or of one.
pub(super) fn check(path: &str, several: bool) -> Result<(), String> {
    let plain = KNOWN.iter().fold(path.to_owned(), |text, known| text.replace(known, "x"));
    if plain.contains(['{', '}']) {
        return Err(format!("`{path}` has an unknown placeholder; the known ones are {}", KNOWN.join(", ")));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(format!("`{path}` is not a file; write it like out/{{pipeline}}-{{n}}.ndjson"));
    }
    let file = path.rsplit('/').next().unwrap_or(path);
    let numbered = ["{n}", "{time}"].iter().any(|placeholder| file.contains(placeholder));
    match several {
        true if !numbered => {
            Err(format!("there will be several files, but `{path}` names one; add {{n}} or {{time}} to it"))
        }
        false if path.contains("{n}") || path.contains("{time}") => {
            Err(format!("`{path}` names several files, but there will be one; add `rotate: {{size: 64MiB}}`"))
        }
        _ => Ok(()),
    }
}

/// Gives files their names when they are ended.
#[derive(Debug)]
pub(super) struct Name {
    template: String,
    part: PathBuf,
    next: u64,
}

impl Name {
    pub(super) fn new(path: &Path, pipeline: &str, several: bool) -> Self {
        let template = path.to_string_lossy().replace("{pipeline}", pipeline);
        let part = match several {
            // The same in each run, so that the next one finds it.
            true => PathBuf::from(template.replace("{time}", "time").replace("{n}", "n") + ".part"),
            false => PathBuf::from(&template),
        };
        Self { template, part, next: 1 }
    }

    /// Where the file is until it bears its name; the name itself where there is only one.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Renames the file to a name that is free.
    pub(super) async fn give(&mut self) -> io::Result<PathBuf> {
        let time = Timestamp::from_millisecond(clock::wall_ms()).unwrap_or_default();
        let time = time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let template = if self.template.contains("{n}") {
            self.template.replace("{time}", &time)
        } else {
            numbered(&self.template.replace("{time}", &time))
        };
        loop {
            // The first of a second needs no number where none was asked for.
            let number = match self.template.contains("{n}") {
                false if self.next == 1 => String::new(),
                false => format!("-{}", self.next),
                true => self.next.to_string(),
            };
            let path = PathBuf::from(template.replace("{n}", &number));
            self.next += 1;
            if tokio::fs::try_exists(&path).await? {
                continue;
            }
            tokio::fs::rename(&self.part, &path).await?;
            if !self.template.contains("{n}") {
                self.next = 1;
            }
            sync_directory(&path).await?;
            return Ok(path);
        }
    }
}

/// With a place for a number before the file's first ending.
fn numbered(path: &str) -> String {
    let file = path.rfind('/').map_or(0, |slash| slash + 1);
    let (directory, file) = path.split_at(file);
    match file.split_once('.') {
        Some((stem, ending)) if !stem.is_empty() => format!("{directory}{stem}{{n}}.{ending}"),
        _ => format!("{path}{{n}}"),
    }
}

/// A name is only there after a power loss if its directory is.
async fn sync_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else { return Ok(()) };
    tokio::fs::File::open(directory).await?.sync_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_say_how_many_files_there_are() {
        assert!(check("out.csv", false).is_ok() && check("{pipeline}/out.csv", false).is_ok());
        assert!(check("out-{n}.csv", true).is_ok() && check("{time}.csv", true).is_ok());
        for (wrong, several) in
            [("out.csv", true), ("{n}/out.csv", true), ("{n}.csv", false), ("{x}", true), ("", false), ("a/", true)]
        {
            assert!(check(wrong, several).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_name_is_never_taken_twice() {
        let dir = tempfile::tempdir().unwrap();
        for template in ["{pipeline}-{n}.txt", "{pipeline}-{time}.txt.gz"] {
            let mut names = Vec::new();
            for _ in 0..2 {
                // As two runs would, each beginning with 1.
                let mut name = Name::new(&dir.path().join(template), "p", true);
                for _ in 0..2 {
                    std::fs::write(name.part(), "x").unwrap();
                    names.push(name.give().await.unwrap());
                    assert!(!name.part().exists());
                }
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), 4, "{names:?}");
            assert!(names.iter().all(|name| name.exists() && name.to_string_lossy().contains("/p-")));
        }
    }
}
