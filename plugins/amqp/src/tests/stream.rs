//! Streams of a server that follows a script.

use spout_guest::{Criteria, Fetched, Known, Partition, Position, Reader as _, Source as _};

use super::*;

const CLOSE: [u8; 4] = [0, 10, 0, 50];
/// Nothing is heard that this is; the connection stays open until the client ends it.
const NEVER: [u8; 4] = [0xff; 4];

/// A message of a stream.
fn one(tag: u64, offset: u64, payload: &[u8]) -> Step {
    let mut deliver = b"\0\x3c\0\x3c\x01c".to_vec();
    deliver.extend(tag.to_be_bytes());
    deliver.extend([1, 1, b'x', 1, b'k']);
    let mut header = b"\0\x3c\0\0".to_vec();
    header.extend((payload.len() as u64).to_be_bytes());
    header.extend(b"\x20\x80\0\0\0\x1d\x0fx-stream-offsetl");
    header.extend(offset.to_be_bytes());
    header.extend(b"\x01at\x01\x02id");
    say([framed(1, 1, &deliver), framed(2, 1, &header), framed(3, 1, payload)].concat())
}

/// A connection that delivers messages with these offsets, whose payload is that, and then no more.
fn delivering(offsets: &[u64]) -> Vec<Step> {
    let messages = (1..).zip(offsets).map(|(tag, offset)| one(tag, *offset, offset.to_string().as_bytes()));
    [consuming(), messages.collect(), vec![hear(NEVER)]].concat()
}

fn streams(address: &str, more: &[(&str, &str)]) -> Result<Streams> {
    Streams::open("q", testing::settings(&[&[("address", address)], more].concat())?)
}

fn reader(address: &str) -> Reader {
    streams(address, &[("prefetch", "4")]).unwrap().read(Partition::named("q").id).unwrap()
}

/// Fetches until there are so many messages; their offsets, and the last answer.
fn fetch(reader: &mut Reader, start: &Position, count: usize) -> Result<(Vec<u64>, Fetched)> {
    let (mut offsets, mut place) = (Vec::new(), start.clone());
    loop {
        let fetched = reader.fetch(place, LIMITS)?;
        offsets.extend(fetched.messages.offsets());
        if offsets.len() >= count {
            return Ok((offsets, fetched));
        }
        place = fetched.next;
    }
}

fn range(error: &Error) -> (u64, u64) {
    let Error::OutOfRange { earliest, latest } = error else { panic!("{error}") };
    (earliest.offset, latest.offset)
}

#[test]
fn a_stream_is_read_from_an_offset_whose_message_before_is_there() {
    let (address, methods) = server(vec![delivering(&[0, 1, 2, 3, 4]), delivering(&[4]), delivering(&[1, 2, 3])]);
    let mut one = reader(&address);
    let (offsets, fetched) = fetch(&mut one, &Position::at(0), 5).unwrap();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    assert_eq!((fetched.next.offset, fetched.high_watermark), (5, Some(5)));
    let messages = &fetched.messages;
    let last = messages.len() - 1;
    let headers: Vec<String> =
        messages.headers(last).map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect();
    assert_eq!(headers, ["message-id=id", "exchange=x", "routing-key=k", "a=true"], "that it came before is left out");
    assert_eq!((messages.value(last), messages.key(last)), (&b"4"[..], Some(&b"k"[..])));
    let idle =
        (0..9).map(|_| one.fetch(fetched.next.clone(), LIMITS).unwrap()).any(|one| one.progress == Progress::Idle);
    assert!(idle, "all is read");
    let asked = |methods: &Receiver<Vec<u8>>| {
        let heard: Vec<Vec<u8>> = methods.try_iter().collect();
        let consumed = heard.iter().filter(|method| method.starts_with(&CONSUME));
        consumed.map(|method| method[35..method.len() - 1].escape_ascii().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(asked(&methods), [r"S\x00\x00\x00\x05first", r"S\x00\x00\x00\x04last"]);
    // Another instance begins after the second one.
    let place = reader::Place { at: 1, hash: edge::hash(&taken_message(1)) }.next();
    let (offsets, _) = fetch(&mut reader(&address), &place, 2).unwrap();
    assert_eq!(offsets, [2, 3]);
    assert_eq!(asked(&methods)[0], r"l\x00\x00\x00\x00\x00\x00\x00\x01");
}

/// A message as it comes.
fn taken_message(offset: u64) -> crate::frame::Message {
    let Step::Say(bytes) = one(1, offset, offset.to_string().as_bytes()) else { panic!() };
    let (mut all, _) = crate::frame::tests::taken(&bytes, bytes.len(), 1000);
    let Some(crate::frame::Taken::Message(message)) = all.pop() else { panic!() };
    message
}

#[test]
fn what_is_gone_or_another_stream_is_out_of_range() {
    // Another message is before, with the same offset.
    let (address, _methods) = server(vec![delivering(&[4, 5]), delivering(&[0]), delivering(&[7, 8])]);
    let other = reader::Place { at: 4, hash: 1 }.next();
    assert_eq!(range(&fetch(&mut reader(&address), &other, 1).unwrap_err()), (0, 9));
    // Retention took some that were not read.
    let (address, _methods) = server(vec![delivering(&[9]), delivering(&[9]), delivering(&[9]), delivering(&[9, 10])]);
    assert_eq!(range(&fetch(&mut reader(&address), &Position::at(5), 1).unwrap_err()), (9, 11));
    // Retention took all that was read, and no more.
    let (address, _methods) = server(vec![delivering(&[5, 6]), delivering(&[6])]);
    assert_eq!(fetch(&mut reader(&address), &Position::at(5), 2).unwrap().0, [5, 6]);
    // What is no message is in a stream, too.
    let (address, _methods) =
        server(vec![delivering(&[4, 6, 9]), delivering(&[0]), delivering(&[0]), delivering(&[0])]);
    assert_eq!(fetch(&mut reader(&address), &Position::at(5), 2).unwrap().0, [6, 9]);
    // The stream is shorter than what was read of it.
    let (address, _methods) = server(vec![delivering(&[]), delivering(&[2]), delivering(&[0]), delivering(&[2])]);
    assert_eq!(range(&fetch(&mut reader(&address), &Position::at(5), 1).unwrap_err()), (0, 3));
}

#[test]
fn what_came_before_a_gap_counts() {
    let scripts = vec![
        delivering(&[0, 1, 5]),
        delivering(&[5]),
        delivering(&[5]),
        delivering(&[5]),
        delivering(&[5]),
        delivering(&[5]),
        delivering(&[5]),
    ];
    let (address, _methods) = server(scripts);
    let mut reader = reader(&address);
    let (offsets, fetched) = fetch(&mut reader, &Position::at(0), 2).unwrap();
    assert_eq!(offsets, [0, 1]);
    assert_eq!(range(&fetch(&mut reader, &fetched.next, 1).unwrap_err()), (5, 6));
}

#[test]
fn streams_are_found_by_time_and_at_their_ends_and_queues_are_none() {
    let queue = vec![say(framed(1, 1, b"\0\x14\0\x28\x01\x96\x21PRECONDITION_FAILED - invalid arg\0\0\0\0"))];
    let plain = vec![say(message(1, false, None, b"x", 9))];
    let (address, methods) = server(vec![
        [opened(), vec![say(declared(9)), hear(CLOSE)]].concat(),
        delivering(&[7]),
        delivering(&[7, 8]),
        [consuming(), queue].concat(),
        [consuming(), plain].concat(),
    ]);
    let (mut streams, id) = (streams(&address, &[]).unwrap(), Partition::named("q").id);
    let within = Duration::from_secs(5);
    let known = Known { id, label: "q".into(), position: Position::at(0) };
    assert_eq!(streams.partitions(&[known], within).unwrap(), streams.partitions(&[], within).unwrap());
    let mut at = |at| streams.resolve(id, at, within).unwrap().unwrap();
    assert_eq!((at(Criteria::Earliest), at(Criteria::AtOffset(3))), (Position::at(0), Position::at(3)));
    assert_eq!(at(Criteria::AtTimeMs(5999)), Position::at(7));
    assert_eq!(at(Criteria::Latest), reader::Place { at: 8, hash: edge::hash(&taken_message(8)) }.next());
    let heard: Vec<Vec<u8>> = methods.try_iter().collect();
    assert!(heard.iter().any(|method| method.ends_with(b"T\0\0\0\0\0\0\0\x05\xce")), "{heard:?}");
    for _ in 0..2 {
        let error = fetch(&mut reader(&address), &Position::at(0), 1).unwrap_err();
        assert!(error.to_string().starts_with("amqp.stream"), "{error}");
    }
    let none = Streams::open(" , ", testing::settings(&[("address", "a:1")]).unwrap());
    assert!(matches!(none, Err(Error::InvalidConfig { .. })));
    assert!(matches!(self::streams("a:1", &[("id", "x")]), Err(Error::InvalidConfig { .. })));
}
