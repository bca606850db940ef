//! What a caller is not told of this machine: where on its disk the store is.

use std::path::{Path, PathBuf};

use spout_api::Problem;
use spout_repo::Store;

/// The ways in which the directory of a store is written in errors, the longest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Veil(Vec<String>);

impl Veil {
    /// Hides where `store` is, if that is a directory.
    pub(crate) fn over(store: &Store) -> Self {
        Store::local(store.url()).map(|directory| Self::of(&directory)).unwrap_or_default()
    }

    fn of(directory: &Path) -> Self {
        let whole = std::path::absolute(directory).ok();
        let real = directory.canonicalize().ok();
        let all = [Some(directory.to_owned()), whole, real].into_iter().flatten();
        let absolute = all.filter(|path| path.is_absolute() && path.parent().is_some());
        let mut ways: Vec<String> = absolute
            .flat_map(|path: PathBuf| {
                let path = path.display().to_string();
                [format!("file://{path}"), path]
            })
            .collect();
        ways.sort_by_key(|way| std::cmp::Reverse(way.len()));
        ways.dedup();
        Self(ways)
    }

    /// `problem` as its caller may see it: objects by their names in the store.
    pub(crate) fn cover(&self, problem: Problem) -> Problem {
        let message = self.text(&problem.message);
        let causes = problem.causes.iter().map(|cause| self.text(cause)).collect();
        Problem { message, causes, ..problem }
    }

    /// The same for any text.
    pub(crate) fn text(&self, text: &str) -> String {
        let covered =
            |text: String, way: &String| text.replace(&format!("{way}/"), "").replace(way.as_str(), "the store");
        self.0.iter().fold(text.to_owned(), covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_in_the_store() {
        let veil = Veil::of(Path::new("/srv/data"));
        let check = |text: &str, expected: &str| assert_eq!(veil.text(text), expected);
        check("there is no repo `x` in /srv/data; look", "there is no repo `x` in the store; look");
        check("cannot read /srv/data/repos/a/repo.json", "cannot read repos/a/repo.json");
        check("at file:///srv/data/repos/a: denied", "at repos/a: denied");
        check("/events/a.txt is not there", "/events/a.txt is not there");
        assert!(Veil::of(Path::new("/")).0.is_empty(), "that would hide every slash");
    }
}
