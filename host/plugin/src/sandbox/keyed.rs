//! Keyed state behind a guest: what counts, what is undone, and what is refused.

use super::*;

async fn process(mode: &str, state: Option<&mut KeyedState>) -> Result<(), Error> {
    let mut task = task(mode, "process").await;
    task.limits.state = ByteSize(4 << 20);
    task.limits.call = Period(Duration::from_secs(5));
    let mut handler = HandlerInstance::open(task, None, state.as_deref().cloned()).await?;
    let answer = handler.process(&texts()).await.map(drop);
    if let Some(state) = state {
        handler.keep_changes(state);
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_puts_counts_once_it_has_answered() {
    let mut state = KeyedState::default();
    process("keep", Some(&mut state)).await.unwrap();
    assert_eq!(state.get(b"key"), Some(b"value".as_slice()));
    for mode in ["keep-trap", "keep-fatal"] {
        process(mode, Some(&mut state)).await.unwrap_err();
        assert_eq!(state.get(b"key"), Some(b"value".as_slice()), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_beyond_its_limit_and_calls_that_lie_are_refused() {
    let refused = async |mode: &str| process(mode, Some(&mut KeyedState::default())).await.unwrap_err();
    let error = refused("keep-much").await;
    assert!(matches!(&error, Error::StateFull { limit, .. } if limit == "4MiB") && !error.is_crash(), "{error:?}");
    let error = refused("get-often").await;
    assert!(matches!(&error, Error::Limit { setting: "answer", .. }), "{error:?}");
    for (mode, expected) in [("keep-uneven", "0 values for 1 keys"), ("keep-lies", "bounds of `keys`")] {
        let error = refused(mode).await.to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = process("keep", None).await.unwrap_err();
    assert!(matches!(&error, Error::Stateless { .. }) && !error.is_crash(), "{error:?}");
}
