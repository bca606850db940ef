//! What can go wrong between rows and the bytes of a file.

use spout_base::error::{Cause, Coded, Kind};

/// An error of the format room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Rows do not fit the format.
    #[error("rows cannot be written as {format}; change the column types or the commit format")]
    Encode { format: &'static str, source: Cause },
    /// A column does not fit the format.
    #[error(
        "column `{column}` of type {data_type} cannot be stored in {format} files; commit in another format (parquet takes most), or map the column to another type"
    )]
    NotStorable { column: String, data_type: String, format: &'static str },
    /// A value does not fit the format.
    #[error("row {row} cannot be stored in {format} files: {reason}; change the value, or leave the row out")]
    Misfit { format: &'static str, row: usize, reason: String },
    /// Bytes are not of the format.
    #[error("{path} cannot be read as {format}")]
    Decode { path: String, format: &'static str, source: Cause },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Decode { .. } => Kind::Corrupt,
            _ => Kind::Spec,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Encode { .. } => "E0540",
            Self::NotStorable { .. } => "E0541",
            Self::Misfit { .. } => "E0572",
            Self::Decode { .. } => "E0542",
        }
    }
}
