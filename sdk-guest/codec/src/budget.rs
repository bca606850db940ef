//! What the columns of one call may take. Nulls take room too, so a few bytes can stand for many rows of many columns.

use crate::{ArrayBuilder, Error, Result};

/// Code of the error of a call whose columns would take more than they may.
pub const TOO_LARGE: &str = "batch.size";

/// Values that room is reserved for before any is there, over all columns.
pub(crate) const RESERVED: usize = 1 << 20;

/// What the columns of one call may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    most: usize,
    /// It is used up: what else the call does is for nothing.
    full: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { most: usize::MAX, full: false }
    }
}

impl Budget {
    /// A budget of `most` bytes.
    pub(crate) fn of(most: usize) -> Self {
        Self { most, full: false }
    }

    /// Whether it is used up.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether there is room for so many values, of eight bytes each.
    #[inline]
    pub(crate) fn admits(&mut self, values: usize) -> bool {
        if values > self.most / 8 {
            self.full = true;
        }
        !self.full
    }

    /// Ends a call whose columns are `builders`, with `rows` rows.
    ///
    /// # Errors
    /// [`TOO_LARGE`]: they are empty then.
    pub(crate) fn settle(&mut self, builders: &mut [ArrayBuilder], rows: usize) -> Result<()> {
        let size = builders.iter().map(|builder| builder.size(rows)).fold(0, usize::saturating_add);
        if !std::mem::take(&mut self.full) && size <= self.most {
            return Ok(());
        }
        builders.iter_mut().for_each(|builder| builder.truncate(0));
        Err(Error::batch(TOO_LARGE, format!("the columns would take more than {} bytes", self.most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decode, Field, Input, Schema, csv, graphite, influx, json, schema_text, syslog};

    /// `count` columns of integers, and `more`.
    fn wide(count: usize, more: Vec<Field>) -> Schema {
        let column = |at| Field::new(format!("c{at}"), crate::DataType::Int64);
        Schema::new((0..count).map(column).chain(more).collect())
    }

    /// Whether one message, and then an honest one, pass within `most` bytes.
    fn passes(decoder: &mut dyn Decode, message: &str, honest: &str, most: usize) -> bool {
        let decode = |decoder: &mut dyn Decode, message: &str| {
            let bounds = [0, u32::try_from(message.len()).unwrap()];
            decoder.limit(most);
            decoder.decode(&Input { bounds: &bounds, bytes: message.as_bytes(), ..Input::default() })
        };
        let passes = match decode(decoder, message) {
            Err(Error::Batch { code: TOO_LARGE, .. }) => false,
            decoded => {
                assert_eq!(decoded.unwrap().faults, []);
                true
            }
        };
        let after = decode(decoder, honest).unwrap();
        assert_eq!((after.batch.rows(), after.faults.len()), (1, 0), "the next call begins anew");
        passes
    }

    #[test]
    fn nulls_take_room_too() {
        let lines = |line: &str| line.repeat(100);
        let mut influx = influx::Influx::new::<()>(&influx::Settings::default(), Some(wide(1000, Vec::new()))).unwrap();
        let mut graphite = graphite::Graphite::new::<()>(
            &graphite::Settings::default(),
            Some(wide(999, vec![Field::new("value", crate::DataType::Float64)])),
        )
        .unwrap();
        let mut csv = csv::Csv::new::<()>(&csv::Settings::default(), Some(wide(1000, Vec::new())), None).unwrap();
        let fields: Vec<String> = (0..1000).map(|at| format!("\"c{at}\":\"int64\"")).collect();
        let lists = schema_text::parse(&format!("{{\"a\":[{{{}}}]}}", fields.join(","))).unwrap();
        let mut json = json::Json::new::<()>(&json::Settings::default(), Some(lists), None).unwrap();
        let items = format!("{{\"a\":[{}{{}}]}}", "{},".repeat(99));
        let cases: [(&mut dyn Decode, String, &str); 4] = [
            (&mut influx, lines("m c1=1i\n"), "m c1=1i"),
            (&mut graphite, lines("a 1 1\n"), "a 1 1"),
            (&mut csv, format!("c1,x\n{}", lines("1,2\n")), "c1,x\n1,2\n"),
            (&mut json, items, r#"{"a":[{"c1":1}]}"#),
        ];
        for (decoder, message, honest) in cases {
            assert!(passes(decoder, &message, honest, 1 << 20), "{decoder:?}");
            assert!(!passes(decoder, &message, honest, 200 << 10), "100 rows of 1000 columns: {message:.20}");
        }
    }

    #[test]
    fn a_message_does_not_cost_more_than_it_brings() {
        let check = |decoder: &mut dyn Decode, message: String, part: &str| {
            let bounds = [0, u32::try_from(message.len()).unwrap()];
            let decoded = decoder.decode(&Input { bounds: &bounds, bytes: message.as_bytes(), ..Input::default() });
            let faults = decoded.unwrap().faults;
            assert!(faults.len() == 1 && faults[0].reason.contains(part), "{faults:?}");
        };
        let many = |count: usize, one: fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>();
        let mut influx = influx::Influx::new::<()>(&influx::Settings::default(), None).unwrap();
        check(
            &mut influx,
            format!("m {}", many(140_000, |at| format!("f{at}=1")).join(",")),
            "more than 131072 tags and fields, near `f131072=1",
        );
        check(
            &mut influx,
            format!("m{} f=1", many(140_000, |at| format!(",t{at}=1")).concat()),
            "more than 131072 tags and fields",
        );
        let mut graphite = graphite::Graphite::new::<()>(&graphite::Settings::default(), None).unwrap();
        check(
            &mut graphite,
            format!("a{} 1 1", many(140_000, |at| format!(";t{at}=1")).concat()),
            "more than 131072 tags",
        );
        check(&mut graphite, "a 1 1\n".repeat((1 << 19) + 1), "more than 524288 values in one message");
        let settings = syslog::Settings::<()> { structured_data: syslog::StructuredData::Map, ..Default::default() };
        let mut syslog = syslog::Syslog::new(&settings, None).unwrap();
        let params = many(1000, |at| format!(" p{at}=\"\"")).concat();
        check(&mut syslog, format!("<1>1 - - - - - [{}{params}]", "i".repeat(1 << 16)), "more than 4194304 bytes");
        let params = many(70_000, |at| format!(" p{at}=\"\"")).concat();
        check(&mut syslog, format!("<1>1 - - - - - [i{params}]"), "more than 65536 parameters");
    }

    #[test]
    fn headers_that_differ_make_no_table_of_any_width() {
        let mut inference = csv::Inference::new::<()>(&csv::Settings::default()).unwrap();
        for document in 0..3 {
            let names: Vec<String> = (0..3000).map(|at| format!("c{document}x{at}")).collect();
            let text = format!("id,{}\n1{}\n", names.join(","), ",2".repeat(3000));
            let bounds = [0, u32::try_from(text.len()).unwrap()];
            inference.add(&Input { bounds: &bounds, bytes: text.as_bytes(), ..Input::default() }).unwrap();
        }
        assert_eq!(inference.schema().fields().len(), csv::MAX_COLUMNS);
    }
}
