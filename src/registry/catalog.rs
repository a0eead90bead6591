//! Which repositories there are.

use super::{Names, Registry, RegistryError};
use crate::model::object::ObjectKey;
use crate::model::repository::{REPOSITORIES, Repository};

impl Registry {
    /// Up to `limit` repositories after `last` that `shows` lets through.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn repositories(
        &self,
        last: Option<&Repository>,
        limit: usize,
        shows: impl Fn(&Repository) -> bool,
    ) -> Result<Names, RegistryError> {
        let prefix = format!("{REPOSITORIES}/");
        let mut after = last.map(Repository::end);
        let mut names = Vec::new();
        // One look at the first record of each: behind it, the repository's other records are passed over.
        while let Some(key) = self.page(&prefix, after.as_ref(), 1).await?.pop() {
            let Some(repository) = Repository::of(&key) else {
                after = Some(key);
                continue;
            };
            after = Some(repository.end());
            if !shows(&repository) {
                continue;
            }
            if names.len() == limit {
                return Ok(Names { names, more: limit > 0 });
            }
            names.push(repository.as_str().to_owned());
        }
        Ok(Names { names, more: false })
    }

    /// Whether anything was ever pushed to a repository.
    pub(super) async fn is_repository(&self, repository: &Repository) -> Result<bool, RegistryError> {
        let prefix = format!("{REPOSITORIES}/{repository}/_");
        Ok(!self.page(&prefix, None::<&ObjectKey>, 1).await?.is_empty())
    }
}
