//! Reads spec files: text to pipelines, with every complaint at its line.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use spout_base::{bounded, reach::Reach};

use super::{
    PipelineSpec, check, decoder,
    document::{self, MAX_BYTES, Node, Tree},
    error::{Error, Place},
    producers, reach,
    schema::spec_schema,
    shape::Shape,
    stream_configs,
};

/// A pipeline spec with where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The pipeline. `streamConfigs` is already translated, handlers without an id have one.
    pub spec: PipelineSpec,
    /// The file it was read from.
    pub path: PathBuf,
    /// The file's directory, where relative paths of the spec start.
    pub base_dir: PathBuf,
    /// Line its document starts at.
    pub line: usize,
    /// `sha256:…` of the spec, however it was written.
    pub digest: String,
    /// What was written of it, as in [`documents`].
    pub text: String,
    pub(super) lines: Lines,
}

/// The line of every key of a document, by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Loaded {
    /// Where `path` is written (`producer.stream.plugin`), or else what it would be within.
    #[must_use]
    pub fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(&line) = self.lines.0.get(path) {
                return Place::new(&self.path, line);
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = path.get(..at).unwrap_or_default(),
                None => return Place::new(&self.path, self.line),
            }
        }
    }

    /// Whether the spec's author wrote `path`, rather than leaving it at its default.
    #[must_use]
    pub fn says(&self, path: &str) -> bool {
        self.lines.0.contains_key(path)
    }

    /// Takes everything within `path` to be written where the same is within `source`.
    pub(super) fn note_all(&mut self, path: &str, source: &str) {
        let within = |known: &String| {
            known
                .strip_prefix(source)
                .filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                .map(|rest| format!("{path}{rest}"))
        };
        let all: Vec<_> = self.lines.0.iter().filter_map(|(known, &line)| Some((within(known)?, line))).collect();
        self.lines.0.extend(all);
    }

    /// Takes `path` to be written where `source` is, which it was translated from.
    pub(super) fn note(&mut self, path: &str, source: &str) {
        let line = self.place(source).line;
        self.lines.0.insert(path.to_owned(), line);
    }

    /// A path of the spec on this machine: a relative one starts at the spec's own directory.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        // Without the `.` that people write in front.
        self.base_dir.join(path).components().collect()
    }
}

/// Reads the pipelines of one file, YAML or JSON, and checks each on its own.
///
/// # Errors
/// The file cannot be read, or something in it is wrong; the message names the line.
pub fn load(path: &Path) -> Result<Vec<Loaded>, Error> {
    first(every(path))
}

/// Reads several files and checks that their pipelines can run together.
///
/// # Errors
/// As [`load`], or two of the pipelines get into each other's way.
pub fn load_all<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<Loaded>, Error> {
    first(load_every(paths))
}

/// Reads several files: the pipelines that can be read, and everything that is wrong with them and the others.
#[must_use]
pub fn load_every<P: AsRef<Path>>(paths: &[P]) -> (Vec<Loaded>, Vec<Error>) {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for path in paths {
        let (loaded, problems) = every(path.as_ref());
        all.extend(loaded);
        wrong.extend(problems);
    }
    wrong.extend(check::together(&all));
    (all, wrong)
}

fn first((all, mut wrong): (Vec<Loaded>, Vec<Error>)) -> Result<Vec<Loaded>, Error> {
    if wrong.is_empty() { Ok(all) } else { Err(wrong.remove(0)) }
}

fn every(path: &Path) -> (Vec<Loaded>, Vec<Error>) {
    match text(path) {
        Ok((text, base_dir)) => parse_every(&text, path, &base_dir),
        Err(error) => (Vec::new(), vec![error]),
    }
}

/// The text of a file, and the directory it is in.
fn text(path: &Path) -> Result<(String, PathBuf), Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let bytes = bounded::read(path, MAX_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => {
            let what = format!("the file has more than the {MAX_BYTES} bytes that a spec can have");
            Error::TooMuch { at: Place::new(path, 0), what }
        }
        _ => read(error),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|&&byte| byte == b'\n').count();
        Error::Syntax { at: Place::new(path, line + 1), what: "it is not UTF-8 text".into() }
    })?;
    let absolute = std::path::absolute(path).map_err(|source: io::Error| read(source))?;
    Ok((text, absolute.parent().unwrap_or(Path::new("/")).to_owned()))
}

/// The texts of the pipelines of a text, one each: as it is if there is one, else each without its comments.
///
/// # Errors
/// The text is neither YAML nor JSON.
pub fn documents(text: &str, path: &Path) -> Result<Vec<String>, Error> {
    match document::read(text, path)?.as_slice() {
        [_] => Ok(vec![text.to_owned()]),
        several => several.iter().map(document::yaml).collect(),
    }
}

/// Reads the pipelines of a text as if it came from the file `path`.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, path: &Path, base_dir: &Path) -> Result<Vec<Loaded>, Error> {
    first(parse_every(text, path, base_dir))
}

/// The same for a text of somebody who may reach no more of this machine than `allowed`: of what else it names, nothing is
/// looked at.
///
/// # Errors
/// As [`load`], and [`Error::Reaches`].
pub fn parse_within(text: &str, path: &Path, base_dir: &Path, allowed: &[Reach]) -> Result<Vec<Loaded>, Error> {
    first(parse_each(text, path, base_dir, allowed))
}

/// Reads the pipelines of a text: those that can be read, and everything that is wrong with them and the others.
#[must_use]
pub fn parse_every(text: &str, path: &Path, base_dir: &Path) -> (Vec<Loaded>, Vec<Error>) {
    parse_each(text, path, base_dir, &Reach::ALL)
}

fn parse_each(text: &str, path: &Path, base_dir: &Path, allowed: &[Reach]) -> (Vec<Loaded>, Vec<Error>) {
    let nodes = match document::read(text, path) {
        Ok(nodes) if nodes.is_empty() => return (Vec::new(), vec![Error::Empty { path: path.to_owned() }]),
        Ok(nodes) => nodes,
        Err(error) => return (Vec::new(), vec![error]),
    };
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    let several = nodes.len() > 1;
    for node in nodes {
        let own = if several { document::yaml(&node) } else { Ok(text.to_owned()) };
        match loaded(node, path, base_dir, allowed) {
            Ok((loaded, problems)) => {
                all.push(Loaded { text: own.unwrap_or_default(), ..loaded });
                wrong.extend(problems);
            }
            Err(problems) => wrong.extend(problems),
        }
    }
    (all, wrong)
}

/// One document as a pipeline, with what is wrong with it; or, if it is none, why not.
fn loaded(mut node: Node, path: &Path, base_dir: &Path, allowed: &[Reach]) -> Result<(Loaded, Vec<Error>), Vec<Error>> {
    let mut misfits = Shape::new(spec_schema(), path, false).fit(&mut node, "");
    if misfits
        .iter()
        .any(|misfit| misfit.key().is_some_and(|key| key.starts_with("producer") && key.contains(".decoder")))
    {
        return Err(misfits);
    }
    let settings = decoder::settings(&mut node, path);
    if !misfits.is_empty() {
        misfits.extend(settings);
        return Err(misfits);
    }
    if let Tree::Map(entries) = &mut node.tree {
        entries.iter_mut().filter(|entry| entry.key == "tests").for_each(|entry| entry.value.keep_digits());
    }
    let mut lines = Lines::default();
    note(&node, String::new(), &mut lines.0);
    let mut json = String::new();
    node.write_json(&mut json);
    let spec: PipelineSpec = match serde_json::from_str(&json) {
        Ok(spec) => spec,
        Err(_) if !settings.is_empty() => return Err(settings),
        Err(error) => {
            return Err(vec![Error::WrongValue {
                at: Place::new(path, node.line),
                path: "the document".into(),
                found: "not a pipeline spec".into(),
                expected: strip_position(&error.to_string()),
            }]);
        }
    };
    let mut loaded = Loaded {
        spec,
        path: path.to_owned(),
        base_dir: base_dir.to_owned(),
        line: node.line,
        digest: String::new(),
        text: String::new(),
        lines,
    };
    producers::drive(&mut loaded);
    stream_configs::apply(&mut loaded).map_err(|error| vec![error])?;
    // Before anything that it names is read.
    reach::within(&loaded, allowed).map_err(|error| vec![error])?;
    let problems = settings.into_iter().chain(check::alone(&mut loaded)).collect();
    loaded.digest = digest(&loaded.spec);
    Ok((loaded, problems))
}

/// The same for specs that mean the same: fields in the order of the structs, defaults written out. Tests do not count:
/// what the pipeline does is the same with others.
fn digest(spec: &PipelineSpec) -> String {
    let canonical = serde_json::to_vec(&PipelineSpec { tests: Vec::new(), ..spec.clone() }).unwrap_or_default();
    Sha256::digest(&canonical).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Serde counts lines of the JSON that was made of the document, not of the document.
pub(super) fn strip_position(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

fn note(node: &Node, path: String, lines: &mut BTreeMap<String, usize>) {
    match &node.tree {
        Tree::Map(entries) => {
            for entry in entries {
                let inner = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                lines.insert(inner.clone(), entry.line);
                note(&entry.value, inner, lines);
            }
        }
        Tree::List(list) => {
            for (index, item) in list.iter().enumerate() {
                let inner = format!("{path}[{index}]");
                lines.insert(inner.clone(), item.line);
                note(item, inner, lines);
            }
        }
        _ => {}
    }
}
