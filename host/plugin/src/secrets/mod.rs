//! Secrets of a guest, by handle: it uses them, the host has them.
//!
//! They are read when an instance opens, and go with it. A guest gets what is made of one ([`proofs`]), has it written to an endpoint,
//! or, where the spec says so, sees it. What a guest says is searched for them ([`Masks`]): a server may send one back.
//!
//! **Invariant**: no text of a secret leaves this room but by [`imports`], and no error says one.

mod grant;
pub(crate) mod imports;
mod masks;
mod proofs;

use std::{collections::BTreeMap, sync::Arc};

use spout_base::secret::Secret;

pub use self::grant::SecretGrant;
pub(crate) use self::masks::Masks;

/// The secrets of one instance.
#[derive(Debug, Default)]
pub(crate) struct Secrets(BTreeMap<String, Arc<Granted>>);

/// A secret, and whether it may be seen.
#[derive(Debug)]
pub(crate) struct Granted {
    secret: Secret,
    reveals: bool,
}

impl Secrets {
    /// Those of `grants`; the name of one that cannot be read, and why.
    pub(crate) fn read(grants: &BTreeMap<String, SecretGrant>) -> Result<Self, (String, String)> {
        let read = |(name, grant): (&String, &SecretGrant)| {
            let secret = grant.read().map_err(|reason| (name.clone(), reason))?;
            Ok((name.clone(), Arc::new(Granted { secret, reveals: grant.reveals() })))
        };
        grants.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Secret> {
        self.0.values().map(|granted| &granted.secret)
    }

    fn get(&self, name: &str) -> Option<Arc<Granted>> {
        self.0.get(name).cloned()
    }
}
