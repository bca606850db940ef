//! A handler that forwards, or answers with rows that do not exist.

use crate::{
    Hostile, Plan,
    bindings::{
        exports::spout::plugin::handler::{Error, Guest, GuestNode, Node, Rows, Settings, Table, Ticked},
        spout::plugin::{data::Batch, types::Field},
    },
    deed::{act, next_number, poisoned},
    parts::{declared, spoil, texts},
};

pub(crate) struct Forward {
    plan: Plan,
}

impl Guest for Hostile {
    type Node = Forward;
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
    fn open(_name: String, settings: Settings, _state: Option<Vec<u8>>) -> Result<Node, Error> {
        let plan = Plan::new(&settings);
        act(&plan, "node-open")?;
        Ok(Node::new(Self { plan }))
    }

    fn output(&self, _input: &Batch) -> Result<Option<Vec<Field>>, Error> {
        act(&self.plan, "node-output")?;
        Ok(declared(self.plan.mode("node-output")))
    }

    fn process(&self, input: &Batch) -> Result<Option<Rows>, Error> {
        act(&self.plan, "process")?;
        let rows = input.rows();
        let (mut schema, mut batch) = texts(&[b"a", b"b"]);
        Ok(Some(match self.plan.mode("process") {
            "" => Rows::All,
            mode if mode.starts_with("trap-") => Rows::All,
            "mask" => Rows::Masked(vec![0xff; rows.div_ceil(8) as usize]),
            // What a filter does: reads one column of 64-bit integers, answers with a bitmap.
            "mask-even" => Rows::Masked(even(&input.read(&[0]).buffers[1])),
            mode @ ("poison" | "poison-spin") => {
                if input.read(&[0]).buffers[2].windows(2).any(|pair| pair == b"7}") {
                    poisoned(mode);
                }
                Rows::All
            }
            // Numbers rows, from keyed state; crashes over one, its number already kept.
            "poison-keep" => {
                let poison = input.read(&[0]).buffers[2].windows(2).any(|pair| pair == b"7}");
                let numbers: Vec<Vec<u8>> = (0..rows).map(|_| next_number().to_string().into_bytes()).collect();
                assert!(!poison, "as ordered");
                let (schema, batch) = texts(&numbers.iter().map(Vec::as_slice).collect::<Vec<_>>());
                Rows::WithColumns(Table { schema: Some(schema), batch })
            }
            "look" => {
                input.read(&[0]);
                Rows::All
            }
            "look-at-nothing" => {
                input.read(&[]);
                Rows::All
            }
            "mask-short" => Rows::Masked(Vec::new()),
            "mask-long" => Rows::Masked(vec![0xff; rows as usize + 1]),
            "taken-beyond" => Rows::Taken(vec![rows]),
            "taken-twice" => Rows::Taken(vec![0; 10_000]),
            "columns-few" => Rows::WithColumns(Table { schema: Some(schema), batch }),
            "read-beyond" => {
                input.read(&[99]);
                Rows::All
            }
            "read-often" => {
                input.read(&vec![0; 1 << 20]);
                Rows::All
            }
            "read" => {
                let columns: Vec<u32> =
                    (0..input.schema().iter().filter(|field| field.children == 0).count() as u32).collect();
                let parts = input.read(&columns);
                assert_eq!(parts.rows, rows);
                Rows::Fresh(Table { schema: Some(input.schema()), batch: parts })
            }
            "nothing" => return Ok(None),
            mode => {
                spoil(mode, &mut schema, &mut batch);
                Rows::Fresh(Table { schema: Some(schema), batch })
            }
        }))
    }

    fn tick(&self, _watermark_ms: i64) -> Result<Ticked, Error> {
        act(&self.plan, "tick")?;
        Ok(Ticked { rows: self.table("tick"), next_ms: None })
    }

    fn finish(&self) -> Result<Option<Table>, Error> {
        act(&self.plan, "finish")?;
        Ok(self.table("finish"))
    }

    fn snapshot(&self) -> Result<Vec<u8>, Error> {
        act(&self.plan, "snapshot")?;
        Ok(Vec::new())
    }
}

impl Forward {
    /// Rows that are wrong, if that is what to answer to `call`.
    fn table(&self, call: &str) -> Option<Table> {
        let mode = Some(self.plan.mode(call)).filter(|mode| !mode.is_empty() && !mode.starts_with("trap-"))?;
        let (mut schema, mut batch) = texts(&[b"a", b"b"]);
        spoil(mode, &mut schema, &mut batch);
        Some(Table { schema: Some(schema), batch })
    }
}
