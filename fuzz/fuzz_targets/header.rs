//! Records as they lie in a store that anybody may have written to.
#![no_main]

use larder::model::record::Header;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Header::peek_nonce(bytes);
    if let Ok((header, start)) = Header::decode(bytes) {
        assert!(start <= bytes.len());
        assert_eq!(Header::decode(&header.encode()).map(|(again, _)| again), Ok(header));
    }
});
