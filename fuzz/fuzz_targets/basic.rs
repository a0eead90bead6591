//! Authorization headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    if let Some((name, _)) = larder::auth::basic::parse(value) {
        assert!(!name.contains(':'));
    }
});
