//! Files into files.

mod input;
mod output;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub(crate) use self::input::Given;
pub use self::{input::InputFile, output::Output};
use crate::Result;

/// Makes files of a file. A pipeline runs it for each file of another repo that was added or changed:
/// `input: {pfs: {repo: notes, glob: "/*.txt"}}` with `transform: {plugin: upper}`.
///
/// What it makes of a file replaces what it made of that file before, and goes when the file goes. It must depend on the file and the
/// settings alone: a file that did not change is not given to it again.
///
/// ```
/// use std::io::BufRead as _;
///
/// use spout_guest::{InputFile, NoSettings, Output, Result, Transformer, register};
///
/// struct Upper;
///
/// impl Transformer for Upper {
///     type Settings = NoSettings;
///
///     fn transform(_: NoSettings, input: InputFile<'_>, output: &Output<'_>) -> Result<()> {
///         let path = input.path();
///         for line in input.lines() {
///             output.append(&path, line?.to_uppercase() + "\n")?;
///         }
///         Ok(())
///     }
/// }
///
/// register! { name: "upper", summary: "the same lines in capitals", transformer: Upper }
///
/// let made = spout_guest::testing::transform::<Upper>(NoSettings {}, "/a.txt", b"one\ntwo")?;
/// assert_eq!(made.read("/a.txt").as_deref(), Some(&b"ONE\nTWO\n"[..]));
/// # Ok::<(), spout_guest::Error>(())
/// ```
pub trait Transformer: 'static {
    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;

    /// Makes files of `input`. It has all the time it wants: only one that computes for `limits.call` without a call to the host is
    /// ended.
    ///
    /// # Errors
    /// [`Error::retriable`](crate::Error::retriable) where the file is to be given to it again after a pause. Any other error is about
    /// this file: `errors.file` of the spec says what comes of it.
    fn transform(settings: Self::Settings, input: InputFile<'_>, output: &Output<'_>) -> Result<()>;
}

#[doc(hidden)]
pub mod shim {
    //! Adapts the WIT interface to the trait.

    use std::marker::PhantomData;

    use super::{Given, InputFile, Output, Transformer};
    use crate::{
        decoder::shim::texts,
        parse_settings,
        register::{self, Offers, named},
        spout::host::failed,
        wit::{
            base::{exports::spout::plugin::about::Offer, spout::plugin::types as wit},
            spout::spout::plugin::pfs,
            transformer::{exports::spout::plugin::transformer as export, spout::plugin::datum},
        },
    };

    /// How to run a transformer.
    pub type Open = fn(&wit::Settings, InputFile<'_>, &Output<'_>) -> crate::Result<()>;

    #[must_use]
    pub const fn open<T: Transformer>() -> Open {
        |list, input, output| T::transform(parse_settings(texts(list))?, input, output)
    }

    #[must_use]
    pub fn offer<T: Transformer>(name: &str, summary: &str) -> Offer {
        register::offer::<T::Settings>("transformer", name, summary)
    }

    #[derive(Debug)]
    pub struct Shim<P>(PhantomData<P>);

    impl<P: Offers<Open>> export::Guest for Shim<P> {
        fn transform(
            name: String,
            file: &datum::Input,
            output: &pfs::Commit,
            list: wit::Settings,
        ) -> Result<(), wit::Error> {
            Ok(named(P::OFFERS, &name)?(&list, InputFile::new(file), &Output::new(output))?)
        }
    }

    impl Given for datum::Input {
        fn path(&self) -> String {
            Self::path(self)
        }

        fn size(&self) -> u64 {
            Self::size(self)
        }

        fn read(&self, start: u64, length: u32) -> crate::Result<Vec<u8>> {
            Self::read(self, start, length).map_err(failed)
        }
    }
}
