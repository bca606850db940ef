//! Which requests a broker knows, and in which versions.

use std::collections::BTreeMap;

use spout_guest::{Error, Result};

use crate::{
    trouble::{self, Malformed},
    wire::{Api, Input, Output},
};

/// Asks for them.
pub(crate) fn ask(_: &mut Output) {}

/// The lowest and the highest version of each request that a broker knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    pub(crate) fn read(mut input: Input) -> std::result::Result<(i16, Self), Malformed> {
        let code = input.i16()?;
        let all = input.each(|input| Ok((input.i16()?, (input.i16()?, input.i16()?))))?;
        Ok((code, Self(all.into_iter().collect())))
    }

    /// The best version of `api` that both sides know.
    pub(crate) fn best(&self, api: Api) -> Result<i16> {
        let (low, high) = self.0.get(&api.key).copied().unwrap_or((0, -1));
        api.versions.iter().copied().find(|version| (low..=high).contains(version)).ok_or_else(|| {
            let what = format!(
                "the broker does not know the request {} in a version of {:?}, but {low} to {high}; brokers from 0.11 on do",
                api.name, api.versions
            );
            Error::fatal("kafka.version", what)
        })
    }

    pub(crate) fn checked((code, versions): (i16, Self)) -> Result<Self> {
        if code == 0 { Ok(versions) } else { Err(trouble::refused("asking for its versions", code)) }
    }
}
