//! Signatures of what clients carry for the node: upload sessions and tokens (HMAC-SHA-256, RFC 2104).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a seal: half of the HMAC, which nobody guesses within a request's life.
pub const SEAL: usize = 16;

/// Signs with the store's secret, so that every node over the store knows its own seal again.
#[derive(Clone)]
pub struct Sealer {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer with this secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mac = match Hmac::<Sha256>::new_from_slice(secret) {
            Ok(mac) => mac,
            // An HMAC takes keys of every length (RFC 2104, section 2).
            Err(_) => Hmac::<Sha256>::new(&Default::default()),
        };
        Self { mac }
    }

    /// The seal of these parts, for this purpose and no other.
    pub fn seal(&self, purpose: &str, parts: &[&[u8]]) -> [u8; SEAL] {
        let full = self.over(purpose, parts).finalize().into_bytes();
        std::array::from_fn(|i| full[i])
    }

    /// Whether this is the seal of these parts, in constant time.
    pub fn holds(&self, purpose: &str, parts: &[&[u8]], seal: &[u8]) -> bool {
        seal.len() == SEAL && self.over(purpose, parts).verify_truncated_left(seal).is_ok()
    }

    fn over(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            // With their lengths, so that no two lists of parts look the same.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_purpose_and_parts_only() {
        let sealer = Sealer::new(&[7; 32]);
        let seal = sealer.seal("upload", &[b"ab", b"c"]);
        assert!(sealer.holds("upload", &[b"ab", b"c"], &seal));
        assert!(!sealer.holds("upload", &[b"a", b"bc"], &seal));
        assert!(!sealer.holds("token", &[b"ab", b"c"], &seal));
        assert!(!sealer.holds("upload", &[b"ab", b"c"], &seal[..15]));
        assert!(!sealer.holds("upload", &[b"ab", b"c"], b""));
        assert!(!Sealer::new(&[8; 32]).holds("upload", &[b"ab", b"c"], &seal));
    }
}
