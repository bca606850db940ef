//! Handlers that declare their columns, and keep to them or do not.

use spout_guest::{Answer, Array, Columns, Handler, Input, NoSettings, Result, Schema, State};

fn twice(n: Option<&Array>, rows: usize) -> Columns {
    Columns::new().i64("twice", (0..rows).map(|row| n.and_then(|n| n.i64(row)).map(|n| 2 * n)))
}

/// Adds `twice`.
#[derive(Debug)]
pub(crate) struct Double;

impl Handler for Double {
    type Settings = NoSettings;

    fn open(_: NoSettings, _: State) -> Result<Self> {
        Ok(Self)
    }

    fn output(&self, input: &Schema) -> Result<Option<Schema>> {
        input.position("n")?;
        Ok(Some(input.with(&twice(None, 0).schema())))
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        Ok(Answer::WithColumns(twice(Some(&input.column("n")?), input.rows()).batch()?))
    }
}

/// Adds `twice`, and declares `thrice`.
#[derive(Debug)]
pub(crate) struct Renamed;

impl Handler for Renamed {
    type Settings = NoSettings;

    fn open(_: NoSettings, _: State) -> Result<Self> {
        Ok(Self)
    }

    fn output(&self, input: &Schema) -> Result<Option<Schema>> {
        Ok(Some(input.with(&Columns::new().i64("thrice", [0; 0]).schema())))
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        Ok(Answer::WithColumns(twice(Some(&input.column("n")?), input.rows()).batch()?))
    }
}
