//! Parts of a body: the `Range` of a read (RFC 9110, section 14) and the `Content-Range` of a chunk that is uploaded
//! (distribution-spec, "Pushing a blob in chunks").

use std::ops::Range;

/// Ranges of one request beyond this number are somebody's game: the whole is given instead.
pub const MOST_RANGES: usize = 32;

/// Which bytes of a body are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of them: there is no range, or none that is understood.
    Whole,
    /// These, none of them empty, each within the body.
    Parts(Vec<Range<u64>>),
    /// None of the ranges lies within the body.
    Outside,
}

impl Wanted {
    /// Reads a `Range` header for a body of this size. Header fields that do not follow the grammar are ignored, as
    /// RFC 9110 wants; so are units other than bytes.
    pub fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(set) = header.and_then(|text| {
            let (unit, set) = text.trim().split_once('=')?;
            unit.trim().eq_ignore_ascii_case("bytes").then_some(set)
        }) else {
            return Self::Whole;
        };
        let (mut parts, mut outside) = (Vec::new(), false);
        for (i, spec) in set.split(',').enumerate() {
            let spec = spec.trim();
            // Empty list elements are allowed (RFC 9110, section 5.6.1).
            if spec.is_empty() {
                continue;
            }
            if i >= MOST_RANGES {
                return Self::Whole;
            }
            match part(spec, size) {
                Some(Some(range)) => parts.push(range),
                Some(None) => outside = true,
                None => return Self::Whole,
            }
        }
        // Ranges that overlap much would make the answer longer than the body.
        let total: u64 = parts.iter().map(|range| range.end - range.start).fold(0, u64::saturating_add);
        match parts.len() {
            0 if outside => Self::Outside,
            0 => Self::Whole,
            1 => Self::Parts(parts),
            _ if total >= size => Self::Whole,
            _ => Self::Parts(parts),
        }
    }
}

/// One range: `None` where it does not follow the grammar, `Some(None)` where it lies outside.
fn part(spec: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let length = number(last)?;
        let start = size.saturating_sub(length);
        return Some((length > 0 && size > 0).then_some(start..size));
    }
    let start = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1).min(size) };
    if !last.is_empty() && number(last)? < start {
        // RFC 9110 calls this invalid and lets it be ignored; the distribution-spec's conformance suite wants a 416.
        return Some(None);
    }
    Some((start < size).then_some(start..end))
}

/// Digits only; more than fit are a very large number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Reads the `Content-Range` of an upload, `<first>-<last>`, both included; some clients put `bytes ` before it and
/// `/*` or the length behind.
pub fn content_range(text: &str) -> Option<Range<u64>> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let text = text.split('/').next()?;
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then(|| first..last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(header: &str, size: u64) -> Vec<(u64, u64)> {
        match Wanted::parse(Some(header), size) {
            Wanted::Parts(parts) => parts.iter().map(|range| (range.start, range.end)).collect(),
            other => panic!("{header}: {other:?}"),
        }
    }

    #[test]
    fn single_ranges_are_clipped_to_the_body() {
        assert_eq!(parts("bytes=0-4", 10), [(0, 5)]);
        assert_eq!(parts("bytes=5-", 10), [(5, 10)]);
        assert_eq!(parts("bytes=5-99999999999999999999999", 10), [(5, 10)]);
        assert_eq!(parts("bytes=-3", 10), [(7, 10)]);
        assert_eq!(parts("Bytes = 9-9 ".trim(), 10), [(9, 10)]);
        assert_eq!(parts("bytes=-30", 10), [(0, 10)]);
        assert_eq!(parts("bytes=0-0", 1), [(0, 1)]);
    }

    #[test]
    fn several_ranges_are_kept_in_order() {
        assert_eq!(parts("bytes=0-1, ,8-9,4-4", 10), [(0, 2), (8, 10), (4, 5)]);
        assert_eq!(parts("bytes=0-1,50-60", 10), [(0, 2)]);
        assert_eq!(Wanted::parse(Some("bytes=0-9,0-9"), 10), Wanted::Whole);
        let many: Vec<_> = (0..100).map(|i| format!("{i}-{i}")).collect();
        assert_eq!(Wanted::parse(Some(&format!("bytes={}", many.join(","))), 1000), Wanted::Whole);
    }

    #[test]
    fn what_is_outside_is_told_apart_from_what_is_no_range() {
        for outside in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=11-12,20-", "bytes=5-4"] {
            assert_eq!(Wanted::parse(Some(outside), 10), Wanted::Outside, "{outside}");
        }
        assert_eq!(Wanted::parse(Some("bytes=0-"), 0), Wanted::Outside);
        for none in ["bytes", "bytes=", "bytes=,", "bytes=5", "bytes=a-b", "bytes=+1-2", "items=0-1", "bytes=--1"] {
            assert_eq!(Wanted::parse(Some(none), 10), Wanted::Whole, "{none}");
        }
        assert_eq!(Wanted::parse(None, 10), Wanted::Whole);
    }

    #[test]
    fn content_ranges_of_clients_are_read() {
        assert_eq!(content_range("0-4"), Some(0..5));
        assert_eq!(content_range("bytes 5-9/10"), Some(5..10));
        assert_eq!(content_range("bytes=5-9"), Some(5..10));
        for bad in ["", "5", "5-4", "-5", "5-", "a-b", "18446744073709551616x-1"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_part_lies_within_the_body(header in "bytes=[0-9,-]{0,20}", size in 0..50u64) {
            if let Wanted::Parts(parts) = Wanted::parse(Some(&header), size) {
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|range| range.start < range.end && range.end <= size));
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,60}") {
            let _ = Wanted::parse(Some(&text), 10);
            let _ = content_range(&text);
        }
    }
}
