//! What a lane hands over: large runs in slices, and its panics.

use std::{future::pending, pin::Pin, time::Duration};

use spout_base::error::Coded as _;
use spout_data::{Messages, Span};
use spout_plugin::Progress;
use spout_producer::{DecoderFactory, DecoderSpec, JsonSpec, NativeDecoder, SchemaPin};
use tokio::time::timeout;

use super::*;

/// Brings one run, and then nothing for ever; or panics.
#[derive(Debug)]
struct Once(Option<Messages>);

type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fetched, spout_producer::Error>> + Send + 'a>>;

impl Fetcher for Once {
    fn fetch<'a, 'b>(&'a mut self, _: u32) -> Fetching<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {
            let Some(messages) = self.0.take() else { return pending().await };
            assert!(!messages.is_empty(), "an offset overflow");
            let next = Position::at(messages.len() as u64);
            Ok(Fetched::new(messages, Span { partition: 0.into(), start: 0, next }, Progress::More))
        })
    }
}

fn messages(count: u64, text: impl Fn(u64) -> String) -> Messages {
    let mut messages = Messages { offsets: (0..count).collect(), ..Messages::default() };
    (0..count).for_each(|index| messages.values.push(text(index).as_bytes()));
    messages
}

fn lane(fetcher: Once, json: &str) -> (Lane, mpsc::UnboundedReceiver<LaneEvent>) {
    let spec: JsonSpec = serde_json::from_str(json).unwrap();
    let factory = DecoderFactory {
        spec: DecoderSpec::Native(NativeDecoder::Json(spec)),
        task: None,
        topic: String::new(),
        decodes: true,
        metadata: Vec::new(),
        pin: SchemaPin::default(),
        base: std::path::PathBuf::new(),
        schemas: Default::default(),
    };
    let (sender, events) = mpsc::unbounded_channel();
    let shared = Shared::new("p", sender, 0, 1_000_000, &CancellationToken::new());
    (Lane::start(Box::new(fetcher), (factory.decoder(), None), Chain::new(Vec::new()), &shared), events)
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
    let (_lane, mut events) = lane(Once(Some(Messages::default())), "{}");
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
        let (_lane, mut events) = lane(Once(Some(messages(count, text))), json);
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
    let (_lane, mut events) = lane(Once(Some(messages(count, text))), r#"{"evolve":"add-columns"}"#);
    let (batches, _) = run(next(&mut events).await).await;
    assert_eq!(batches.iter().map(|batch| batch.records.num_rows()).sum::<usize>() as u64, count);
    assert!(batches.iter().all(|batch| batch.records.num_columns() == 2));
}
