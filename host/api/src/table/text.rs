//! CSV and NDJSON: files cut into records, read once for the types of their columns and once for their rows, both times by the
//! decoding core, so that a table has the values that a pipeline would have made of the same records.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
};
use spout_codec::{
    Decode, Input, Unknown,
    csv::{self, Csv, RecordFinder},
    json::{self, Json},
    record_batch,
};
use spout_format::Format;

/// Longest record, in bytes: behind a quote that is not closed all of a file is one.
const RECORD: u64 = 64 << 20;
/// Most records decoded at once, and most bytes of them, unless one record is larger.
const RECORDS: usize = 8192;
const BYTES: usize = 4 << 20;

/// A byte order mark, with which a file may begin.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Rows on their way out of a text.
#[derive(Debug)]
pub(super) struct Rows {
    records: Records,
    decoder: Box<dyn Decode>,
    schema: SchemaRef,
}

impl Rows {
    /// The rows of `file`, which is read from its start. Columns have the types of `known` where it has them, and else those
    /// that keep every value of all rows.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn open(mut file: File, format: Format, known: Option<&Schema>) -> Result<Self, String> {
        file.rewind().map_err(text)?;
        let mut records = Records::open(&file, format)?;
        let (inferred, decoding) = match format {
            Format::Csv => {
                let header = records.record()?.ok_or(EMPTY)?;
                let names = csv::names(&header, csv::Style::default()).map_err(|why| format!("line 1: {why}"))?;
                let settings = csv::Settings::<()> {
                    header: csv::Header::Names(names),
                    unknown: Unknown::Fail,
                    ..Default::default()
                };
                let mut inference = csv::Inference::new(&settings).map_err(text)?;
                // A table without rows has columns too.
                inference.add(&Input::default()).map_err(text)?;
                while let Some(piece) = records.piece()? {
                    inference.add(&piece.input()).map_err(text)?;
                }
                (inference.schema(), Decoding::Csv(settings))
            }
            _ => {
                let settings = json::Settings::<()> { unknown: Unknown::Fail, ..Default::default() };
                let mut inference = json::Inference::new(&settings);
                let mut empty = true;
                while let Some(piece) = records.piece()? {
                    inference.add(&piece.input()).map_err(text)?;
                    empty = false;
                }
                let inferred = inference.schema();
                if inferred.fields().is_empty() {
                    return Err(if empty { EMPTY } else { NO_OBJECT }.into());
                }
                (inferred, Decoding::Json(settings))
            }
        };
        let schema: SchemaRef = settled(&(&inferred).into(), known).into();
        let columns = spout_codec::Schema::try_from(&*schema).map_err(text)?;
        let decoder: Box<dyn Decode> = match decoding {
            Decoding::Csv(settings) => Box::new(Csv::new(&settings, Some(columns), None).map_err(text)?),
            Decoding::Json(settings) => Box::new(Json::new(&settings, Some(columns), None).map_err(text)?),
        };
        file.rewind().map_err(text)?;
        let mut records = Records::open(&file, format)?;
        if format == Format::Csv {
            records.record()?;
        }
        Ok(Self { records, decoder, schema })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, String> {
        let Some(piece) = self.records.piece()? else { return Ok(None) };
        let decoded = self.decoder.decode(&piece.input()).map_err(text)?;
        if let Some(fault) = decoded.faults.first() {
            let line = piece.lines.get(fault.message as usize).copied().unwrap_or_default();
            return Err(format!("line {line}: {}", fault.reason));
        }
        record_batch(decoded.batch, Arc::clone(&self.schema)).map(Some).map_err(text)
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

const EMPTY: &str = "it is empty, so its columns are unknown";
const NO_OBJECT: &str = "no line is a JSON object with a field, so its columns are unknown";

#[derive(Debug)]
enum Decoding {
    Csv(csv::Settings<()>),
    Json(json::Settings<()>),
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Every column can be null, and one without any value is text.
fn settled(inferred: &Schema, known: Option<&Schema>) -> Schema {
    let column = |field: &FieldRef| -> Field {
        match known.and_then(|known| known.field_with_name(field.name()).ok()) {
            Some(there) => there.clone().with_nullable(true),
            None if field.data_type() == &DataType::Null => Field::new(field.name(), DataType::Utf8, true),
            None => field.as_ref().clone().with_nullable(true),
        }
    };
    Schema::new(inferred.fields().iter().map(column).collect::<Fields>())
}

/// The records of a file, from where it stands.
#[derive(Debug)]
struct Records {
    file: BufReader<File>,
    /// For CSV, where line ends within quotes belong to a record.
    finder: Option<RecordFinder>,
    /// The line that the next record begins in.
    line: u64,
}

/// Records that are decoded together.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    bounds: Vec<u32>,
    /// The line that each begins in.
    lines: Vec<u64>,
}

impl Piece {
    fn input(&self) -> Input<'_> {
        Input { bounds: &self.bounds, bytes: &self.bytes, ..Input::default() }
    }
}

impl Records {
    fn open(file: &File, format: Format) -> Result<Self, String> {
        let finder = (format == Format::Csv).then(|| RecordFinder::new(csv::Style::default()));
        Ok(Self { file: BufReader::new(file.try_clone().map_err(text)?), finder, line: 1 })
    }

    /// Appends the next record with its line end; whether there was one.
    fn read(&mut self, to: &mut Vec<u8>) -> Result<bool, String> {
        let begin = to.len();
        let line = self.line;
        loop {
            let from = to.len();
            let left = (RECORD + 1).saturating_sub((from - begin) as u64);
            let read = (&mut self.file).take(left).read_until(b'\n', to).map_err(text)?;
            if to.len() - begin > RECORD as usize {
                return Err(format!(
                    "line {line}: the record is longer than {} MiB; is a quote not closed?",
                    RECORD >> 20
                ));
            }
            let ended = read == 0 || to.last() != Some(&b'\n');
            self.line += u64::from(to.last() == Some(&b'\n') && read > 0);
            let whole = match &mut self.finder {
                Some(finder) => finder.find(to.get(from..).unwrap_or_default()).is_some(),
                None => true,
            };
            if ended || whole {
                return Ok(to.len() > begin);
            }
        }
    }

    /// The next record that is not blank, alone.
    fn record(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut record = Vec::new();
        while self.read(&mut record)? {
            if !record.strip_prefix(MARK).unwrap_or(&record).trim_ascii().is_empty() {
                return Ok(Some(record));
            }
            record.clear();
        }
        Ok(None)
    }

    /// The next records; `None` at the end.
    fn piece(&mut self) -> Result<Option<Piece>, String> {
        let mut piece = Piece::default();
        piece.bounds.push(0);
        while piece.lines.len() < RECORDS && piece.bytes.len() < BYTES {
            let (from, line) = (piece.bytes.len(), self.line);
            if !self.read(&mut piece.bytes)? {
                break;
            }
            if piece.bytes.get(from..).unwrap_or_default().trim_ascii().is_empty() {
                piece.bytes.truncate(from);
                continue;
            }
            piece.bounds.push(u32::try_from(piece.bytes.len()).map_err(text)?);
            piece.lines.push(line);
        }
        Ok((!piece.lines.is_empty()).then_some(piece))
    }
}
