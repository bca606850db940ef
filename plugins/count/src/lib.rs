//! Counts rows by key: each row gets how often its key was seen so far, over restarts too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_guest::{
    Answer, Array, Batch, DataType, Error, Field, Handler, Input, Keyed, Result, Schema, State, canonical, metrics,
    register,
};

register! { name: "count", summary: "counts rows by key; rows may be held back until their key was seen often enough", handler: Count }

/// Settings of the handler.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Columns that are the key.
    pub keys: Vec<String>,
    /// Name of the column with the count.
    #[serde(rename = "as", default = "count")]
    pub name: String,
    /// Only rows whose count is at least this go on.
    pub min: Option<u64>,
}

fn count() -> String {
    "count".to_owned()
}

/// The counts so far, by the values of the key columns.
#[derive(Debug)]
pub struct Count {
    settings: Settings,
    counts: Keyed<Vec<u8>, u64>,
    /// How many keys there are.
    keys: u64,
}

/// What a snapshot says of the counts.
#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    /// Columns that are the key.
    keys: Vec<String>,
    /// How many keys there are.
    count: u64,
}

impl Handler for Count {
    type Settings = Settings;

    fn open(settings: Settings, state: State) -> Result<Self> {
        if settings.keys.is_empty() {
            return Err(Error::invalid_config("setting `keys` names no column; name at least one"));
        }
        if settings.keys.contains(&settings.name) {
            let what = format!("setting `as` is `{}`, which is also a key; choose another name", settings.name);
            return Err(Error::invalid_config(what));
        }
        let before: Option<Counted> = state.snapshot().map(canonical::from_slice).transpose()?;
        match before {
            Some(before) if before.keys != settings.keys => Err(Error::invalid_config(format!(
                "the stored counts are of the keys {}, not {}; restore `keys` or start on a new branch",
                before.keys.join(", "),
                settings.keys.join(", ")
            ))),
            before => {
                let keys = before.map_or(0, |before| before.count);
                Ok(Self { settings, counts: state.keyed("n"), keys })
            }
        }
    }

    fn output(&self, input: &Schema) -> Result<Option<Schema>> {
        self.settings.keys.iter().try_for_each(|key| input.position(key).map(drop))?;
        Ok(Some(input.with(self.counted(&[])?.schema())))
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        let schema = input.schema();
        let keys = input.keys(&self.settings.keys)?;
        self.counts.load(&keys);
        let counts = keys.iter().map(|key| self.seen(key)).collect::<Result<Vec<_>>>()?;
        metrics::set("keys", self.keys as f64);
        match self.settings.min {
            Some(min) if counts.iter().any(|&count| count < min) => self.enough(input, &schema, &counts, min),
            _ => self.counted(&counts).map(Answer::WithColumns),
        }
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        canonical::to_vec(&Counted { keys: self.settings.keys.clone(), count: self.keys })
    }
}

impl Count {
    /// Counts one more of `key`; how many there are now.
    fn seen(&mut self, key: &Vec<u8>) -> Result<u64> {
        let count = self.counts.update(key, |count| Some(count.unwrap_or(0).saturating_add(1)))?.unwrap_or(0);
        if count == 1 {
            self.keys += 1;
        }
        Ok(count)
    }

    /// The column of counts.
    fn counted(&self, counts: &[u64]) -> Result<Batch> {
        let field = Field { name: self.settings.name.clone(), data_type: DataType::UInt64, nullable: false };
        let column = counts.iter().copied().collect::<Array>();
        Ok(Batch::new(Schema::new(vec![field]), vec![column], counts.len())?)
    }

    /// All columns of the rows that were counted at least `min` times.
    fn enough(&self, input: &dyn Input, schema: &Schema, counts: &[u64], min: u64) -> Result<Answer> {
        let rows: Vec<u32> = (0u32..).zip(counts).filter(|(_, count)| **count >= min).map(|(row, _)| row).collect();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let whole = if rows.is_empty() {
            Batch::empty(schema.clone())
        } else {
            Batch::new(schema.clone(), input.read(&all)?, input.rows())?
        };
        let kept: Vec<u64> = counts.iter().copied().filter(|&count| count >= min).collect();
        Ok(Answer::Fresh(whole.take(&rows).with(&self.counted(&kept)?)))
    }
}

#[cfg(test)]
mod tests;
