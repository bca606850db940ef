//! `log`: writes columns and rows to the host's log, and passes everything on.
//!
//! ```yaml
//! - {type: log, level: debug, rows: 3}
//! ```

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef, util::pretty::pretty_format_batches};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Builder, Error, Handled, Handler, Kept, Shape, Source,
    spec::{HandlerSpec, Parts},
};

/// Writes the columns, and the first rows of every batch, to the host's log. What is logged depends on how rows are cut into
/// batches; what is passed on does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The level, as in `debug`; `spout run` shows `info`, and others if `SPOUT_LOG` says so.
    #[serde(default)]
    pub level: Level,
    /// How many rows of each batch, as in `3`; 0 for the columns alone.
    #[serde(default = "five")]
    pub rows: usize,
}

#[async_trait]
impl HandlerSpec for LogSpec {
    fn describe(&self) -> String {
        match self.rows {
            0 => "logs the columns".to_owned(),
            rows => format!("logs the columns and up to {rows} rows of each batch"),
        }
    }

    fn row_by_row(&self) -> bool {
        true
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Log::new(self)))
    }
}

fn five() -> usize {
    5
}

/// The level that is logged at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For debugging the host.
    Trace,
    /// For debugging a pipeline.
    Debug,
    /// For everybody.
    #[default]
    Info,
    /// For something that should not happen.
    Warn,
    /// For something that must not happen.
    Error,
}

/// A running `log`.
#[derive(Debug)]
struct Log {
    spec: LogSpec,
    seen: Option<SchemaRef>,
}

impl Log {
    /// A log as `spec` says.
    fn new(spec: &LogSpec) -> Self {
        Self { spec: spec.clone(), seen: None }
    }

    fn log(&self, what: &str, text: &str) {
        let handler = self.spec.id.as_str();
        match self.spec.level {
            Level::Trace => tracing::trace!(handler, "{what}\n{text}"),
            Level::Debug => tracing::debug!(handler, "{what}\n{text}"),
            Level::Info => tracing::info!(handler, "{what}\n{text}"),
            Level::Warn => tracing::warn!(handler, "{what}\n{text}"),
            Level::Error => tracing::error!(handler, "{what}\n{text}"),
        }
    }

    fn look(&mut self, batch: &RecordBatch, from: Source) {
        let schema = batch.schema_ref();
        if self.seen.as_ref() != Some(schema) {
            self.seen = Some(Arc::clone(schema));
            let columns = schema.fields().iter().map(|field| format!("  {}: {}", field.name(), field.data_type()));
            self.log("columns", &columns.collect::<Vec<_>>().join("\n"));
        }
        let shown = batch.num_rows().min(self.spec.rows);
        if shown > 0 {
            let of = match from {
                Source::Partition(partition) => format!("partition {partition}"),
                Source::Merged => "all partitions".into(),
            };
            match pretty_format_batches(&[batch.slice(0, shown)]) {
                Ok(table) => self.log(&format!("{shown} of {} rows of {of}", batch.num_rows()), &table.to_string()),
                Err(error) => self.log("rows that cannot be shown", &error.to_string()),
            }
        }
    }
}

#[async_trait]
impl Handler for Log {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        Ok(input.clone())
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        self.look(&batch, from);
        Ok(Handled::one(batch, Kept::All))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::Mutex,
    };

    use serde_json::json;

    use super::*;
    use crate::tests::cuts::{Trial, readings};

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<Vec<u8>>>);

    impl Write for Text {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn columns_are_logged_once_and_rows_of_each_batch() {
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let spec: LogSpec = serde_json::from_value(json!({"id": "l", "level": "debug", "rows": 1})).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let mut log = Log::new(&spec);
            log.look(&readings(1, 3), Source::Partition(7.into()));
            log.look(&readings(2, 2), Source::Merged);
        });
        let text = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("value: Float64").count(), 1, "{text}");
        for part in ["DEBUG", "handler=\"l\"", "1 of 3 rows of partition 7", "1 of 2 rows of all partitions"] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn lines_have_the_level_that_the_spec_names() {
        for level in ["trace", "debug", "info", "warn", "error"] {
            let text = Text::default();
            let writer = text.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .finish();
            let spec: LogSpec = serde_json::from_value(json!({"id": "l", "level": level, "rows": 1})).unwrap();
            tracing::subscriber::with_default(subscriber, || Log::new(&spec).look(&readings(1, 1), Source::Merged));
            let text = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
            let word = format!(" {} ", level.to_uppercase());
            let lines: Vec<&str> = text.lines().filter(|line| line.contains("spout_node")).collect();
            assert!(lines.len() == 2 && lines.iter().all(|line| line.contains(&word)), "{level}: {text}");
        }
    }

    #[tokio::test]
    async fn the_same_rows_under_any_cut() {
        let trial = Trial::new(json!([{"type": "log", "level": "trace"}]), &[readings(1, 30)]);
        assert_eq!(trial.same_under_any_cut(5).await.rows.len(), 30);
    }
}
