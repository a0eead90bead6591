//! Which repositories there are: a walk through the folders of their names.

use tokio::time::timeout;

use super::{Names, Registry, RegistryError};
use crate::model::repository::{REPOSITORIES, Repository};

/// Folders that are read at once.
const PAGE: usize = 256;
/// Folders that one request reads.
const MOST_FOLDERS: usize = 200_000;

/// A folder of the walk: the names below it that follow `after` are still to come.
struct Folder {
    name: String,
    after: String,
    /// Whether it may be a repository itself that was not told yet.
    is_new: bool,
}

impl Registry {
    /// Up to `limit` repositories after `last` that `shows` lets through; those below a repository follow it. One walk
    /// at a time.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn repositories(
        &self,
        last: Option<&Repository>,
        limit: usize,
        shows: impl Fn(&Repository) -> bool,
    ) -> Result<Names, RegistryError> {
        // Whoever would wait long is better told to come back.
        let turn = timeout(self.settings.hold_on, self.walks.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(RegistryError::Unavailable) };
        let mut folders = start(last);
        let mut names = Vec::new();
        for _ in 0..MOST_FOLDERS {
            let Some(Folder { name, after, is_new }) = folders.pop() else {
                return Ok(Names { names, more: false });
            };
            if is_new
                && let Some(repository) = Repository::parse(&name)
                && shows(&repository)
                && self.is_repository(&repository).await?
            {
                if names.len() == limit {
                    return Ok(Names { names, more: limit > 0 });
                }
                names.push(name.clone());
            }
            let prefix = if name.is_empty() { format!("{REPOSITORIES}/") } else { format!("{REPOSITORIES}/{name}/") };
            let below = self.folders(&prefix, &after, PAGE).await?;
            if let (Some(end), true) = (below.last(), below.len() == PAGE) {
                folders.push(Folder { name: name.clone(), after: end.clone(), is_new: false });
            }
            // The first one is looked at next.
            for child in below.iter().rev().filter(|child| !child.starts_with('_')) {
                let name = if name.is_empty() { child.clone() } else { format!("{name}/{child}") };
                folders.push(Folder { name, after: String::new(), is_new: true });
            }
        }
        Err(RegistryError::Unavailable)
    }

    /// Whether anything was ever pushed to a repository.
    pub(super) async fn is_repository(&self, repository: &Repository) -> Result<bool, RegistryError> {
        let prefix = format!("{REPOSITORIES}/{repository}/");
        // No component of a name begins with an underscore, and the repository's own folders follow this one.
        let first = self.folders(&prefix, "_", 1).await?.pop();
        Ok(first.is_some_and(|name| name.starts_with('_')))
    }

    async fn folders(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, RegistryError> {
        Ok(self.hold_on(|| self.cache.folders(prefix, after, limit)).await?.unwrap_or_default())
    }
}

/// Where a walk begins: at the top, or behind a repository that was told, and in each folder above it behind its name.
fn start(last: Option<&Repository>) -> Vec<Folder> {
    let folder = |name: &str, after: &str| Folder { name: name.to_owned(), after: after.to_owned(), is_new: false };
    let Some(last) = last.map(Repository::as_str) else { return vec![folder("", "")] };
    let mut folders = Vec::new();
    let mut above = "";
    for (at, _) in last.match_indices('/').chain([(last.len(), "")]) {
        let component = &last[above.len()..at];
        folders.push(folder(above, component.trim_start_matches('/')));
        above = &last[..at];
    }
    folders.push(folder(last, ""));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_behind_what_was_told() {
        let of = |name: &str| {
            let folders = start(Some(&Repository::parse(name).unwrap()));
            folders.into_iter().map(|folder| (folder.name, folder.after)).collect::<Vec<_>>()
        };
        let pair = |name: &str, after: &str| (name.to_owned(), after.to_owned());
        assert_eq!(of("a"), [pair("", "a"), pair("a", "")]);
        assert_eq!(of("a/b/c"), [pair("", "a"), pair("a", "b"), pair("a/b", "c"), pair("a/b/c", "")]);
    }
}
