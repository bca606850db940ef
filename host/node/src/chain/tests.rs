//! Rows keep their offsets, and faults their messages.

use arrow::{array::Int64Array, datatypes::Int64Type};
use async_trait::async_trait;

use spout_data::{Counts, Messages, PartitionId, Position, Span};

use super::*;
use crate::{Kept, RowFault};

/// Keeps even numbers, sets 7 aside.
struct Even;

#[async_trait]
impl Handler for Even {
    fn id(&self) -> &str {
        "even"
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        Ok(input.clone())
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        use arrow::array::AsArray;
        let numbers = batch.column(0).as_primitive::<Int64Type>();
        let rows: Vec<u32> = (0..batch.num_rows() as u32).filter(|&i| numbers.value(i as usize) % 2 == 0).collect();
        let faults = (0..batch.num_rows() as u32)
            .filter(|&i| numbers.value(i as usize) == 7)
            .map(|row| RowFault { row, code: "seven".into(), reason: "is seven".into() })
            .collect();
        let kept: Int64Array = rows.iter().map(|&row| Some(numbers.value(row as usize))).collect();
        let records = RecordBatch::try_from_iter([("n", Arc::new(kept) as _)]).unwrap();
        Ok(Handled { faults, ..Handled::one(records, Kept::Rows(rows)) })
    }
}

fn batch(numbers: &[i64]) -> Batch {
    let mut messages = Messages::default();
    for (index, number) in numbers.iter().enumerate() {
        messages.values.push(format!("raw {number}").as_bytes());
        messages.offsets.push(100 + index as u64);
    }
    let column = Arc::new(Int64Array::from(numbers.to_vec()));
    Batch {
        records: RecordBatch::try_from_iter([("n", column as _)]).unwrap(),
        span: Span { partition: 3.into(), start: 100, next: Position::at(100 + numbers.len() as u64) },
        origins: Origins::Each,
        messages: Arc::new(messages),
        dead: Vec::new(),
        late: Vec::new(),
        unknown: Vec::new(),
        counts: Counts::default(),
    }
}

#[tokio::test]
async fn a_row_keeps_its_offset_through_the_chain() {
    let mut chain = Chain::new(vec![Box::new(Even), Box::new(Even)]);
    let out = chain.handle(batch(&[2, 3, 4, 7])).await.unwrap();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].records.num_rows(), 2);
    assert_eq!(out[0].origins, Origins::Taken([0, 2].into()));
    assert_eq!((out[0].span.start, out[0].span.next.offset), (100, 104));
    assert_eq!(out[0].counts.filtered, [("even".to_owned(), 1)].into(), "3 is neither passed on nor set aside");
    let dead = &out[0].dead;
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].offset, &dead[0].value[..], dead[0].stage.as_str()), (103, b"raw 7".as_slice(), "even"));
}

#[tokio::test]
async fn a_fault_of_a_stream_level_source_names_the_partition_of_its_message() {
    let mut given = batch(&[2, 7, 4, 7]);
    let mut messages = Messages::clone(&given.messages);
    (messages.partitions, messages.offsets) = (vec![5, 6, 5, 9], vec![40, 8000, 41, 3]);
    given.messages = Arc::new(messages);
    given.span = Span { partition: PartitionId::default(), start: 12, next: Position::at(16) };
    let out = Chain::new(vec![Box::new(Even)]).handle(given).await.unwrap();
    let dead: Vec<(u32, u64)> = out[0].dead.iter().map(|letter| (letter.partition.number, letter.offset)).collect();
    assert_eq!(dead, [(6, 8000), (9, 3)]);
}

/// Holds every row until the cut.
#[derive(Default)]
struct Holding(Vec<RecordBatch>);

#[async_trait]
impl Handler for Holding {
    fn id(&self) -> &str {
        "holding"
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        Ok(input.clone())
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        self.0.push(batch);
        Ok(Handled::default())
    }

    async fn on_event(&mut self, _: SourceEvent) -> Result<Handled, Error> {
        Ok(Handled::fresh(std::mem::take(&mut self.0)))
    }
}

/// Notes the rows of each step, as long as it looks.
#[derive(Debug, Default)]
struct Noting {
    looks: std::sync::atomic::AtomicBool,
    seen: std::sync::Mutex<Vec<(usize, usize)>>,
}

impl Watcher for Noting {
    fn watches(&self) -> bool {
        self.looks.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn saw(&self, step: usize, records: &RecordBatch) {
        self.seen.lock().unwrap().push((step, records.num_rows()));
    }
}

#[tokio::test]
async fn who_looks_sees_the_rows_behind_each_handler_and_nothing_is_shown_to_nobody() {
    let noting = Arc::new(Noting::default());
    let lane = Chain::new(vec![Box::new(Even)]);
    let mut lane = lane.watched(Arc::clone(&noting) as _, 0, true);
    let mut meeting = Chain::new(vec![Box::new(Holding::default()), Box::new(Even)]);
    meeting = meeting.watched(Arc::clone(&noting) as _, 1, false);
    drop(lane.handle(batch(&[2, 3])).await.unwrap());
    assert!(noting.seen.lock().unwrap().is_empty());
    noting.looks.store(true, std::sync::atomic::Ordering::Relaxed);
    let out = lane.handle(batch(&[2, 3, 4])).await.unwrap().remove(0);
    drop(meeting.handle(out).await.unwrap());
    assert_eq!(*noting.seen.lock().unwrap(), [(0, 3), (1, 2)]);
    drop(meeting.on_event(SourceEvent::Cut).await.unwrap());
    assert_eq!(noting.seen.lock().unwrap()[2..], [(2, 2), (3, 2)]);
}
