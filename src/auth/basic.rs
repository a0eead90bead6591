//! Basic credentials (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Reads `Basic <base64 of name:password>`. The scheme's case does not matter, padding may be missing.
pub fn parse(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = value.split_at_checked("basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let lenient = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let decoded = STANDARD.decode(encoded.trim_ascii()).or_else(|_| lenient.decode(encoded.trim_ascii())).ok()?;
    let colon = decoded.iter().position(|&b| b == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_end_at_the_first_colon() {
        assert_eq!(parse(b"Basic YTpiOmM="), Some(("a".into(), b"b:c".to_vec())));
        assert_eq!(parse(b"BASIC YTpiOmM"), Some(("a".into(), b"b:c".to_vec())));
        assert_eq!(parse(b"Basic YWJj"), None);
        assert_eq!(parse(b"Bearer YTpi"), None);
    }

    proptest! {
        #[test]
        fn no_header_panics(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&value);
        }
    }
}
