//! The beginning of whatever a client stores.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(task) = larder::model::metadata::read_task(bytes) {
        assert!(task.path.len() <= 256 && !task.path.chars().any(char::is_control));
    }
});
