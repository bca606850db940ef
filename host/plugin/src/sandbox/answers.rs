//! Answers that lie about offsets, buffers, schemas and rows: refused by name, without a panic and without a large allocation.

use super::*;

async fn check(call: &str, mode: &str, expected: &str) {
    let error = make(call, task(mode, call).await).await.expect_err(mode);
    let text = error.to_string();
    assert!(matches!(error, Error::Contract { .. }), "{mode} in {call}: {error:?}");
    assert!(text.contains(expected) && text.contains("trial") && text.contains("hostile"), "{mode} in {call}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_guest_passes() {
    let messages = fetched().await;
    assert_eq!((messages.len(), messages.values.get(3)), (10, b"{\"n\":3}".as_slice()));
    let mut decoding = Decoding::open(task("", "").await, "t", None).await.unwrap();
    for _ in 0..3 {
        let decoded = decoding.decode(&messages, 0).await.unwrap();
        assert_eq!((decoded.records.num_rows(), decoded.origins), (10, spout_data::Origins::Each));
    }
    let faulty = Decoding::open(task("fault", "decode").await, "t", None).await.unwrap().decode(&messages, 0).await;
    let faulty = faulty.unwrap();
    assert_eq!((faulty.records.num_rows(), faulty.origins.message(0), faulty.faults.len()), (9, Some(1), 1));
    assert!(faulty.faults[0].reason.len() < 3000 && !faulty.faults[0].code.contains('\u{1b}'));
    let mut handler = HandlerInstance::open(task("", "").await, None, None).await.unwrap();
    assert!(matches!(handler.process(&texts()).await.unwrap(), Some(Rows::All)));
    let mut handler = HandlerInstance::open(task("mask", "process").await, None, None).await.unwrap();
    assert!(matches!(handler.process(&texts()).await.unwrap(), Some(Rows::Masked(mask)) if mask.len() == 3));
    let mut handler = HandlerInstance::open(task("nothing", "process").await, None, None).await.unwrap();
    assert!(handler.process(&texts()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_goes_in_and_comes_back() {
    let mut handler = HandlerInstance::open(task("read", "process").await, None, None).await.unwrap();
    let whole = texts();
    for part in [whole.clone(), whole.slice(1, 2), whole.slice(2, 1), whole.slice(0, 0)] {
        let answer = handler.process(&part).await.unwrap();
        assert!(matches!(&answer, Some(Rows::Fresh(back)) if back == &part), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetches_that_lie() {
    for (mode, expected) in [
        ("next-short", "outside of the run"),
        ("offsets-fall", "must rise"),
        ("offsets-repeat", "must rise"),
        ("offsets-missing", "needs its offset"),
        ("offsets-few", "entries for 10 messages"),
        ("bounds-fall", "do not rise"),
        ("bounds-beyond", "run from 0"),
        ("bounds-start", "run from 1"),
        ("keys-few", "`keys` has 1"),
        ("nulls-beyond", "`nulls`"),
        ("partition", "partition 1"),
        ("header", "message 99999 of 10"),
        ("stranger", "partition 100 was not asked for"),
        ("answered-twice", "answered twice"),
    ] {
        check("fetch", mode, expected).await;
    }
    for (mode, expected) in [("next-back", "goes back from 5 to 4"), ("offsets-before", "offset 4 is outside")] {
        let error = fetch(task(mode, "fetch").await, 5).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    check("next", "offsets-fall", "must rise").await;
    check("next", "partitions-missing", "needs its partition").await;
    let error = make("fetch", task("giant", "fetch").await).await.unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    let mut many = task("many", "partitions").await;
    many.limits.call = Period(Duration::from_secs(30));
    let error = make("partitions", many).await.unwrap_err();
    assert!(matches!(error, Error::Contract { .. } | Error::Limit { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_lie() {
    for (mode, expected) in [
        ("short-buffer", "value"),
        ("missing-buffer", "a buffer is missing"),
        ("extra-buffer", "more array nodes or buffers"),
        ("missing-node", "an array node is missing"),
        ("offsets-fall", "value"),
        ("offsets-beyond", "value"),
        ("utf8", "value"),
        ("rows", "entries where"),
        ("length", "entries where"),
        ("nulls", "nulls and no validity"),
        ("validity-short", "validity is too short"),
        ("deep", "limits.depth"),
        ("columns", "limits.columns"),
        ("children", "children"),
        ("lie", "buffer"),
        ("twice", "two columns"),
        ("decimal", "decimal128(200, -100)"),
        ("fixed-zero", "fixed size 0"),
        ("fixed-huge", "fixed size"),
        ("nothing-many", "rows"),
    ] {
        check("decode", mode, expected).await;
        check("process", mode, expected).await;
    }
    check("decoding-output", "other", "declared `other` (Utf8) as column 1, but the rows have `value` (Utf8)").await;
    for call in ["decoding-output", "node-output"] {
        check(call, "twice", "two columns are named `value`").await;
    }
    for call in ["decode", "process"] {
        for mode in ["giant", "many-buffers"] {
            let error = make(call, task(mode, call).await).await.unwrap_err();
            assert!(matches!(error, Error::Limit { .. }), "{mode} in {call}: {error:?}");
        }
    }
    for (mode, expected) in [
        ("no-schema", "no schema"),
        ("origins-beyond", "message 4294967295 of 10"),
        ("origins-few", "1 origins for 10 rows"),
        ("faults-beyond", "message 4294967295 of 10"),
        ("faults-fall", "faults must rise"),
        ("rows-lost", "1 rows and 0 faults for 10 messages"),
    ] {
        check("decode", mode, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_about_rows_that_lie() {
    for (mode, expected) in [
        ("mask-short", "a mask of 0 bytes"),
        ("mask-long", "a mask of 4 bytes"),
        ("taken-beyond", "row 3 was taken of a batch of 3"),
        ("taken-twice", "taken twice"),
        ("columns-few", "columns of 2 rows for a batch of 3"),
    ] {
        check("process", mode, expected).await;
    }
    for call in ["tick", "finish"] {
        check(call, "missing-node", "an array node is missing").await;
        check(call, "utf8", "value").await;
    }
    for mode in ["read-beyond", "read-often"] {
        let error = make("process", task(mode, "process").await).await.unwrap_err();
        assert!(matches!(&error, Error::Trap { reason, .. } if reason.contains("the guest read")), "{error:?}");
    }
}
