//! `[auth]`: who may do what.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Users and what those without a password may do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// What is open to requests without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
    /// `[[auth.user]]`.
    #[serde(rename = "user", skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserConfig>,
}

/// What is open to requests without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anonymous {
    /// Nothing.
    None,
    /// Reading everything.
    Read,
    /// Reading and writing everything.
    #[serde(alias = "readwrite")]
    ReadWrite,
}

/// One user. Exactly one of the four passwords is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserConfig {
    /// The name in Basic credentials.
    pub name: String,
    /// The password itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The environment variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// The file that holds it; one trailing newline is not part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// A bcrypt or argon2id hash of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Secret>,
    /// `gradle:<namespace glob>=read`, `=read-write` or `=admin`; `oci:<repository glob>=...`.
    pub grants: Option<Vec<String>>,
}

/// Where a user's password comes from.
#[derive(Debug, Clone, Copy)]
pub enum PasswordSource<'a> {
    /// It stands in the configuration.
    Plain(&'a Secret),
    /// This environment variable.
    Environment(&'a str),
    /// This file.
    File(&'a str),
    /// Only its hash is known.
    Hash(&'a Secret),
}

impl UserConfig {
    /// The one password that is set.
    ///
    /// # Errors
    /// One line, when there is none or more than one.
    pub fn source(&self) -> Result<PasswordSource<'_>, String> {
        let mut sources = [
            self.password.as_ref().map(PasswordSource::Plain),
            self.password_env.as_deref().map(PasswordSource::Environment),
            self.password_file.as_deref().map(PasswordSource::File),
            self.password_hash.as_ref().map(PasswordSource::Hash),
        ]
        .into_iter()
        .flatten();
        match (sources.next(), sources.next()) {
            (Some(source), None) => Ok(source),
            _ => Err(format!(
                "auth.user `{}`: set exactly one of password, password_env, password_file and password_hash",
                self.name
            )),
        }
    }
}

impl AuthConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        for (i, user) in self.users.iter().enumerate() {
            if user.name.is_empty() || user.name.contains(':') || user.name.chars().any(char::is_control) {
                return Err(format!(
                    "auth.user: `{}` is not a name that Basic credentials can carry",
                    user.name.escape_debug()
                ));
            }
            if self.users[..i].iter().any(|other| other.name == user.name) {
                return Err(format!("auth.user: `{}` stands there twice", user.name));
            }
            user.source()?;
            if user.grants.is_none() {
                return Err(format!(
                    "auth.user `{}`: grants are missing; write [] for a user who may do nothing",
                    user.name
                ));
            }
        }
        Ok(())
    }
}
