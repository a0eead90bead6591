//! Paths below /cache/: an accepted name stays below its namespace.
#![no_main]

libfuzzer_sys::fuzz_target!(|path: &str| {
    if let Some(name) = larder::model::entry::EntryName::parse(path) {
        let object = name.object();
        let parts: Vec<&str> = object.as_str().split('/').collect();
        assert!(parts.len() == 4 && parts.iter().all(|part| !part.is_empty() && *part != "." && *part != ".."));
        assert_eq!(larder::model::object::ObjectKey::parse(object.as_str()), Some(object.clone()));
    }
});
