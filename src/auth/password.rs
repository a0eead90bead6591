//! Passwords: as they are or hashed, and how they are checked without telling anything by time.

use std::sync::Arc;

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::config::PasswordSource;

/// How a user's password is checked.
#[derive(Clone)]
pub enum Password {
    /// By its SHA-256, so that the comparison's time tells nothing of its length.
    Plain([u8; 32]),
    /// By bcrypt.
    Bcrypt(Arc<str>),
    /// By argon2id.
    Argon2id(Arc<str>),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<password>")
    }
}

impl Password {
    /// Reads a password from where it is.
    pub fn load(source: PasswordSource<'_>, environment: &impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        match source {
            PasswordSource::Plain(secret) => Self::plain(secret.expose(), "password"),
            PasswordSource::Environment(name) => {
                let value = environment(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
                Self::plain(&value, name)
            }
            PasswordSource::File(path) => {
                #[allow(clippy::disallowed_methods)] // a mounted secret, not the store's file
                let text = std::fs::read_to_string(path).map_err(|e| format!("password_file {path}: {e}"))?;
                let text = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
                Self::plain(text, path)
            }
            PasswordSource::Hash(secret) => Self::hashed(secret.expose()),
        }
    }

    fn plain(text: &str, from: &str) -> Result<Self, String> {
        if text.is_empty() { Err(format!("{from} is empty")) } else { Ok(Self::Plain(digest(text.as_bytes()))) }
    }

    fn hashed(hash: &str) -> Result<Self, String> {
        // Parsed now, so that a typing error ends the start and not the first login.
        if hash.parse::<bcrypt::HashParts>().is_ok() {
            return Ok(Self::Bcrypt(hash.into()));
        }
        let is_argon2id =
            PasswordHash::new(hash).is_ok_and(|parsed| parsed.algorithm.as_str() == Algorithm::Argon2id.as_str());
        if is_argon2id {
            Ok(Self::Argon2id(hash.into()))
        } else {
            Err("password_hash is neither a bcrypt ($2b$...) nor an argon2id ($argon2id$...) hash".into())
        }
    }

    /// What an unknown user's password is checked against: a hashed one where any user has one. Nobody looks at the
    /// outcome.
    pub fn like<'a>(known: impl Iterator<Item = &'a Self>) -> Self {
        known.max_by_key(|p| !matches!(p, Self::Plain(_))).cloned().unwrap_or(Self::Plain([0; 32]))
    }

    /// Whether this is a password that can be compared without taking time, and holds.
    pub fn holds_at_once(&self, secret: &[u8]) -> bool {
        matches!(self, Self::Plain(_)) && self.holds(secret)
    }

    /// Whether checking this one takes no time beside checking the other.
    pub fn is_cheaper_than(&self, other: &Self) -> bool {
        matches!(self, Self::Plain(_)) && !matches!(other, Self::Plain(_))
    }

    fn holds(&self, secret: &[u8]) -> bool {
        match self {
            Self::Plain(expected) => digest(secret).ct_eq(expected).into(),
            Self::Bcrypt(hash) => bcrypt::verify(secret, hash).unwrap_or(false),
            Self::Argon2id(hash) => {
                PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(secret, &hash).is_ok())
            }
        }
    }
}

fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Checks passwords; hashed ones on threads of their own, a few at a time, because each takes tens of milliseconds
/// and argon2 tens of megabytes.
#[derive(Debug)]
pub struct Checkers {
    turns: Arc<Semaphore>,
}

impl Default for Checkers {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(2)) }
    }
}

impl Checkers {
    /// Whether `secret` is this password.
    pub async fn holds(&self, password: &Password, secret: Vec<u8>) -> bool {
        if let Password::Plain(_) = password {
            return password.holds(&secret);
        }
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return false };
        let password = password.clone();
        let check = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            password.holds(&secret)
        });
        check.await.unwrap_or(false)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use argon2::password_hash::PasswordHasher;

    use super::*;

    pub(crate) fn argon2id(password: &str) -> String {
        let params = argon2::Params::new(64, 1, 1, None).unwrap();
        let argon = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
        argon.hash_password(password.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn nothing_of_a_password_is_shown() {
        let password = Password::plain("secret", "x").unwrap();
        assert_eq!(format!("{password:?}"), "<password>");
        assert!(Password::plain("", "PW").unwrap_err().contains("PW is empty"));
    }

    #[test]
    fn an_unknown_user_costs_as_much_as_a_known_one() {
        let plain = Password::plain("a", "x").unwrap();
        let hashed = Password::hashed(&argon2id("b")).unwrap();
        assert!(matches!(Password::like([&plain, &hashed].into_iter()), Password::Argon2id(_)));
        assert!(matches!(Password::like([&plain].into_iter()), Password::Plain(_)));
    }
}
