//! Who may come in: tokens with scopes, kept as hashes in a file, or in memory.

use std::{
    fmt, fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use spout_base::{bounded, clock};

use crate::Error;

/// Most bytes of a file of tokens; one takes some 200.
const LARGEST: u64 = 16 << 20;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Look: lists, files, queries, events.
    Read,
    /// Read, and put, copy, move and delete files; create branches and tags.
    Write,
    /// Write, and create and delete repos; delete branches and tags.
    Admin,
    /// Read, and create, change, start, stop and delete pipelines, which write the repo of their name.
    Run,
    /// Put, look at and delete plugins.
    Plugin,
}

impl Access {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Admin, Self::Run, Self::Plugin];

    /// Whether who may do this may do the other too. That somebody runs code here is never included in anything else.
    fn includes(self, other: Self) -> bool {
        match self {
            Self::Read | Self::Plugin => other == self,
            Self::Write => matches!(other, Self::Read | Self::Write),
            Self::Admin => matches!(other, Self::Read | Self::Write | Self::Admin),
            Self::Run => matches!(other, Self::Read | Self::Run),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Run => "run",
            Self::Plugin => "plugin",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What may be done in which repos, or with which pipelines or plugins: `write:pictures`, `read:*`, `run:clean-*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// What may be done.
    pub access: Access,
    /// Their names, in which `*` is any run of characters.
    pub repos: String,
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no scope; write read:REPO, write:REPO, admin:REPO, run:PIPELINE or plugin:PLUGIN, where * is any name"
            )
        };
        let (access, repos) = text.split_once(':').ok_or_else(wrong)?;
        let access = Access::ALL.into_iter().find(|all| all.word() == access).ok_or_else(wrong)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.*".contains(c);
        if repos.is_empty() || !repos.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Self { access, repos: repos.to_owned() })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.access, self.repos)
    }
}

/// Whether `pattern` fits all of `name`.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is revoked by.
    pub id: String,
    /// Whose it is, for people.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it ends, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
    /// SHA-256 of the token. It has 256 random bits, so that no slower hash is needed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    hash: String,
}

impl Token {
    /// Whether it allows `access` to what is called so, or to something where nothing is named.
    #[must_use]
    pub fn allows(&self, access: Access, name: Option<&str>) -> bool {
        let fitting = |scope: &&Scope| name.is_none_or(|name| fits(&scope.repos, name));
        self.scopes.iter().filter(fitting).any(|scope| scope.access.includes(access))
    }

    /// The same without its hash, to be shown.
    #[must_use]
    pub fn shown(&self) -> Self {
        Self { hash: String::new(), ..self.clone() }
    }

    fn is_over(&self) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= clock::wall_ms())
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    tokens: Vec<Token>,
}

/// Who may come in. A server sees at once what is changed.
#[derive(Debug)]
pub struct Tokens(Place);

/// Where tokens are kept.
#[derive(Debug)]
enum Place {
    File {
        path: PathBuf,
        read: Mutex<Option<(Stamp, Arc<Kept>)>>,
    },
    /// As long as the process runs.
    Memory(Mutex<Arc<Kept>>),
}

/// What tells a file from its next version.
#[derive(Clone, Debug, PartialEq)]
struct Stamp(Option<std::time::SystemTime>, u64, u64);

impl Tokens {
    /// The tokens in the file at `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(Place::File { path: path.to_owned(), read: Mutex::new(None) })
    }

    /// Tokens that are kept nowhere.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Place::Memory(Mutex::default()))
    }

    fn kept(&self) -> Result<Arc<Kept>, Error> {
        let (path, read) = match &self.0 {
            Place::Memory(kept) => return Ok(Arc::clone(&kept.lock().unwrap_or_else(PoisonError::into_inner))),
            Place::File { path, read } => (path, read),
        };
        let about = fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => wrong(path, "it is not there; `spout token create` makes it"),
            _ => wrong(path, error),
        })?;
        let stamp = Stamp(about.modified().ok(), about.len(), std::os::unix::fs::MetadataExt::ino(&about));
        let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kept)) = read.as_ref().filter(|(there, _)| *there == stamp) {
            return Ok(Arc::clone(kept));
        }
        let kept = Arc::new(parse(path, &written(path).map_err(|error| wrong(path, error))?)?);
        *read = Some((stamp, Arc::clone(&kept)));
        Ok(kept)
    }

    /// All tokens, without their hashes.
    ///
    /// # Errors
    /// [`Error::TokenFile`].
    pub fn list(&self) -> Result<Vec<Token>, Error> {
        Ok(self.kept()?.tokens.iter().map(Token::shown).collect())
    }

    /// The token whose text this is. How long that takes says nothing about it: hashes are compared, to the end.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], or [`Error::TokenFile`].
    pub fn find(&self, text: &str) -> Result<Token, Error> {
        let sent = hash(text);
        let same = |token: &&Token| {
            let pairs = token.hash.bytes().zip(sent.bytes());
            token.hash.len() == sent.len() && pairs.fold(0, |different, (a, b)| different | (a ^ b)) == 0
        };
        match self.kept()?.tokens.iter().find(same) {
            Some(token) if token.is_over() => Err(Error::Unauthorized { why: "this token has expired" }),
            Some(token) => Ok(token.clone()),
            None => Err(Error::Unauthorized { why: "this token is not known here" }),
        }
    }

    /// Adds a token; what it is, and its text, which is kept nowhere.
    ///
    /// # Errors
    /// [`Error::TokenFile`].
    pub fn create(&self, name: &str, scopes: Vec<Scope>, expires_ms: Option<i64>) -> Result<(Token, String), Error> {
        let id = clock::nonce().chars().take(8).collect::<String>();
        let text = format!("spout_{id}_{}{}", clock::nonce(), clock::nonce());
        let token =
            Token { id, name: name.to_owned(), scopes, created_ms: clock::wall_ms(), expires_ms, hash: hash(&text) };
        let shown = token.shown();
        self.change(|kept| {
            kept.tokens.push(token);
            Ok(())
        })?;
        Ok((shown, text))
    }

    /// Removes a token; a running server refuses it from then on.
    ///
    /// # Errors
    /// [`Error::NoToken`], [`Error::TokenFile`].
    pub fn revoke(&self, id: &str) -> Result<Token, Error> {
        self.change(|kept| match kept.tokens.iter().position(|token| token.id == id) {
            Some(at) => Ok(kept.tokens.remove(at).shown()),
            None => Err(Error::NoToken { id: id.to_owned(), place: self.to_string() }),
        })
    }

    /// Changes what is kept, as a whole or not at all.
    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> Result<T, Error>) -> Result<T, Error> {
        match &self.0 {
            Place::Memory(kept) => change(Arc::make_mut(&mut kept.lock().unwrap_or_else(PoisonError::into_inner))),
            Place::File { path, .. } => {
                let mut kept = match written(path) {
                    Ok(text) => parse(path, &text)?,
                    Err(error) if error.kind() == ErrorKind::NotFound => Kept::default(),
                    Err(error) => return Err(wrong(path, error)),
                };
                let changed = change(&mut kept)?;
                replace(path, &kept)?;
                Ok(changed)
            }
        }
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File { path, .. } => path.display().fmt(f),
            Place::Memory(_) => f.write_str("the memory of this process"),
        }
    }
}

fn wrong(path: &Path, why: impl fmt::Display) -> Error {
    Error::TokenFile { path: path.to_owned(), why: why.to_string() }
}

/// What a file of tokens says.
fn written(path: &Path) -> std::io::Result<String> {
    bounded::read_regular(path, LARGEST).and_then(bounded::text)
}

fn parse(path: &Path, text: &str) -> Result<Kept, Error> {
    serde_json::from_str(text).map_err(|error| wrong(path, error))
}

/// Replaces the file, which only its owner may read, as a whole.
fn replace(path: &Path, kept: &Kept) -> Result<(), Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let text = serde_json::to_string_pretty(kept).map_err(|error| wrong(path, error))?;
    let written = || {
        let mut file = tempfile::Builder::new().tempfile_in(parent)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    written().map_err(|error| wrong(path, error))
}

fn hash(text: &str) -> String {
    format!("{:x}", Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        let check =
            |pattern: &str, name: &str, expected: bool| assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        check("*", "anything", true);
        check("a", "a", true);
        check("a", "ab", false);
        check("a*", "ab", true);
        check("a*", "ba", false);
        check("*b", "ab", true);
        check("a*c*e", "abcde", true);
        check("a*c*e", "abde", false);
        check("a*a", "a", false);
        check("", "a", false);
    }

    #[test]
    fn scopes_are_written_as_they_are_read() {
        for text in ["read:*", "write:pictures", "admin:team-a.*", "run:clean", "plugin:*"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for wrong in ["", "read", "read:", "own:a", "read:a b", "read:a/b"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_lives_from_its_creation_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::at(&dir.path().join("tokens.json"));
        assert!(matches!(tokens.find("spout_a_b"), Err(Error::TokenFile { .. })));
        let scopes = vec!["write:a*".parse().unwrap(), "read:*".parse().unwrap()];
        let (token, text) = tokens.create("ada", scopes, None).unwrap();
        let found = tokens.find(&text).unwrap();
        assert_eq!(found.shown(), token);
        let allows = |access, repo| found.allows(access, repo);
        assert!(allows(Access::Write, Some("ab")) && allows(Access::Read, Some("b")) && allows(Access::Write, None));
        assert!(!allows(Access::Write, Some("b")) && !allows(Access::Admin, None));
        let (_, over) = tokens.create("bob", vec!["read:*".parse().unwrap()], Some(1)).unwrap();
        assert!(tokens.find(&over).unwrap_err().to_string().contains("expired"));
        assert!(tokens.find(&format!("{text}0")).is_err());
        let kept = fs::read_to_string(dir.path().join("tokens.json")).unwrap();
        assert!(!kept.contains(text.rsplit('_').next().unwrap()), "the secret is not kept");
        tokens.revoke(&token.id).unwrap();
        assert!(tokens.find(&text).is_err() && tokens.revoke(&token.id).is_err());
        assert_eq!(tokens.list().unwrap().len(), 1);
    }
}
