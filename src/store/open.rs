//! From `store.url` to a store that is ready to use.

use std::path::PathBuf;
use std::sync::Arc;

use super::dir::DirStore;
use super::usage::Usage;
use super::{MemoryStore, Store, format, secret};

/// A store and the count of what is in it.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// How full it is; empty until [`super::usage::restore`] has run.
    pub usage: Arc<Usage>,
    /// What upload sessions and tokens are signed with.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for Opened {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("store", &self.store).field("usage", &self.usage).finish_non_exhaustive()
    }
}

/// Where a `store.url` points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Directory(PathBuf),
    /// This process's memory.
    Memory,
}

impl Location {
    /// Parses `file:///absolute`, a plain path, or `memory://`.
    ///
    /// # Errors
    /// One line that names what is understood.
    pub fn parse(url: &str) -> Result<Self, String> {
        let path = match url.split_once("://") {
            Some(("file", path)) => path,
            Some(("memory", _)) => return Ok(Self::Memory),
            Some((scheme, _)) => {
                return Err(format!(
                    "`{scheme}://` is not a kind of store; use file:///DIRECTORY, or memory:// to forget everything"
                ));
            }
            None if url.starts_with("file:") => return Err("write file:///DIRECTORY, with three slashes".into()),
            None => url,
        };
        if path.is_empty() {
            return Err("the directory's path is missing; use file:///DIRECTORY".into());
        }
        Ok(Self::Directory(PathBuf::from(path)))
    }
}

/// Opens a store and checks its format.
///
/// # Errors
/// One line that says what to do.
pub async fn open(location: &Location) -> Result<Opened, String> {
    let usage = Arc::new(Usage::default());
    let store: Arc<dyn Store> = match location {
        Location::Directory(path) => Arc::new(DirStore::open(path, Arc::clone(&usage)).map_err(|e| e.to_string())?),
        Location::Memory => Arc::new(MemoryStore::new(Arc::clone(&usage))),
    };
    format::check(store.as_ref()).await?;
    let secret = secret::load(store.as_ref()).await?;
    Ok(Opened { store, usage, secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_understood() {
        assert_eq!(Location::parse("file:///data"), Ok(Location::Directory("/data".into())));
        assert_eq!(Location::parse("./larder-data"), Ok(Location::Directory("./larder-data".into())));
        assert_eq!(Location::parse("memory://"), Ok(Location::Memory));
        assert!(Location::parse("s4://bucket").unwrap_err().contains("s4://"));
        assert!(Location::parse("file://").is_err());
        assert!(Location::parse("file:/data").unwrap_err().contains("file:///"));
    }
}
