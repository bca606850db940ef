//! The format of a file whose rows become a table, and the name of that table.

use clap::ValueEnum;
use spout_api::Error;
use spout_format::Format;

/// The format of a file to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormat {
    /// By the file extension.
    Auto,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
}

impl TableFormat {
    /// The format of the file of this name.
    pub(super) fn of(self, name: &str) -> Result<Format, Error> {
        let unknown = || Error::Import {
            file: name.to_owned(),
            what: "a table",
            why:
                "its name does not end in .csv, .ndjson, .jsonl, .parquet or .arrow; name the format, as in --table=csv"
                    .into(),
        };
        match self {
            Self::Auto => Format::of_path(name).ok_or_else(unknown),
            Self::Csv => Ok(Format::Csv),
            Self::Ndjson => Ok(Format::Ndjson),
            Self::Parquet => Ok(Format::Parquet),
            Self::Arrow => Ok(Format::Arrow),
        }
    }
}

/// The name that a table has which is taken out of the file `path`: what it is from then on is Parquet.
pub(super) fn renamed(path: &str) -> String {
    match Format::of_path(path).zip(path.rsplit_once('.')) {
        Some((_, (stem, _))) => format!("{stem}.parquet"),
        None => format!("{path}.parquet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_file_is() {
        assert!(TableFormat::Auto.of("a.txt").is_err_and(|error| error.to_string().contains("--table=csv")));
        assert_eq!(TableFormat::Auto.of("a.csv").ok(), Some(Format::Csv));
        assert_eq!((renamed("/a/x.csv"), renamed("/a/x")), ("/a/x.parquet".to_owned(), "/a/x.parquet".to_owned()));
    }
}
