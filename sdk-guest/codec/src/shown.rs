//! Rows as tests show them: `1: a=7 b=x`, the message and the columns with a value.

use std::fmt::Write;

use crate::{Array, Attribute, Data, DataType, Decode, Decoded, Input, TimeUnit};

/// Messages of a test, with their common attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    pub(crate) values: Vec<Vec<u8>>,
    /// When all of them were sent.
    pub(crate) sent_ms: Option<i64>,
    /// When their file was written.
    pub(crate) modified_ms: Option<i64>,
}

impl Messages {
    pub(crate) fn new<M: AsRef<[u8]>>(values: &[M]) -> Self {
        Self { values: values.iter().map(|value| value.as_ref().to_vec()).collect(), ..Self::default() }
    }

    /// Decodes those from `from` to `to` in one call.
    pub(crate) fn decode(&self, decoder: &mut dyn Decode, from: usize, to: usize) -> Decoded {
        let values = &self.values[from..to];
        let mut bounds = vec![0];
        values.iter().for_each(|value| bounds.push(bounds.last().unwrap() + u32::try_from(value.len()).unwrap()));
        let sent = vec![self.sent_ms.unwrap_or(0); if self.sent_ms.is_some() { values.len() } else { 0 }];
        let modified =
            self.modified_ms.map(|at| Attribute { first: 0, name: "modified".into(), value: at.to_string().into() });
        let attributes: Vec<_> = modified.into_iter().collect();
        let bytes = values.concat();
        let input = Input { bounds: &bounds, bytes: &bytes, nulls: &[], timestamps_ms: &sent, attributes: &attributes };
        decoder.decode(&input).unwrap()
    }
}

/// Rows and faults, `at` being the index of the first message.
pub(crate) fn told(decoded: &Decoded, at: usize) -> (Vec<String>, Vec<String>) {
    let fields = decoded.batch.schema().fields();
    let row = |row: usize| {
        let mut text = format!("{}:", decoded.origins[row] as usize + at);
        for (field, column) in fields.iter().zip(decoded.batch.columns()) {
            if column.is_valid(row) {
                write!(text, " {}={}", field.name, value(&field.data_type, column, row)).unwrap();
            }
        }
        text
    };
    let fault = |fault: &crate::RowFault| format!("{}: {}: {}", fault.message as usize + at, fault.code, fault.reason);
    ((0..decoded.batch.rows()).map(row).collect(), decoded.faults.iter().map(fault).collect())
}

/// Rows and faults of all `messages`, decoded in one call and in calls that end at `cuts`.
pub(crate) fn cut(decoder: &mut dyn Decode, messages: &Messages, cuts: &[usize]) -> (Vec<String>, Vec<String>) {
    let mut ends: Vec<usize> = cuts.iter().copied().filter(|&at| at < messages.values.len()).collect();
    ends.push(messages.values.len());
    ends.sort_unstable();
    let (mut from, mut rows, mut faults) = (0, Vec::new(), Vec::new());
    for end in ends {
        let (more, wrong) = told(&messages.decode(decoder, from, end), from);
        rows.extend(more);
        faults.extend(wrong);
        from = end;
    }
    (rows, faults)
}

/// Whether the rows are `rows`, and each fault starts with its entry in `faults`.
#[track_caller]
pub(crate) fn check(decoder: &mut dyn Decode, messages: &Messages, rows: &[&str], faults: &[&str]) {
    let got = cut(decoder, messages, &[]);
    assert_eq!(got.0, rows, "{:#?}", got.1);
    assert_eq!(got.1.len(), faults.len(), "{:#?}", got.1);
    for (got, part) in got.1.iter().zip(faults) {
        assert!(got.contains(part), "{got}\nhas no\n{part}");
    }
    let each: Vec<usize> = (1..messages.values.len()).collect();
    assert_eq!(cut(decoder, messages, &each), got, "one message a call");
}

fn value(data_type: &DataType, column: &Array, row: usize) -> String {
    match data_type {
        DataType::Boolean => column.bool(row).unwrap().to_string(),
        DataType::UInt64 => column.u64(row).unwrap().to_string(),
        DataType::Float64 => format!("{:?}", column.f64(row).unwrap()),
        DataType::Timestamp(unit, _) => {
            let unit = match unit {
                TimeUnit::Second => "s",
                TimeUnit::Millisecond => "ms",
                TimeUnit::Microsecond => "us",
                TimeUnit::Nanosecond => "ns",
            };
            format!("{}{unit}", column.i64(row).unwrap())
        }
        DataType::Decimal128(..) => match column.data() {
            Data::Fixed { bytes, .. } => {
                let bytes: [u8; 16] = bytes[16 * row..16 * (row + 1)].try_into().unwrap();
                format!("{}d", i128::from_le_bytes(bytes))
            }
            other => panic!("{other:?}"),
        },
        DataType::Map(_) => match column.data() {
            Data::List { offsets, items, .. } => {
                let entry = |at: i32| {
                    let text = |field: usize| items.fields()[field].str(at as usize).unwrap().to_owned();
                    format!("{}={}", text(0), text(1))
                };
                format!("{{{}}}", (offsets[row]..offsets[row + 1]).map(entry).collect::<Vec<_>>().join(","))
            }
            other => panic!("{other:?}"),
        },
        _ => match (column.i64(row), column.str(row)) {
            (Some(number), _) => number.to_string(),
            (None, Some(text)) => format!("{text:?}"),
            (None, None) => panic!("{data_type:?}"),
        },
    }
}
