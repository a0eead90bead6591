//! Tokens of `/v2/token` (Docker's token authentication): who somebody is, until when, signed with the store's secret,
//! so that every node over the store knows them.
//!
//! A token says who, not what: what that user may do is looked up with every request. So a token that was asked for one
//! repository serves for a mount out of another, too, and opens nothing that its user may not open.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::model::seal::Sealer;

const PURPOSE: &str = "token";

#[derive(Serialize, Deserialize)]
struct Claims {
    /// The user's name; empty for an anonymous one.
    user: String,
    /// In milliseconds since 1970.
    until: u64,
}

/// A token for this user, good until then, in milliseconds since 1970.
pub fn issue(sealer: &Sealer, user: &str, until: u64) -> String {
    // Serialising a string and a number cannot fail.
    let claims = serde_json::to_vec(&Claims { user: user.to_owned(), until }).unwrap_or_default();
    let seal = sealer.seal(PURPOSE, &[&claims]);
    format!("{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(seal))
}

/// Whose token this is, if it is good now.
pub fn check(sealer: &Sealer, token: &str, now: u64) -> Option<String> {
    let (claims, seal) = token.split_once('.')?;
    let (claims, seal) = (URL_SAFE_NO_PAD.decode(claims).ok()?, URL_SAFE_NO_PAD.decode(seal).ok()?);
    if !sealer.holds(PURPOSE, &[&claims], &seal) {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    (now < claims.until).then_some(claims.user)
}

/// The token of an `Authorization` header, if it is a Bearer one (RFC 6750, section 2.1).
pub fn of_header(value: &[u8]) -> Option<&str> {
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    is_bearer.then(|| std::str::from_utf8(token.trim_ascii()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_good_for_its_user_and_its_time() {
        let sealer = Sealer::new(&[1; 32]);
        let token = issue(&sealer, "ci", 1000);
        assert_eq!(check(&sealer, &token, 999).as_deref(), Some("ci"));
        assert_eq!(check(&sealer, &token, 1000), None);
        assert_eq!(check(&Sealer::new(&[2; 32]), &token, 1), None);
        let forged = issue(&Sealer::new(&[2; 32]), "boss", 1000);
        let mixed = format!("{}.{}", forged.split('.').next().unwrap(), token.split('.').nth(1).unwrap());
        assert_eq!(check(&sealer, &mixed, 1), None);
        assert_eq!(of_header(b"bearer  abc "), Some("abc"));
        assert_eq!(of_header(b"Basic abc"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,80}") {
            prop_assert_eq!(check(&Sealer::new(&[1; 32]), &text, 0), None);
            let _ = of_header(text.as_bytes());
        }
    }
}
