//! How much history a repo keeps.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::clock;

use crate::{
    error::Error,
    log::{Attempts, Slot, State, VERSION, by_number, seal},
    object::{Created, Step},
    repo::{Line, Repo},
};

/// The rules of a repo. A commit is kept if one of them wants it; with no rule, all are. The head of a branch and
/// whatever has a tag are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retention {
    /// The newest so many commits of each branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits: Option<u64>,
    /// Commits no older than this; milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

impl Retention {
    /// Whether everything is kept.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.commits.is_none() && self.for_ms.is_none()
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = |ms: u64| format!("{} h", ms / 3_600_000);
        match (self.commits, self.for_ms) {
            (None, None) => f.write_str("every commit"),
            (Some(commits), None) => write!(f, "the newest {commits} commits of each branch, and tags"),
            (None, Some(ms)) => write!(f, "commits of the last {}, and tags", hours(ms)),
            (Some(commits), Some(ms)) => {
                write!(f, "the newest {commits} commits of each branch, those of the last {}, and tags", hours(ms))
            }
        }
    }
}

/// One version of the rules. The newest counts.
#[derive(Debug, Serialize, Deserialize)]
struct Rules {
    version: u32,
    number: u64,
    rules: Retention,
    checksum: String,
}

impl Repo {
    /// The rules in force.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn retention(&self) -> Result<Retention, Error> {
        Ok(self.rules().await?.map(|rules| rules.rules).unwrap_or_default())
    }

    async fn rules(&self) -> Result<Option<Rules>, Error> {
        seal::newest(&self.objects, &self.layout.retentions()).await
    }

    /// Sets the rules. Nothing is removed before the next collection.
    ///
    /// # Errors
    /// [`Error::BadRetention`], and those of writing.
    pub async fn retain(&self, rules: Retention) -> Result<(), Error> {
        if rules.commits == Some(0) {
            let reason = "the head is always kept; write at least 1".to_owned();
            return Err(Error::BadRetention { text: "keep 0".to_owned(), reason });
        }
        let mut attempts = Attempts::new();
        while attempts.another() {
            let number = self.rules().await?.map_or(0, |rules| rules.number) + 1;
            let path = self.layout.retention(number);
            let object = self.objects.shown(&path);
            let (bytes, _) = seal::seal(&object, &Rules { version: VERSION, number, rules, checksum: String::new() })?;
            match self.objects.create(Step::Retention, &path, bytes).await? {
                Created::Ours => return Ok(()),
                Created::Others => {}
                Created::Nothing(source) => return Err(Error::write(object, source)),
                Created::Unknown(source) => return Err(Error::Unconfirmed { object, source: source.into() }),
            }
        }
        Err(Error::Contended { repo: self.name().to_owned(), branch: "retention".to_owned(), attempts: attempts.made })
    }
}

/// Adds what `rules` keep of the line of commits that leads to the head: the least sequence of each branch it runs on.
///
/// Ages are counted back from now or from the newest commit, whichever is earlier: a clock that jumped ahead must not make
/// everything old.
pub(crate) async fn keep(
    repo: &Repo,
    state: &State,
    rules: Retention,
    kept: &mut BTreeMap<String, u64>,
) -> Result<(), Error> {
    let Some(head) = state.head.commit.as_ref().filter(|_| !state.deleted) else { return Ok(()) };
    let mut add = |slot: &Slot| {
        let least = kept.entry(slot.branch.clone()).or_insert(slot.sequence);
        *least = slot.sequence.min(*least);
    };
    let newest = state.ids.get(&by_number(head.number)).await?;
    add(&newest.map_or_else(|| head.slot(), |located| located.slot));
    if rules.keeps_all() {
        let mut ids = state.ids.scan("#");
        while let Some((_, located)) = ids.next().await? {
            add(&located.slot);
        }
        return Ok(());
    }
    let now = clock::wall_ms().min(head.header.at_ms);
    let oldest = rules.for_ms.map(|ms| now.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)));
    let mut count = 1;
    let mut line = Line::new(repo, state, head.number);
    while let Some((slot, commit)) = line.next().await? {
        let by_count = rules.commits.is_some_and(|commits| count < commits);
        let by_age = oldest.is_some_and(|oldest| commit.header.at_ms >= oldest);
        if !by_count && !by_age {
            break;
        }
        count += 1;
        add(&slot);
    }
    Ok(())
}
