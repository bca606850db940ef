//! What can be said of a pipeline's rows before it runs: their columns after each handler, and whether they go with those that are
//! committed.

use spout_node::{Shape, States};
use spout_repo::Store;

use super::{
    Error,
    build::Parts,
    columns::Columns,
    recover::{self, Before},
};

/// What leaves the decoder and each handler, by id; and the number of the first handler that such rows are not for, with why.
pub type Typed = (Vec<(String, Shape)>, Option<(usize, spout_node::Error)>);

impl Parts {
    /// What leaves the decoder and then each handler, by id, as far as it is known before any row, after what the branch in
    /// `store` has; and the number of the first handler that such rows are not for, with why.
    ///
    /// # Errors
    /// A handler that cannot be opened, and rows that do not go with those that are committed.
    pub async fn typed(&self, store: Option<&Store>) -> Result<Typed, Error> {
        let mut chain = self.chain(&self.spec.node, &mut States::new()).await?;
        // What a store has that cannot be read, a run will say, which waits where that helps.
        let before = match store {
            Some(store) => lenient(recover::before(self, store).await)?.flatten(),
            None => None,
        };
        let columns = match &before {
            Some(before) => before.columns.clone(),
            None => Columns::initial(&self.inputs).await,
        };
        let input = self.input(&columns).await?;
        let (shapes, refused) = chain.shapes_until(input.clone()).await;
        let all: Vec<(String, Shape)> = std::iter::once(("decoder".to_owned(), input)).chain(shapes).collect();
        if let (Some(Before { repo, head, .. }), None, Some((_, last))) = (&before, &refused, all.last()) {
            lenient(recover::fits(self, (repo, Some(head)), &columns, last.schema.as_ref()).await)?;
        }
        Ok((all, refused))
    }
}

/// `looked`, or nothing where the repo could not be read.
fn lenient<T>(looked: Result<T, Error>) -> Result<Option<T>, Error> {
    match looked {
        Err(Error::Repo { .. }) => Ok(None),
        looked => looked.map(Some),
    }
}
