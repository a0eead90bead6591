//! Range headers: every part lies within the body and none is empty.
#![no_main]

use larder::model::range::{Wanted, content_range};

libfuzzer_sys::fuzz_target!(|input: (u64, &str)| {
    let (size, header) = input;
    if let Wanted::Parts(parts) = Wanted::parse(Some(header), size) {
        assert!(!parts.is_empty());
        assert!(parts.iter().all(|range| range.start < range.end && range.end <= size));
    }
    if let Some(range) = content_range(header) {
        assert!(range.start <= range.end);
    }
});
