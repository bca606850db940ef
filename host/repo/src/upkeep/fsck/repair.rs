//! What is safe to do about a finding.

use object_store::path::Path;
use spout_base::clock;

use super::Remedy;
use crate::{
    error::Error,
    layout::Layout,
    log::{VERSION, seal},
    object::Step,
    repo::{RepoInfo, Store},
};

/// Something that can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// An object.
    Object(Path),
    /// A file that the store's own listings leave out.
    File(std::path::PathBuf),
}

/// Does it, and says what was done; `None` where it could not be.
pub(super) async fn apply(store: &Store, remedy: &Remedy) -> Result<Option<String>, Error> {
    match remedy {
        Remedy::Remove(Removed::Object(path)) => {
            store.objects().delete(Step::Delete, path).await?;
            Ok(Some("removed; it is rebuilt from the records".to_owned()))
        }
        Remedy::Remove(Removed::File(path)) => Ok(std::fs::remove_file(path).ok().map(|()| "removed".to_owned())),
        Remedy::Describe(name) => {
            let path = Layout::of(name).about();
            let info = RepoInfo {
                version: VERSION,
                name: name.clone(),
                description: String::new(),
                created_ms: clock::wall_ms(),
                deleted: false,
                checksum: String::new(),
            };
            let (bytes, _) = seal::seal(&store.objects().shown(&path), &info)?;
            store.objects().overwrite(Step::Create, &path, bytes).await?;
            Ok(Some("rewritten without its description".to_owned()))
        }
    }
}
