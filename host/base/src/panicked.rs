//! Panics of tasks: each ends what the task was for, by an error that says so, and none is lost with its task.

use std::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    task::Poll,
};

use tokio::task::JoinError;

/// What a task said when it panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked(String);

impl Panicked {
    /// The panic that was caught as `payload`.
    #[must_use]
    pub fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self(text.unwrap_or_else(|| "it said nothing".into()))
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `work` comes to. After a panic nothing of it is used any more, so what it was changing does not matter.
///
/// # Errors
/// It panicked.
pub async fn caught<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(payload) => Poll::Ready(Err(Panicked::of(payload.as_ref()))),
    })
    .await
}

/// Lets the panic of a task that was waited for go on here, where somebody watches.
pub fn go_on<T>(ended: Result<T, JoinError>) {
    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(panics: impl Future<Output = ()>) -> String {
        caught(panics).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_panic_is_what_it_said() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let after_a_wait = async {
            tokio::task::yield_now().await;
            panic!("offset {}", "overflow")
        };
        assert_eq!(said(after_a_wait).await, "offset overflow");
        assert_eq!(said(async { panic!("plain") }).await, "plain");
        let task: Result<(), _> = tokio::spawn(async { panic!("in a task") }).await;
        assert_eq!(said(async { go_on(task) }).await, "in a task");
        assert_eq!(said(async { std::panic::panic_any(7_u8) }).await, "it said nothing");
    }
}
