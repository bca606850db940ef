//! Gives back what it was given, through the SDK: a handler over columns of any type, a decoder that refuses every setting.

use spout_guest::{
    Answer, Array, Batch, Decoded, Decoder, Error, Handler, Input, Messages, NoSettings, Opening, Result, Schema,
    State, register, schema_text,
};

/// Settings of the handler.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Columns to read; all where none is named.
    #[serde(default)]
    read: Vec<String>,
    /// What to answer: the columns read, as new rows or beside the others; or every other row.
    #[serde(default)]
    answer: Reply,
}

/// What the handler answers.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// New rows.
    #[default]
    Fresh,
    /// All rows, with the columns read put back.
    WithColumns,
    /// Every other row, by a bitmap.
    Mask,
    /// Every other row, by number.
    Take,
}

/// A running handler.
#[derive(Debug)]
pub struct Mirror(Settings);

impl Handler for Mirror {
    type Settings = Settings;

    fn open(settings: Settings, _: State) -> Result<Self> {
        Ok(Self(settings))
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        let schema = input.schema();
        let at: Vec<usize> = match self.0.read.is_empty() {
            true => (0..schema.fields().len()).collect(),
            false => self.0.read.iter().map(|name| schema.position(name)).collect::<std::result::Result<_, _>>()?,
        };
        let columns = input.read(&at)?;
        let fields = at.iter().map(|&at| schema.field(at).cloned()).collect::<std::result::Result<_, _>>()?;
        let batch = Batch::new(Schema::new(fields), columns, input.rows())?;
        Ok(match self.0.answer {
            Reply::Fresh => Answer::Fresh(batch),
            Reply::WithColumns => Answer::WithColumns(batch),
            Reply::Mask => Answer::mask((0..input.rows()).map(|row| row % 2 == 0)),
            Reply::Take => Answer::Take((0..input.rows() as u32).step_by(2).collect()),
        })
    }
}

/// Messages as they are, in one column; a message `crash` crashes.
#[derive(Debug)]
pub struct Lines {
    schema: Schema,
}

impl Decoder for Lines {
    type Settings = NoSettings;

    fn open(_: NoSettings, opening: Opening) -> Result<Self> {
        let ours = schema_text::parse(r#"{"line":"utf8"}"#)?;
        match opening.schema {
            Some(settled) if settled != ours => Err(Error::invalid_config(format!(
                "the settled schema is {settled:?}, and rows have one column `line`"
            ))),
            _ => Ok(Self { schema: ours }),
        }
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        let text = |index| std::str::from_utf8(messages.value(index)).ok();
        let lines: Array = (0..messages.len()).map(text).collect();
        assert!((0..lines.len()).all(|row| lines.str(row) != Some("crash")), "as ordered");
        let batch = Batch::new(self.schema.clone(), vec![lines], messages.len())?;
        Ok(Decoded { batch, ..Decoded::default() })
    }
}

register! { name: "mirror", summary: "gives back what it was given", decoder: Lines, handler: Mirror }
