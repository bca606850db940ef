//! A handler that forwards, or answers with rows that do not exist.

use crate::{
    Hostile, Plan,
    bindings::{
        exports::spout::plugin::handler::{Error, Guest, GuestNode, Node, Output, Rows, Table},
        spout::plugin::data::Batch,
    },
    deed::{act, poisoned},
    parts::{spoil, texts},
};

pub(crate) struct Forward {
    plan: Plan,
}

impl Guest for Hostile {
    type Node = Forward;
}

fn one(rows: Rows) -> Vec<Output> {
    vec![Output { port: String::new(), rows }]
}

/// One bit a value, set where it is even.
fn even(values: &[u8]) -> Vec<u8> {
    let byte = |eight: &[u8; 64]| {
        let bit = |at: usize| u8::from(eight[at * 8] & 1 == 0) << at;
        bit(0) | bit(1) | bit(2) | bit(3) | bit(4) | bit(5) | bit(6) | bit(7)
    };
    let (whole, rest) = values.as_chunks::<64>();
    let tail = rest.chunks_exact(8).enumerate().fold(0, |byte, (at, value)| byte | u8::from(value[0] & 1 == 0) << at);
    whole.iter().map(byte).chain((!rest.is_empty()).then_some(tail)).collect()
}

impl GuestNode for Forward {
    fn open(_name: String, settings: Vec<(String, String)>, _state: Option<Vec<u8>>) -> Result<Node, Error> {
        let plan = Plan::new(&settings);
        act(&plan, "node-open")?;
        Ok(Node::new(Self { plan }))
    }

    fn process(&self, _port: String, input: &Batch) -> Result<Vec<Output>, Error> {
        act(&self.plan, "process")?;
        let rows = input.rows();
        let (mut schema, mut batch) = texts(&[b"a", b"b"]);
        Ok(match self.plan.mode("process") {
            "" => one(Rows::All),
            "mask" => one(Rows::Masked(vec![0xff; rows.div_ceil(8) as usize])),
            // What a filter does: reads one column of 64-bit integers, answers with a bitmap.
            "mask-even" => one(Rows::Masked(even(&input.read(&[0]).buffers[1]))),
            mode @ ("poison" | "poison-spin") => {
                if input.read(&[0]).buffers[2].windows(2).any(|pair| pair == b"7}") {
                    poisoned(mode);
                }
                one(Rows::All)
            }
            "look" => {
                input.read(&[0]);
                one(Rows::All)
            }
            "look-at-nothing" => {
                input.read(&[]);
                one(Rows::All)
            }
            "mask-short" => one(Rows::Masked(Vec::new())),
            "mask-long" => one(Rows::Masked(vec![0xff; rows as usize + 1])),
            "taken-beyond" => one(Rows::Taken(vec![rows])),
            "taken-twice" => one(Rows::Taken(vec![0; 10_000])),
            "columns-few" => one(Rows::WithColumns(Table { schema: Some(schema), batch })),
            "read-beyond" => {
                input.read(&[99]);
                one(Rows::All)
            }
            "read-often" => {
                input.read(&vec![0; 1 << 20]);
                one(Rows::All)
            }
            "read" => {
                let columns: Vec<u32> =
                    (0..input.schema().iter().filter(|field| field.children == 0).count() as u32).collect();
                let parts = input.read(&columns);
                assert_eq!(parts.rows, rows);
                one(Rows::Fresh(Table { schema: Some(input.schema()), batch: parts }))
            }
            "many" => (0..100_000).flat_map(|_| one(Rows::All)).collect(),
            mode => {
                spoil(mode, &mut schema, &mut batch);
                one(Rows::Fresh(Table { schema: Some(schema), batch }))
            }
        })
    }

    fn tick(&self, _watermark_ms: u64) -> Result<Vec<Output>, Error> {
        act(&self.plan, "tick")?;
        Ok(if self.plan.mode("tick") == "all" { one(Rows::All) } else { Vec::new() })
    }

    fn finish(&self) -> Result<Vec<Output>, Error> {
        act(&self.plan, "finish")?;
        Ok(if self.plan.mode("finish") == "all" { one(Rows::All) } else { Vec::new() })
    }

    fn snapshot(&self) -> Result<Vec<u8>, Error> {
        act(&self.plan, "snapshot")?;
        Ok(Vec::new())
    }
}
