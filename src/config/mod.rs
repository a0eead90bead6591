//! The configuration: one struct per concern, defaults, checks; where a value comes from is `load`'s.

mod auth;
mod gradle;
mod load;
mod log;
mod memory;
mod oci;
mod secret;
mod server;
mod store;
pub mod units;

use serde::{Deserialize, Serialize};

pub use auth::{Anonymous, AuthConfig, PasswordSource, UserConfig};
pub use gradle::{GradleConfig, Inspect, Writes};
pub use load::{Sources, load};
pub use log::{LogConfig, LogFormat};
pub use memory::MemoryConfig;
pub use oci::OciConfig;
pub use secret::Secret;
pub use server::ServerConfig;
pub use store::{Fsync, StoreConfig};

/// Everything that can be set. `config/larder.toml` lists the same keys with their defaults; a test compares them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listening, connections, shutdown.
    pub server: ServerConfig,
    /// The cold tier.
    pub store: StoreConfig,
    /// The hot tier and the bodies on their way.
    pub memory: MemoryConfig,
    /// The Gradle build cache protocol.
    pub gradle: GradleConfig,
    /// The registry.
    pub oci: OciConfig,
    /// Who may do what.
    pub auth: AuthConfig,
    /// What is logged and how.
    pub log: LogConfig,
}

impl Config {
    /// Checks what no single value shows.
    ///
    /// # Errors
    /// One line that names the key and what to do.
    pub fn validate(&self) -> Result<(), String> {
        self.server.validate()?;
        self.store.validate()?;
        self.memory.validate()?;
        self.gradle.validate()?;
        self.oci.validate()?;
        self.auth.validate()?;
        if !self.server.is_loopback() && self.auth.users.is_empty() && self.auth.anonymous.is_none() {
            return Err(format!(
                "auth: {} can be reached from other machines and nobody needs a password. Set BUILD_CACHE_PASSWORD or \
                 [[auth.user]], or say auth.anonymous = \"read-write\" if everybody may read and write",
                self.server.listen
            ));
        }
        Ok(())
    }

    /// What somebody without a password may do, where nothing was said: everything on a node that only this machine
    /// reaches and that has no users, else nothing.
    pub fn anonymous(&self) -> Anonymous {
        let open = self.auth.users.is_empty() && self.server.is_loopback();
        self.auth.anonymous.unwrap_or(if open { Anonymous::ReadWrite } else { Anonymous::None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `config/larder.toml` with everything that is commented out there filled in by the defaults.
    #[test]
    fn the_documented_file_lists_every_key_with_its_default() {
        let text = include_str!("../../config/larder.toml");
        let documented: Config = toml::from_str(text).unwrap();
        assert_eq!(documented, Config::default());
        let file: toml::Table = text.parse().unwrap();
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        for (section, keys) in &defaults {
            for key in keys.as_table().unwrap().keys() {
                let listed = file[section].get(key).is_some() || text.contains(&format!("\n# {key} = "));
                assert!(listed, "{section}.{key} is missing in config/larder.toml");
            }
        }
    }
}
