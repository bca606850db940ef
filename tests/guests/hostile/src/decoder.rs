//! A decoder into one column, or into nonsense.

use std::cell::Cell;

use crate::{
    Hostile, Plan,
    bindings::{
        exports::spout::plugin::decoder::{Decoded, Decoding, Error, Guest, GuestDecoding, Messages, RowFault},
        spout::plugin::types::Field,
    },
    deed::{act, poisoned},
    parts::{declared, spoil, texts},
};

pub(crate) struct Texts {
    plan: Plan,
    told: Cell<bool>,
}

impl Guest for Hostile {
    type Decoding = Texts;
}

impl GuestDecoding for Texts {
    fn open(
        _name: String,
        _topic: String,
        _fields: Option<Vec<String>>,
        _schema: Option<String>,
        settings: Vec<(String, String)>,
    ) -> Result<Decoding, Error> {
        let plan = Plan::new(&settings);
        act(&plan, "decoding-open")?;
        Ok(Decoding::new(Self { plan, told: Cell::new(false) }))
    }

    fn output(&self) -> Result<Option<Vec<Field>>, Error> {
        act(&self.plan, "decoding-output")?;
        Ok(declared(self.plan.mode("decoding-output")))
    }

    fn decode(&self, input: Messages) -> Result<Decoded, Error> {
        act(&self.plan, "decode")?;
        let mode = self.plan.mode("decode");
        let bytes = &input.values.bytes;
        let values: Vec<&[u8]> =
            input.values.bounds.windows(2).map(|pair| &bytes[pair[0] as usize..pair[1] as usize]).collect();
        if values.iter().any(|value| value.ends_with(b"7}")) {
            poisoned(mode);
        }
        let (mut schema, mut batch) = texts(&values);
        spoil(mode, &mut schema, &mut batch);
        let fault = |message| RowFault { message, code: "test\u{1b}[2J".into(), reason: "x".repeat(100_000) };
        let (mut origins, mut faults) = (Vec::new(), Vec::new());
        match mode {
            "origins-beyond" => origins = vec![u32::MAX; values.len()],
            "origins-few" => origins = vec![0],
            "faults-beyond" => faults = vec![fault(u32::MAX)],
            "faults-fall" => faults = vec![fault(1), fault(0)],
            "fault" => {
                faults = vec![fault(0)];
                (schema, batch) = texts(values.get(1..).unwrap_or_default());
            }
            "rows-lost" => (schema, batch) = texts(&values[..1]),
            _ => {}
        }
        let first = !self.told.replace(true);
        let schema = (first && mode != "no-schema").then_some(schema);
        Ok(Decoded { schema, batch, origins, faults, unknown: Vec::new() })
    }
}
