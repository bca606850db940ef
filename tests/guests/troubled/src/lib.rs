//! A source whose partitions and troubles are what the file `script` of its granted directory says at each call:
//!
//! ```text
//! partition 0 5 20 first    number, earliest and latest offset, label
//! ended 0                   nothing is ever added to it
//! poison 0 7                what stands there is no JSON
//! null 0 8                  what stands there is a tombstone
//! slow 0                    it hands over one message a call
//! fetch down                a call fails for now; or: crash, hang, crash 2 (so often, over all instances)
//! list down                 likewise where partitions are asked for
//! down 1                    one partition fails for now
//! crash 1 7                 it crashes over the message there
//! ```
//!
//! What it is told of commits it writes to the file `committed`: a line with a partition and an offset.

use std::{fs, io::Write as _, time::Duration};

use spout_guest::{
    Criteria, Error, Fetched, Known, Limits, Messages, Partition, Position, Progress, Reader, Result, Source, pause,
    register,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// The time of the message at offset 0; each further one is made a second later.
const FIRST_MS: i64 = 1_767_225_600_000;

#[derive(Clone)]
struct Script {
    topic: String,
    text: String,
}

impl Script {
    fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned(), text: String::new() }
    }

    /// As it is now. A call looks once: what it says of a partition belongs together.
    fn now(&self) -> Self {
        let text = fs::read_to_string(format!("/{}/script", self.topic)).unwrap_or_default();
        Self { text, ..self.clone() }
    }

    /// The words of all lines.
    fn lines(&self) -> Vec<Vec<String>> {
        self.text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }

    /// The words behind `begin`, of every line that begins so.
    fn behind(&self, begin: &[&str]) -> Vec<Vec<String>> {
        let rest = |line: Vec<String>| {
            let fits = line.len() >= begin.len() && line.iter().zip(begin).all(|(word, begin)| word == begin);
            fits.then(|| line.get(begin.len()..).unwrap_or_default().to_vec())
        };
        self.lines().into_iter().filter_map(rest).collect()
    }

    fn numbers(&self, begin: &[&str]) -> Vec<Vec<u64>> {
        let parsed = |line: Vec<String>| line.iter().map_while(|word| word.parse().ok()).collect();
        self.behind(begin).into_iter().map(parsed).collect()
    }

    #[expect(clippy::expect_used, reason = "it is to crash")]
    fn append(&self, file: &str, line: &str) -> usize {
        let path = format!("/{}/{file}", self.topic);
        let mut open = fs::OpenOptions::new().create(true).append(true).open(&path).expect("a granted directory");
        writeln!(open, "{line}").expect("room");
        fs::read_to_string(&path).map_or(0, |text| text.lines().count())
    }

    /// Does what is said of all calls of this kind.
    fn act(&self, call: &str) -> Result<()> {
        for words in self.behind(&[call]) {
            match words.first().map(String::as_str) {
                Some("down") => return Err(Error::retriable("troubled.down", "the broker is down")),
                Some(deed @ ("hang" | "crash")) => {
                    let most = words.get(1).and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
                    let file = format!("{call}-{deed}");
                    let done = fs::read_to_string(format!("/{}/{file}", self.topic)).unwrap_or_default();
                    if done.lines().count() < most {
                        self.append(&file, "x");
                        assert!(deed == "hang", "as ordered");
                        loop {
                            pause(Duration::from_secs(1));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The earliest and the latest offset of a partition.
    fn range(&self, partition: u32) -> Option<(u64, u64)> {
        let all = self.numbers(&["partition", &partition.to_string()]);
        all.first().and_then(|numbers| Some((*numbers.first()?, *numbers.get(1)?)))
    }

    fn has(&self, word: &str, partition: u32, offset: Option<u64>) -> bool {
        let all = self.numbers(&[word, &partition.to_string()]);
        all.iter().any(|numbers| offset.is_none_or(|offset| numbers.first() == Some(&offset)))
    }
}

struct Troubled(Script);

impl Source for Troubled {
    type Settings = Settings;
    type Reader = One;

    fn open(topic: &str, _: Settings) -> Result<Self> {
        Ok(Self(Script::of(topic)))
    }

    fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
        let script = self.0.now();
        script.act("list")?;
        let one = |words: Vec<String>| {
            let id: u32 = words.first()?.parse().ok()?;
            let label = words.get(3).cloned().unwrap_or_else(|| format!("p{id}"));
            Some(Partition { id, label, ended: script.has("ended", id, None) })
        };
        Ok(script.behind(&["partition"]).into_iter().filter_map(one).collect())
    }

    fn resolve(&mut self, partition: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        let script = self.0.now();
        script.act("list")?;
        let Some((earliest, latest)) = script.range(partition) else { return Ok(None) };
        Ok(match at {
            Criteria::Earliest => Some(Position::at(earliest)),
            Criteria::Latest => Some(Position::at(latest)),
            Criteria::AtOffset(offset) => Some(Position::at(offset.clamp(earliest, latest))),
            Criteria::AtTimeMs(_) => None,
        })
    }

    fn read(&mut self, partition: u32) -> Result<One> {
        Ok(One { script: self.0.clone(), partition })
    }
}

struct One {
    script: Script,
    partition: u32,
}

impl Reader for One {
    #[expect(clippy::panic, reason = "it is to crash")]
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        let (script, partition) = (self.script.now(), self.partition);
        script.act("fetch")?;
        if script.has("down", partition, None) {
            return Err(Error::retriable("troubled.down", format!("partition {partition} is down")));
        }
        let Some((earliest, latest)) = script.range(partition) else {
            return Err(Error::retriable("troubled.gone", format!("partition {partition} is not there")));
        };
        if !(earliest..=latest).contains(&start.offset) {
            return Err(Error::OutOfRange { earliest: Position::at(earliest), latest: Position::at(latest) });
        }
        let most = if script.has("slow", partition, None) { 1 } else { limits.messages as u64 };
        let end = latest.min(start.offset.saturating_add(most));
        let mut messages = Messages::default();
        for offset in start.offset..end {
            if script.has("crash", partition, Some(offset)) {
                panic!("over {offset}");
            }
            let made = FIRST_MS + 1000 * i64::try_from(offset).unwrap_or(0);
            if script.has("null", partition, Some(offset)) {
                messages.add_null(offset).key(b"gone").timestamp_ms(made);
                continue;
            }
            let text = format!("{{\"p\":{partition},\"n\":{offset}}}");
            let text = if script.has("poison", partition, Some(offset)) { "nope".to_owned() } else { text };
            messages.add(offset, text.as_bytes()).timestamp_ms(made);
        }
        let progress = if end == latest && script.has("ended", partition, None) {
            Progress::Ended
        } else if messages.is_empty() {
            Progress::Idle
        } else {
            Progress::More
        };
        Ok(Fetched { messages, next: Position::at(end), high_watermark: Some(latest), progress })
    }

    fn committed(&mut self, upto: Position) -> Result<()> {
        self.script.append("committed", &format!("{} {}", self.partition, upto.offset));
        Ok(())
    }
}

register! { name: "troubled", summary: "has the troubles that a file names", source: Troubled }
