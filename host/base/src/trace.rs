//! Spans: what is done, from when to when, as part of what. They are made where somebody wants them; else each costs one load.
//!
//! A trace begins with a fetch. Its [`Context`] goes with the messages, so that what is done with them becomes a child of it, and the
//! commit that holds them names it.
//!
//! **Invariant**: nothing waits for who takes spans, and nothing depends on whether anybody does.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use super::{clock, owner};

/// Links of one span at most; further ones are counted.
pub const LINKS: usize = 128;

static WANTED: AtomicBool = AtomicBool::new(false);
static TAKER: OnceLock<Taker> = OnceLock::new();

struct Taker {
    /// Of all traces this part.
    share: f64,
    take: Box<dyn Fn(Span) + Send + Sync>,
}

/// A span, for those that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: u128,
    /// The span within it.
    pub span: u64,
}

/// What is known of a span.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A name or an id.
    Text(String),
    /// A count.
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// A span that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What it is.
    pub context: Context,
    /// What it is part of.
    pub parent: Option<u64>,
    /// What is done.
    pub name: &'static str,
    /// When it began, in nanoseconds since 1970.
    pub begun_ns: u64,
    /// When it was over.
    pub ended_ns: u64,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// What it has to do with in other traces, or in its own.
    pub links: Vec<Context>,
    /// How many more that are.
    pub more_links: u32,
    /// The code of what went wrong.
    pub failed: Option<&'static str>,
}

/// From now on `take` is given the spans of this share of all traces. It must neither wait nor log. Only the first call of a process
/// counts.
pub fn start(share: f64, take: impl Fn(Span) + Send + Sync + 'static) {
    if TAKER.set(Taker { share, take: Box::new(take) }).is_ok() {
        WANTED.store(true, Ordering::Release);
    }
}

/// What is being done. It is over when this goes.
#[derive(Debug)]
#[must_use = "it is over when it goes"]
pub struct Doing(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    span: Span,
    /// What this task did before, and goes on with.
    before: Option<Context>,
}

/// Begins a trace, if it is one of those that are wanted.
pub fn begin(name: &'static str) -> Doing {
    if !WANTED.load(Ordering::Relaxed) {
        return Doing(None);
    }
    begun(name)
}

#[cold]
fn begun(name: &'static str) -> Doing {
    // The lower half of the id decides, as everybody does who takes a part of all traces, so that they take the same ones.
    let trace = clock::trace_id();
    let part = ((trace as u64) >> 11) as f64 / (1_u64 << 53) as f64;
    if TAKER.get().is_some_and(|taker| part < taker.share) { open(name, trace, None) } else { Doing(None) }
}

/// What is done as part of `parent`; nothing, if that is none.
pub fn within(name: &'static str, parent: Option<Context>) -> Doing {
    match parent {
        None => Doing(None),
        Some(parent) => open(name, parent.trace, Some(parent.span)),
    }
}

/// What is done as part of what this task does.
pub fn inner(name: &'static str) -> Doing {
    if WANTED.load(Ordering::Relaxed) { within(name, owner::doing()) } else { Doing(None) }
}

fn open(name: &'static str, trace: u128, parent: Option<u64>) -> Doing {
    let context = Context { trace, span: clock::span_id() };
    let span = Span {
        context,
        parent,
        name,
        begun_ns: clock::wall_ns(),
        ended_ns: 0,
        attributes: Vec::new(),
        links: Vec::new(),
        more_links: 0,
        failed: None,
    };
    let mut doing = Doing(Some(Box::new(Open { span, before: owner::does(Some(context)) })));
    if let Some(pipeline) = owner::pipeline() {
        doing.note("spout.pipeline", &*pipeline);
    }
    doing
}

impl Doing {
    /// What belongs to it says this.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().map(|open| open.span.context)
    }

    /// Something that is known of it; no secret, and nothing of messages.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(open) = &mut self.0 {
            open.span.attributes.push((name, value.into()));
        }
    }

    /// What it has to do with besides.
    pub fn links(&mut self, to: &[Context]) {
        if let Some(Open { span, .. }) = self.0.as_deref_mut() {
            let room = LINKS.saturating_sub(span.links.len());
            span.links.extend(to.iter().take(room));
            let more = u32::try_from(to.len().saturating_sub(room)).unwrap_or(u32::MAX);
            span.more_links = span.more_links.saturating_add(more);
        }
    }

    /// It went wrong, by this code.
    pub fn fail(&mut self, code: &'static str) {
        if let Some(open) = &mut self.0 {
            open.span.failed = Some(code);
        }
    }

    /// Nothing was done.
    pub fn forget(mut self) {
        if let Some(open) = self.0.take() {
            owner::does(open.before);
        }
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { mut span, before } = *open;
        owner::does(before);
        // The clock may have been set back meanwhile.
        span.ended_ns = clock::wall_ns().max(span.begun_ns);
        if let Some(taker) = TAKER.get() {
            (taker.take)(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    static TOLD: Mutex<Vec<Span>> = Mutex::new(Vec::new());

    /// One test, because a process has one taker.
    #[tokio::test]
    async fn spans_are_told_with_what_they_belong_to() {
        assert!(begin("early").context().is_none(), "nobody wants it yet");
        assert!(inner("early").context().is_none());
        start(1.0, |span| TOLD.lock().unwrap_or_else(PoisonError::into_inner).push(span));
        owner::work_for("p", async {
            let mut fetch = begin("fetch");
            let context = fetch.context().unwrap();
            assert_eq!(owner::doing(), Some(context), "what is logged now names it");
            fetch.note("rows", 3);
            begin("idle").forget();
            assert_eq!(owner::doing(), Some(context));
            drop(fetch);
            assert_eq!(owner::doing(), None);
            let commit = owner::spawn(async move {
                let mut commit = within("commit", Some(context));
                commit.links(&[context; LINKS + 5]);
                let mut publish = inner("publish");
                publish.fail("E0001");
            });
            commit.await.unwrap();
        })
        .await;
        assert!(within("none", None).context().is_none());
        let told = TOLD.lock().unwrap();
        let names: Vec<&str> = told.iter().map(|span| span.name).collect();
        assert_eq!(names, ["fetch", "publish", "commit"]);
        let [fetch, publish, commit] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((fetch.parent, fetch.links.len(), fetch.failed), (None, 0, None));
        assert_eq!(fetch.attributes, [("spout.pipeline", "p".into()), ("rows", Value::Number(3))]);
        assert_eq!((commit.parent, commit.context.trace), (Some(fetch.context.span), fetch.context.trace));
        assert_eq!((commit.links.len(), commit.more_links), (LINKS, 5));
        assert_eq!((publish.parent, publish.failed), (Some(commit.context.span), Some("E0001")));
        assert!(told.iter().all(|span| span.ended_ns >= span.begun_ns && span.context.span != 0));
    }
}
