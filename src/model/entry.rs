//! The name of a build cache entry: a namespace and a key, as they stand in `/cache/<namespace>/<key>`.

use super::object::ObjectKey;

/// The namespace of `/cache/<key>`, which names none.
pub const DEFAULT_NAMESPACE: &str = "default";
const MAX_NAMESPACE: usize = 64;
const MAX_KEY: usize = 128;

/// A valid entry name, borrowed from the request's path.
///
/// Keys are `[a-z0-9]{1,128}`, what Gradle's own server took (a Gradle key is 32 hex digits); namespaces are
/// `[a-z0-9._-]{1,64}` and neither `.` nor `..`, because each becomes a directory's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryName<'a> {
    namespace: &'a str,
    key: &'a str,
}

impl<'a> EntryName<'a> {
    /// Parses what follows `/cache/` in a path. `None` for anything that is not exactly a key or a namespace and a
    /// key; percent escapes are never valid, so nothing is decoded.
    pub fn parse(path: &'a str) -> Option<Self> {
        let (namespace, key) = path.split_once('/').unwrap_or((DEFAULT_NAMESPACE, path));
        (is_namespace(namespace) && is_key(key)).then_some(Self { namespace, key })
    }

    /// The namespace, `default` where the path named none.
    pub fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// The key.
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// Where the entry's record lies: `gradle/<namespace>/<k0k1>/<key>`.
    pub fn object(&self) -> ObjectKey {
        let shard = self.key.get(..2).unwrap_or(self.key);
        ObjectKey::from_parts(&["gradle", self.namespace, shard, self.key])
    }
}

fn is_namespace(text: &str) -> bool {
    (1..=MAX_NAMESPACE).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

fn is_key(text: &str) -> bool {
    (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_alone_is_in_the_default_namespace() {
        let name = EntryName::parse("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!((name.namespace(), name.key().len()), ("default", 32));
        assert_eq!(name.object().as_str(), "gradle/default/01/0123456789abcdef0123456789abcdef");
        assert_eq!(EntryName::parse("a").unwrap().object().as_str(), "gradle/default/a/a");
        assert_eq!(EntryName::parse("team-a/ff0").unwrap().object().as_str(), "gradle/team-a/ff/ff0");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "/", "a/", "/a", "A", "a/b/c", "../a", "./a", "..", "a%2e", "a b", "ä", "ns/K", "a.b"] {
            assert_eq!(EntryName::parse(bad), None, "{bad:?}");
        }
        assert_eq!(EntryName::parse(&"a".repeat(129)), None);
        assert_eq!(EntryName::parse(&format!("{}/a", "n".repeat(65))), None);
    }

    proptest! {
        #[test]
        fn every_accepted_name_stays_below_its_namespace(path in ".{0,40}") {
            if let Some(name) = EntryName::parse(&path) {
                let object = name.object();
                prop_assert_eq!(object.as_str().split('/').count(), 4);
                prop_assert!(object.as_str().split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
            }
        }

        #[test]
        fn valid_names_round_trip(ns in "[a-z0-9_-][a-z0-9._-]{0,63}", key in "[a-z0-9]{1,128}") {
            let path = format!("{ns}/{key}");
            let name = EntryName::parse(&path).unwrap();
            prop_assert_eq!((name.namespace(), name.key()), (ns.as_str(), key.as_str()));
        }
    }
}
