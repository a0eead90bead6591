//! Turns `conf/config.yaml` of gradle/build-cache-node (versions 4 and 5) into a `larder.toml`.
//! Text in, text out: no file, clock or environment is touched, and the same input always gives
//! the same output.
//!
//! What an absent key means there is written out here, so that nobody changes behaviour by moving:
//! no anonymous access, entries up to 100 MB, 10,000 MB in all, no limit of age. "MB" is read as
//! MiB, the larger of its two meanings: nothing that the old node took is refused by the new one.

use serde::Deserialize;

use super::output::{Converted, Output, needs_escape};
use super::schema::NodeConfig;

/// Longer files are no configuration of a cache node.
const MAX_INPUT_BYTES: usize = 1024 * 1024;

/// Why a file could not be converted; `Display` is one line for the terminal.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConvertError {
    /// Refused before parsing.
    #[error("the file has more than {} bytes: this is not a config.yaml of build-cache-node", MAX_INPUT_BYTES)]
    TooLarge,
    /// Not YAML, or a value of the wrong type.
    #[error("line {line}: {message}")]
    Yaml {
        /// Counted from 1.
        line: u64,
        /// Without values of the file, which may be secrets.
        message: String,
    },
    /// The same, where the parser knows no place.
    #[error("{0}")]
    YamlNowhere(String),
    /// Some other YAML file, most likely.
    #[error("there is no `version` key: is this conf/config.yaml from build-cache-node's data directory?")]
    NoVersion,
    /// Version 1 has other keys (`cache.credentials`, a plain number as `targetSize`); no file of 2 or 3 was seen.
    #[error(
        "this is a config.yaml of version {0}, larder reads versions 4 and 5: rewrite it as version 5 \
         (build-cache-node's manual has the keys), or write the few values into a larder.toml by hand"
    )]
    TooOld(u32),
    /// A version that did not exist when this was written.
    #[error("`version` is {0}, larder reads versions 4 and 5 of build-cache-node's config.yaml")]
    UnknownVersion(String),
}

#[derive(Deserialize)]
struct Head {
    version: Option<String>,
}

/// Converts the text of a `config.yaml`.
///
/// 1. look at the version; 2. read the keys; 3. write limits, then access; 4. report the rest.
///
/// # Errors
///
/// When the text is not YAML, not this file, or of a version that is not 4 or 5.
pub fn convert(yaml: &str) -> Result<Converted, ConvertError> {
    if yaml.len() > MAX_INPUT_BYTES {
        return Err(ConvertError::TooLarge);
    }
    let version = supported_version(yaml)?;
    let config: NodeConfig = parse(yaml)?;
    let cache = config.cache.unwrap_or_default();
    let access = cache.access_control.unwrap_or_default();

    let mut out = Output::default();
    out.comment(&format!(
        "Made by `larder import-node-config` from a config.yaml of version {version} (build-cache-node)."
    ));
    out.comment("Check it with: larder check --config larder.toml");
    out.blank();
    out.later_limits(cache.target_size.as_ref(), cache.free_space_buffer_size, cache.max_entry_age_in_hours);
    out.server_and_store();
    out.max_entry(cache.max_artifact_size);
    out.anonymous(access.anonymous_level);
    out.users(access.users.unwrap_or_default());

    out.ui_access(config.ui_access.as_ref());
    out.unknown("", &config.other);
    out.unknown("cache.", &cache.other);
    out.unknown("cache.accessControl.", &access.other);
    Ok(out.finish())
}

fn supported_version(yaml: &str) -> Result<u32, ConvertError> {
    let head: Option<Head> = parse(yaml)?;
    let text = head.and_then(|head| head.version).ok_or(ConvertError::NoVersion)?;
    match text.trim().parse::<u32>() {
        Ok(version @ 4..=5) => Ok(version),
        Ok(version @ 1..=3) => Err(ConvertError::TooOld(version)),
        _ => Err(ConvertError::UnknownVersion(one_line(&text))),
    }
}

fn parse<'de, T: Deserialize<'de>>(yaml: &'de str) -> Result<T, ConvertError> {
    // A thousand users are 10,000 events; an alias may stand for a little, never for a bomb.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 100_000,
            max_nodes: 50_000,
            max_aliases: 1_000,
            max_depth: 32,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        // A snippet of this file would print password hashes into somebody's build log.
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
        let message = one_line(&error.to_string());
        // The parser repeats the place, and names options of its own.
        let message = message.split(" at line ").next().unwrap_or_default();
        let message = message.split(", set Dup").next().unwrap_or_default().to_owned();
        match error.location().map(|place| place.line()) {
            Some(line) if line > 0 => ConvertError::Yaml { line, message },
            _ => ConvertError::YamlNowhere(message),
        }
    })
}

/// One printable line of at most 200 characters.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !needs_escape(*c)).take(200).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::node_password::can_be_sent;
    use super::*;
    use proptest::prelude::*;

    const FULL: &str = r#"version: 5
cache:
  accessControl:
    anonymousLevel: read
    users:
      ci:
        level: readwrite
        password: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=
        note: "the build server"
      retired:
        level: none
        password: x
  freeSpaceBufferSize: 2048
  maxEntryAgeInHours: 168
  targetSize:
    type: fixed
    size: 50000
  maxArtifactSize: 200
registration: null
uiAccess:
  type: secure
  username: admin
  password: x
"#;

    fn table(converted: &Converted) -> toml::Table {
        converted.toml.parse().unwrap_or_else(|error| panic!("{error}\n{}", converted.toml))
    }

    fn text<'a>(table: &'a toml::Table, section: &str, key: &str) -> &'a str {
        table[section][key].as_str().unwrap()
    }

    #[test]
    fn a_full_file_comes_over() {
        let done = convert(FULL).unwrap();
        let toml = table(&done);
        assert_eq!(text(&toml, "server", "listen"), "0.0.0.0:5071");
        assert_eq!(text(&toml, "store", "url"), "file:///data");
        assert_eq!(text(&toml, "gradle", "max_entry"), "200MiB");
        assert_eq!(text(&toml, "auth", "anonymous"), "read");
        let users = toml["auth"]["user"].as_array().unwrap();
        assert_eq!(users[0]["name"].as_str(), Some("ci"));
        assert_eq!(users[0]["password_env"].as_str(), Some("LARDER_PASSWORD_CI"));
        assert_eq!(users[0]["grants"][0].as_str(), Some("gradle:**=read-write"));
        assert_eq!(users[1]["grants"].as_array().map(Vec::len), Some(0));
        assert!(!done.toml.contains("AAAA"), "no hash in the output");
        assert_eq!(done.not_carried.iter().filter(|line| line.contains("needs a new password")).count(), 2);
        assert!(done.not_carried.iter().any(|line| line.starts_with("uiAccess (type \"secure\", user \"admin\")")));
        assert!(!done.not_carried.iter().any(|line| line.contains("registration")), "null is not set");
        assert_eq!(convert(FULL).unwrap(), done, "the same input gives the same output");
    }

    #[test]
    fn the_limits_for_later_are_valid_without_their_hash() {
        let toml = convert(FULL).unwrap().toml.replace("# sweep.", "sweep.");
        let toml: toml::Table = toml.parse().unwrap();
        assert_eq!(text(&toml, "sweep", "max_size"), "50000MiB");
        assert_eq!(text(&toml, "sweep", "free_space"), "2048MiB");
        assert_eq!(text(&toml, "sweep", "max_age"), "168h");
    }

    #[test]
    fn absent_keys_mean_what_they_meant_there() {
        for yaml in
            ["version: 5", "version: 4\ncache:\n", "version: 4\ncache: {accessControl: {users: {}}}\nuiAccess: ~\n"]
        {
            let done = convert(yaml).unwrap();
            let toml = table(&done);
            assert_eq!(text(&toml, "gradle", "max_entry"), "100MiB");
            assert_eq!(text(&toml, "auth", "anonymous"), "none");
            assert!(toml["auth"].get("user").is_none());
            assert!(done.toml.contains("# sweep.max_size = \"10000MiB\""));
            assert!(!done.toml.contains("max_age"));
        }
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        let yaml = r#"version: 5
cache:
  accessControl:
    users:
      'a"]\ # b': {level: READ, note: "x\n[auth]\nanonymous = 'read-write'"}
      "Jürgen\u202e": {level: readwrite}
      "two\nlines": {level: read}
      'co:lon': {level: read}
      '': {level: read}
"#;
        let done = convert(yaml).unwrap();
        let toml = table(&done);
        let names: Vec<_> =
            toml["auth"]["user"].as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["Jürgen\u{202e}", "a\"]\\ # b"]);
        assert_eq!(text(&toml, "auth", "anonymous"), "none");
        assert_eq!(done.not_carried.iter().filter(|line| line.contains("HTTP Basic")).count(), 3);
        assert!(done.not_carried.iter().chain(&done.carried).all(|line| !line.contains(needs_escape)));
    }

    #[test]
    fn what_larder_does_not_have_is_named() {
        let yaml = "version: 5\nregistration: {serverAddress: x}\n\
            cache: {targetSize: {type: other}, replication: {a: [1]}, \"o\\ndd\": 1}\n";
        let lines = convert(yaml).unwrap().not_carried.join("\n");
        for expected in [
            "registration: larder does not connect",
            "cache.replication: larder does not repl",
            "cache.\"o\\ndd\": no eq",
            "(type \"other\")",
        ] {
            assert!(lines.contains(expected), "{expected}\n{lines}");
        }
    }

    #[test]
    fn errors_are_one_clear_line() {
        let old = "version: 1\ncache: {targetSize: 500000, credentials: {anonymousLevel: READWRITE, users: []}}\n";
        for (yaml, expected) in [
            (old, "config.yaml of version 1, larder reads"),
            ("version: 6", "`version` is 6"),
            ("version: five", "`version` is five"),
            ("", "no `version` key"),
            ("image:\n  tag: 1\n", "no `version` key"),
            ("just text", "line 1: "),
            ("version: 5\ncache: [\n", "line "),
            ("version: 5\ncache:\n  maxArtifactSize: -3\n", "line 3: this must be a whole number"),
            ("version: 5\ncache:\n  maxArtifactSize: 9999999999999\n", "line 3: this must be a whole number"),
            ("version: 5\ncache:\n  accessControl:\n    anonymousLevel: write\n", "line 4: a level must be one of"),
            ("version: 5\nversion: 4\n", "line 2: duplicate mapping key: version"),
        ] {
            let message = convert(yaml).unwrap_err().to_string();
            assert!(message.contains(expected), "{yaml:?}: {message}");
            assert!(!message.contains(needs_escape), "{message}");
        }
        let long = format!("version: 5\n# {}", "x".repeat(MAX_INPUT_BYTES));
        assert_eq!(convert(&long), Err(ConvertError::TooLarge));
    }

    #[test]
    fn an_alias_bomb_is_an_error() {
        let mut yaml = "version: 5\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            yaml.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let start = std::time::Instant::now();
        assert!(convert(&yaml).is_err());
        assert!(start.elapsed() < std::time::Duration::from_secs(5));
        assert!(convert(&format!("version: 5\nx: {}", "[".repeat(10_000))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(yaml in "(version: 5\n)?\\PC{0,80}(\n *[a-z]{1,6}: ?[^a-z]{0,20}){0,6}") {
            if let Ok(done) = convert(&yaml) {
                prop_assert!(done.toml.parse::<toml::Table>().is_ok(), "{}", done.toml);
            }
        }

        #[test]
        fn any_values_give_toml(
            names in prop::collection::btree_set(any::<String>(), 0..5),
            note in any::<String>(), kind in any::<String>(), key in any::<String>(), mb in any::<u32>(),
        ) {
            // YAML's double-quoted scalars take every character as an escape.
            let yaml_text = |text: &str| {
                let escaped: String = text.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
                format!("\"{escaped}\"")
            };
            let (kind, key) = (yaml_text(&kind), yaml_text(&format!("x{key}")));
            let mut yaml = format!(
                "version: 5\nuiAccess: {{type: {kind}, username: {kind}}}\ncache:\n  {key}: 1\n  maxArtifactSize: {mb}\n  \
                 targetSize: {{type: {kind}, size: {mb}}}\n  accessControl:\n    users:\n"
            );
            let note = yaml_text(&note);
            for name in &names {
                yaml.push_str(&format!("      ? {}\n      : {{level: read, note: {note}}}\n", yaml_text(name)));
            }
            let done = convert(&yaml).map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
            let toml: toml::Table =
                done.toml.parse().map_err(|error| TestCaseError::fail(format!("{error}\n{}", done.toml)))?;
            let found: Vec<_> = toml["auth"].get("user").and_then(|users| users.as_array()).into_iter().flatten()
                .filter_map(|user| user["name"].as_str().map(str::to_owned)).collect();
            let expected: Vec<_> = names.iter().filter(|name| can_be_sent(name)).cloned().collect();
            prop_assert_eq!(found, expected);
            prop_assert!(done.carried.iter().chain(&done.not_carried).all(|line| !line.contains(needs_escape)));
        }
    }
}
