//! Events as JSON. Of every 50, one is a person, three are auctions and 46 are bids.

use crate::{Config, random::Random};

/// No event is longer, in bytes.
pub(crate) const LONGEST: usize = 512;

const CYCLE: u64 = 50;
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
/// Ids start here, so that they do not look like numbers of events.
const FIRST_ID: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
/// Most bids go to the newest of this many auctions, and come from the newest of this many persons.
const HOT: u64 = 100;
/// Older ones are drawn from this many.
const ACTIVE: u64 = 1000;

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// Writes one object, `"name":value` pairs in order.
struct Object<'a>(&'a mut Vec<u8>);

impl Object<'_> {
    fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, before: &str, value: u64) -> &mut Self {
        self.raw(before);
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = value;
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[at..]);
        self
    }
}

/// Appends event `number`, which happens at `time`.
pub(crate) fn write(number: u64, time: u64, config: &Config, to: &mut Vec<u8>) {
    let mut random = Random::of(config.seed, number);
    let (cycle, within) = (number / CYCLE, number % CYCLE);
    if within < PERSONS {
        person(cycle, time, &mut random, &mut Object(to));
    } else if within < PERSONS + AUCTIONS {
        auction(cycle, within - PERSONS, time, config, &mut random, &mut Object(to));
    } else {
        bid(cycle, time, &mut random, &mut Object(to));
    }
}

fn person(cycle: u64, time: u64, random: &mut Random, to: &mut Object<'_>) {
    let (first, last) = (random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES));
    to.number(r#"{"event":"person","person":{"id":"#, FIRST_ID + cycle);
    to.raw(r#","name":""#).raw(first).raw(" ").raw(last).raw(r#"","email_address":""#);
    random.letters(7, to.0);
    to.raw("@");
    random.letters(5, to.0);
    to.raw(r#".com","credit_card":""#);
    for group in 0..4 {
        to.number(if group == 0 { "" } else { " " }, 1000 + random.below(9000));
    }
    to.raw(r#"","city":""#).raw(random.pick(&CITIES)).raw(r#"","state":""#).raw(random.pick(&STATES));
    to.number(r#"","date_time":"#, time).raw(r#","extra":""#);
    random.letters(24, to.0);
    to.raw("\"}}");
}

fn auction(cycle: u64, within: u64, time: u64, config: &Config, random: &mut Random, to: &mut Object<'_>) {
    let (initial, reserve) = (random.price(), random.price());
    let open_for = 1 + random.below(2 * HOT * CYCLE / AUCTIONS);
    let expires = time.max(config.time_ms(cycle * CYCLE + open_for));
    to.number(r#"{"event":"auction","auction":{"id":"#, FIRST_ID + cycle * AUCTIONS + within);
    to.raw(r#","item_name":""#);
    random.letters(14, to.0);
    to.raw(r#"","description":""#);
    random.letters(60, to.0);
    to.number(r#"","initial_bid":"#, initial).number(r#","reserve":"#, initial + reserve);
    to.number(r#","date_time":"#, time).number(r#","expires":"#, expires + 1);
    to.number(r#","seller":"#, recent(cycle, random)).number(r#","category":"#, FIRST_CATEGORY + random.below(5));
    to.raw(r#","extra":""#);
    random.letters(40, to.0);
    to.raw("\"}}");
}

fn bid(cycle: u64, time: u64, random: &mut Random, to: &mut Object<'_>) {
    let auction = recent(cycle * AUCTIONS + AUCTIONS - 1, random);
    let bidder = recent(cycle, random);
    to.number(r#"{"event":"bid","bid":{"auction":"#, auction).number(r#","bidder":"#, bidder);
    to.number(r#","price":"#, random.price()).raw(r#","channel":""#);
    let hot = random.below(2) == 0;
    let channel = random.below(10_000);
    if hot {
        to.raw(random.pick(&CHANNELS))
    } else {
        to.number("channel-", channel)
    };
    to.raw(r#"","url":"https://www.nexmark.com/"#);
    random.letters(5, to.0);
    to.raw("/");
    random.letters(4, to.0);
    to.number("/item.htm?query=1&channel_id=", channel);
    to.number(r#"","date_time":"#, time).raw(r#","extra":""#);
    random.letters(24, to.0);
    to.raw("\"}}");
}

/// The id of one of those up to `newest`: mostly the start of its hundred, else one of the last thousand.
fn recent(newest: u64, random: &mut Random) -> u64 {
    let chosen = match random.below(HOT) {
        0 => newest - random.below(newest.min(ACTIVE) + 1),
        _ => newest / HOT * HOT,
    };
    FIRST_ID + chosen
}
