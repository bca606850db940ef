//! Keeps rows whose column is large enough; answers with a mask, so that no row crosses.

use spout_guest::{Answer, Handler, Input, Result, State, register};

/// Settings of the handler.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Column to look at.
    column: String,
    /// Smallest value that passes.
    least: i64,
}

/// A running handler.
#[derive(Debug)]
pub struct KeepLarge(Settings);

impl Handler for KeepLarge {
    type Settings = Settings;

    fn open(settings: Settings, _: State) -> Result<Self> {
        Ok(Self(settings))
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        let column = input.column(&self.0.column)?;
        Ok(Answer::mask((0..input.rows()).map(|row| column.i64(row).is_some_and(|value| value >= self.0.least))))
    }
}

register! { name: "keep-large", summary: "keeps rows whose column is large enough", handler: KeepLarge }
