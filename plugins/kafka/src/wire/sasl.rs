//! Frames that carry SASL.

use bytes::Bytes;

use crate::{
    trouble::Malformed,
    wire::{Api, Input},
};

type Result<T> = std::result::Result<T, Malformed>;

pub(crate) const SASL_HANDSHAKE: Api = Api { key: 17, name: "SaslHandshake", versions: &[1], flexible: i16::MAX };
pub(crate) const SASL_AUTHENTICATE: Api = Api { key: 36, name: "SaslAuthenticate", versions: &[0, 1], flexible: 2 };

/// An error, and the mechanisms that the broker takes.
pub(crate) fn handshaken(mut input: Input) -> Result<(i16, Vec<String>)> {
    let code = input.i16()?;
    Ok((code, input.each(|input| Ok(input.text()?.unwrap_or_default()))?))
}

/// An error with its message, and what the other side says.
pub(crate) fn authenticated(mut input: Input) -> Result<(i16, String, Bytes)> {
    Ok((input.i16()?, input.text()?.unwrap_or_default(), input.bytes()?))
}
