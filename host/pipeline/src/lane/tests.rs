//! What a lane hands over: large runs in slices, and its panics.

use std::{collections::VecDeque, future::pending, pin::Pin, time::Duration};

use arrow::{array::AsArray as _, datatypes::Int64Type};

use spout_base::error::Coded as _;
use spout_data::{Messages, Span};
use spout_plugin::Progress;
use spout_producer::{DecoderFactory, JsonSpec, NativeDecoder, SchemaPin};
use tokio::time::timeout;

use super::{ahead::Ahead, *};

/// Brings runs, and then nothing for ever; or panics.
#[derive(Debug)]
struct Runs {
    left: VecDeque<Messages>,
    at: u64,
}

impl Runs {
    fn one(messages: Messages) -> Self {
        Self { left: [messages].into(), at: 0 }
    }
}

type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fetched, spout_producer::Error>> + Send + 'a>>;

impl Fetcher for Runs {
    fn fetch<'a, 'b>(&'a mut self, _: u32) -> Fetching<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {
            let Some(messages) = self.left.pop_front() else { return pending().await };
            assert!(!messages.is_empty(), "an offset overflow");
            let start = self.at;
            self.at += messages.len() as u64;
            let next = Position::at(self.at);
            Ok(Fetched::new(messages, Span { partition: 0.into(), start, next }, Progress::More))
        })
    }
}

fn messages(count: u64, text: impl Fn(u64) -> String) -> Messages {
    let mut messages = Messages { offsets: (0..count).collect(), ..Messages::default() };
    (0..count).for_each(|index| messages.values.push(text(index).as_bytes()));
    messages
}

fn lane(fetcher: Runs, json: &str) -> (Lane, mpsc::UnboundedReceiver<LaneEvent>) {
    let (sender, events) = mpsc::unbounded_channel();
    let shared = Shared::new("p", sender, 0, 1_000_000, &CancellationToken::new());
    (Lane::start(Box::new(fetcher), (decoder(json), None), Chain::new(Vec::new()), &shared), events)
}

fn decoder(json: &str) -> Decoder {
    let spec: JsonSpec = serde_json::from_str(json).unwrap();
    DecoderFactory {
        spec: NativeDecoder::Json(spec).into(),
        task: None,
        topic: String::new(),
        decodes: true,
        metadata: Vec::new(),
        pin: SchemaPin::default(),
        base: std::path::PathBuf::new(),
        schemas: Default::default(),
    }
    .decoder()
}

async fn next(events: &mut mpsc::UnboundedReceiver<LaneEvent>) -> LaneEvent {
    timeout(Duration::from_secs(60), events.recv()).await.unwrap().unwrap()
}

/// The batches of a run, and how many came with the event itself.
async fn run(event: LaneEvent) -> (Vec<Batch>, usize) {
    let LaneEvent::Batches { mut batches, more, .. } = event else { panic!("{event:?}") };
    let first = batches.len();
    let Some(mut more) = more else { return (batches, first) };
    loop {
        match timeout(Duration::from_secs(60), more.recv()).await.unwrap() {
            Some(Slice::Batches(slice)) => batches.extend(slice),
            Some(Slice::End) => return (batches, first),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_lane_that_panics_says_so_at_once() {
    let (_lane, mut events) = lane(Runs::one(Messages::default()), "{}");
    let LaneEvent::Failed(error) = next(&mut events).await else { panic!("it did not fail") };
    assert_eq!(error.code(), "E0704");
    assert!(error.to_string().contains("an offset overflow"), "{error}");
}

#[tokio::test]
async fn a_large_run_comes_in_slices_and_stays_one_run() {
    let count = 100_000;
    // Each hundredth message is none.
    let text = |index: u64| if index % 100 == 7 { "1".to_owned() } else { format!("{{\"n\":{index}}}") };
    for json in ["{}", r#"{"evolve":"add-columns"}"#] {
        let (_lane, mut events) = lane(Runs::one(messages(count, text)), json);
        let (batches, first) = run(next(&mut events).await).await;
        assert!(first < batches.len() && batches.iter().all(|batch| batch.messages.len() <= 8192), "{json}");
        let rows: usize = batches.iter().map(|batch| batch.records.num_rows()).sum();
        let dead: Vec<u64> = batches.iter().flat_map(|batch| &batch.dead).map(|letter| letter.offset).collect();
        assert_eq!((rows, dead.len() as u64), (99_000, count / 100), "{json}");
        assert!(dead.iter().all(|offset| offset % 100 == 7), "{json}");
        let (end, before) = batches.split_last().unwrap();
        assert_eq!((end.span.start, end.span.next.offset), (0, count));
        assert!(before.iter().all(|batch| batch.span.next.offset == 0), "only the last one moves the position");
    }
}

#[tokio::test]
async fn columns_are_added_before_any_slice_of_a_run_that_has_them() {
    // The last message alone has a second field.
    let count = 90_000;
    let text =
        |index: u64| if index == count - 1 { r#"{"n":1,"late":true}"#.to_owned() } else { "{\"n\":1}".to_owned() };
    let (_lane, mut events) = lane(Runs::one(messages(count, text)), r#"{"evolve":"add-columns"}"#);
    let (batches, _) = run(next(&mut events).await).await;
    assert_eq!(batches.iter().map(|batch| batch.records.num_rows()).sum::<usize>() as u64, count);
    assert!(batches.iter().all(|batch| batch.records.num_columns() == 2));
}

/// Runs of so many messages each, numbered through; each hundredth message is none.
fn numbered(sizes: impl IntoIterator<Item = u64>) -> Runs {
    let mut from = 0;
    let run = |size: u64| {
        let text =
            |index: u64| if (from + index) % 100 == 7 { "1".into() } else { format!("{{\"n\":{}}}", from + index) };
        let mut run = messages(size, text);
        run.offsets = (from..from + size).collect();
        from += size;
        run
    };
    Runs { left: sizes.into_iter().map(run).collect(), at: 0 }
}

fn numbers(batch: &Batch) -> Vec<i64> {
    batch.records.column(0).as_primitive::<Int64Type>().values().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_that_are_decoded_beside_each_other_keep_their_order() {
    // Long ones first, so that those behind them are ready earlier; some are more than one slice.
    let sizes = [8000, 10, 1, 8192, 3, 20_000, 5, 5, 7000, 1];
    let all: u64 = sizes.iter().sum();
    for json in [r#"{"schema":{"n":"int64"}}"#, "{}", r#"{"schema":{"n":"int64"},"evolve":"add-columns"}"#] {
        let (_lane, mut events) = lane(numbered(sizes.into_iter().cycle().take(sizes.len() * 3)), json);
        let (mut at, mut rows, mut dead, mut events_of_runs) = (0, Vec::new(), Vec::new(), 0);
        while at < all * 3 {
            for batch in run(next(&mut events).await).await.0 {
                assert_eq!(batch.span.start, at, "{json}");
                rows.extend(numbers(&batch));
                dead.extend(batch.dead.iter().map(|letter| letter.offset));
                at = batch.span.next.offset;
            }
            events_of_runs += 1;
        }
        assert!(json == "{}" || events_of_runs == sizes.len() * 3, "each run is a run by itself");
        let expected: Vec<i64> = (0..all as i64 * 3).filter(|n| n % 100 != 7).collect();
        assert!(rows == expected && dead.iter().copied().eq((7..all * 3).step_by(100)), "{json}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_decoded_ahead_waits_for_those_before_it() {
    let mut decoder = decoder(r#"{"schema":{"n":"int64"}}"#);
    let mut ahead = Ahead::default();
    let mut runs = numbered([1, 8192, 1, 1, 1]);
    let room = Arc::new(Semaphore::new(10));
    let taken = |fetched| (Box::new(fetched), Share::new(Arc::clone(&room).try_acquire_owned().unwrap(), None));
    let first = runs.fetch(1).await.unwrap();
    let second = taken(runs.fetch(1).await.unwrap());
    let Err(second) = ahead.start(second, &decoder) else { panic!("no column is settled yet") };
    decoder.decode(first.messages, first.span).await.unwrap();
    let mut waits = Some(second);
    let mut started = 0;
    while let Some(run) = waits.take() {
        match ahead.start(run, &decoder) {
            Ok(()) if ahead.is_full() => {}
            Ok(()) => waits = Some(taken(runs.fetch(1).await.unwrap())),
            // Other tests may have all turns now.
            Err(run) if started == 0 => waits = Some(run),
            Err(_) => {}
        }
        started = ahead.len();
        tokio::task::yield_now().await;
    }
    let mut at = 1;
    for _ in 0..started {
        let decoded = ahead.next().await;
        assert_eq!((decoded.run.0.span.start, decoded.moved), (at, true));
        assert_eq!(decoded.batch.unwrap().span.start, at);
        at = decoded.run.0.span.next.offset;
    }
    assert!(ahead.is_empty());
    assert_eq!(room.available_permits(), 10, "what was taken is given back with its run");
}
