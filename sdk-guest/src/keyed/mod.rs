//! Keyed state: a sorted map that the host holds, and that costs a commit only what changed.

mod cache;
mod key;
mod store;
mod value;

use std::{borrow::Borrow, cell::RefCell, collections::VecDeque, fmt, marker::PhantomData, rc::Rc};

pub(crate) use self::cache::Cache;
pub use self::{
    key::{Encode, Key},
    value::{Json, Value},
};
use crate::{Error, Result};

/// Entries that a scan fetches at once.
const PAGE: u32 = 1024;

/// What a handler left behind in the last commit, and where it keeps more: given to [`Handler::open`](crate::Handler::open).
///
/// Two kinds of state are part of a commit. Keyed state ([`State::keyed`]) may be large: a commit writes the entries that
/// changed. The rest is what [`Handler::snapshot`](crate::Handler::snapshot) returns, given back here whole.
#[derive(Debug, Default)]
pub struct State {
    snapshot: Option<Vec<u8>>,
    cache: Rc<RefCell<Cache>>,
}

impl State {
    pub(crate) fn new(snapshot: Option<Vec<u8>>, cache: Rc<RefCell<Cache>>) -> Self {
        Self { snapshot, cache }
    }

    /// The last snapshot; `None` if there was none, or an empty one.
    #[must_use]
    pub fn snapshot(&self) -> Option<&[u8]> {
        self.snapshot.as_deref().filter(|snapshot| !snapshot.is_empty())
    }

    /// The table `name` of the keyed state. The name is stored with every key: keep it short, and never change it.
    #[must_use]
    pub fn keyed<K: Key, V: Value>(&self, name: &str) -> Keyed<K, V> {
        let mut prefix = Vec::new();
        name.encode(&mut prefix);
        Keyed { cache: Rc::clone(&self.cache), buffer: RefCell::new(prefix.clone()), prefix, types: PhantomData }
    }
}

/// A sorted map held by the host, which may be larger than the plugin's memory.
///
/// Entries are cached and written back with the next snapshot, so that a loop over rows does not call the host for each:
/// [`Keyed::load`] fetches what a batch needs in one call. The state belongs to the commit that holds the rows: after a
/// crash or a restart it is as of that commit. Keys sort as [`Key`] says, tuples by their parts.
///
/// ```
/// use spout_guest::{Keyed, Result, State};
///
/// let state = State::default();
/// let mut seen: Keyed<(String, u64), u64> = state.keyed("seen");
/// seen.put(&("b".into(), 1), &10);
/// seen.put(&("a".into(), 2), &20);
/// seen.update(&("a".into(), 1), |count| Some(count.unwrap_or(0) + 1))?;
/// let of_a: Vec<_> = seen.scan_prefix("a").collect::<Result<_>>()?;
/// assert_eq!(of_a, [(("a".into(), 1), 1), (("a".into(), 2), 20)]);
/// # Ok::<(), spout_guest::Error>(())
/// ```
pub struct Keyed<K, V> {
    cache: Rc<RefCell<Cache>>,
    prefix: Vec<u8>,
    /// The prefix, and behind it the key of the running call.
    buffer: RefCell<Vec<u8>>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> fmt::Debug for Keyed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> Keyed<K, V> {
    /// Fetches the entries of these keys that are not cached, in one call of the host.
    pub fn load<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>)
    where
        K: Borrow<Q>,
        Q: Encode + ?Sized + 'a,
    {
        let mut cache = self.cache.borrow_mut();
        let mut absent = Vec::new();
        for key in keys {
            self.with(key, |key| {
                if !cache.has(key) {
                    absent.push(key.to_vec());
                }
            });
        }
        cache.load(absent);
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// What is stored is not a `V`.
    pub fn get<Q: Encode + ?Sized>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        self.with(key, |key| self.cache.borrow_mut().slot(key, |slot| slot.value().map(read).transpose()))
    }

    /// Sets the value of `key`.
    pub fn put<Q: Encode + ?Sized>(&mut self, key: &Q, value: &V)
    where
        K: Borrow<Q>,
    {
        self.with(key, |key| self.cache.borrow_mut().put(key, |to| value.write(to)));
    }

    /// Removes `key`.
    pub fn remove<Q: Encode + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.with(key, |key| self.cache.borrow_mut().remove(key));
    }

    /// Makes another value of the one of `key`; `None` removes it. Returns the new one.
    ///
    /// # Errors
    /// What is stored is not a `V`.
    pub fn update<Q: Encode + ?Sized>(
        &mut self,
        key: &Q,
        change: impl FnOnce(Option<V>) -> Option<V>,
    ) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        self.with(key, |key| {
            self.cache.borrow_mut().slot(key, |slot| {
                let after = change(slot.value().map(read).transpose()?);
                match &after {
                    Some(value) => slot.set(|to| value.write(to)),
                    None => slot.clear(),
                }
                Ok(after)
            })
        })
    }

    /// All entries, by key. Entries put or removed meanwhile are seen if they come later.
    pub fn scan(&self) -> Scan<K, V> {
        self.scan_from(self.prefix.clone())
    }

    /// The entries whose keys begin with `part`, by key: of tuples, those whose first part it is.
    pub fn scan_prefix<P: Encode + ?Sized>(&self, part: &P) -> Scan<K, V> {
        let mut prefix = self.prefix.clone();
        part.encode(&mut prefix);
        self.scan_from(prefix)
    }

    fn scan_from(&self, prefix: Vec<u8>) -> Scan<K, V> {
        Scan {
            cache: Rc::clone(&self.cache),
            table: self.prefix.len(),
            prefix,
            page: VecDeque::new(),
            after: None,
            types: PhantomData,
        }
    }

    fn with<T>(&self, key: &(impl Encode + ?Sized), call: impl FnOnce(&[u8]) -> T) -> T {
        let mut buffer = self.buffer.borrow_mut();
        buffer.truncate(self.prefix.len());
        key.encode(&mut buffer);
        call(&buffer)
    }
}

fn read<V: Value>(bytes: &[u8]) -> Result<V> {
    let what =
        || format!("{} stored bytes are not a {}; start with an empty state", bytes.len(), std::any::type_name::<V>());
    V::read(bytes).ok_or_else(|| Error::fatal("state.value", what()))
}

/// Entries of a [`Keyed`], by key, fetched page by page.
pub struct Scan<K, V> {
    cache: Rc<RefCell<Cache>>,
    /// Length of the table's own prefix.
    table: usize,
    prefix: Vec<u8>,
    page: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// The last key seen.
    after: Option<Vec<u8>>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> fmt::Debug for Scan<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("prefix", &self.prefix).field("after", &self.after).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> Iterator for Scan<K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() {
            self.page = self.cache.borrow_mut().scan(&self.prefix, self.after.as_deref(), PAGE).into();
        }
        let (key, value) = self.page.pop_front()?;
        let mut rest = key.get(self.table..).unwrap_or_default();
        let read_key = K::decode(&mut rest).filter(|_| rest.is_empty());
        self.after = Some(key);
        let wrong = || Error::fatal("state.key", format!("a stored key is not a {}", std::any::type_name::<K>()));
        Some(read_key.ok_or_else(wrong).and_then(|key| Ok((key, read(&value)?))))
    }
}

#[cfg(test)]
mod tests;
