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
        let before = match store {
            Some(store) => recover::before(self, store).await?,
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
            match recover::fits(self, (repo, Some(head)), &columns, last.schema.as_ref()).await {
                Err(Error::Repo { .. }) | Ok(()) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok((all, refused))
    }
}
