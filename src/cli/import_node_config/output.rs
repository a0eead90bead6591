//! Writes the TOML of a conversion and, beside it, the report of what came over and what did not.

use std::collections::{BTreeMap, BTreeSet};

use super::node_password::{can_be_sent, is_node_hash, variable_for};
use super::schema::{Level, Other, TargetSize, UiAccess, User, Whole};

/// What build-cache-node does without the key, in its MB.
const DEFAULT_MAX_ARTIFACT_MB: u32 = 100;
const DEFAULT_TARGET_MB: u32 = 10_000;
const DEFAULT_FREE_SPACE_MB: u32 = 1024;
const NO_SWEEPER: &str = "larder removes nothing by itself before it has its sweeper, watch the disk";

/// Control characters, and those that reorder or break a line on a screen.
pub(super) fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A TOML basic string. Also used for text of the file inside comments, where a bare newline
/// would end the comment and start a setting.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if needs_escape(c) => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A finished conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The whole `larder.toml`.
    pub toml: String,
    /// One line for each setting that came over.
    pub carried: Vec<String>,
    /// One line for each setting that did not, with the reason and what to do.
    pub not_carried: Vec<String>,
}

/// The three parts of [`Converted`] while they grow.
#[derive(Default)]
pub(super) struct Output {
    toml: String,
    carried: Vec<String>,
    not_carried: Vec<String>,
}

impl Output {
    pub(super) fn finish(self) -> Converted {
        Converted { toml: self.toml, carried: self.carried, not_carried: self.not_carried }
    }

    pub(super) fn blank(&mut self) {
        self.toml.push('\n');
    }

    fn line(&mut self, line: &str) {
        self.toml.push_str(line);
        self.toml.push('\n');
    }

    pub(super) fn comment(&mut self, text: &str) {
        self.line(&format!("# {text}"));
    }

    fn came_over(&mut self, what: &str, to: &str) {
        self.carried.push(format!("{what} -> {to}"));
    }

    fn left_behind(&mut self, what: &str, why: &str) {
        self.not_carried.push(format!("{what}: {why}"));
    }

    /// Before the first table, so that taking the `#` away makes a valid file.
    pub(super) fn later_limits(
        &mut self,
        target: Option<&TargetSize>,
        free_mb: Option<Whole>,
        age_hours: Option<Whole>,
    ) {
        self.comment("Limits of build-cache-node that larder will know in a later release:");
        let fixed = |mb: u32| (Some(mb), format!("cache.targetSize ({mb} MB)"));
        let (max_mb, target_text) = match target {
            None => (Some(DEFAULT_TARGET_MB), format!("cache.targetSize (not set, there {DEFAULT_TARGET_MB} MB)")),
            Some(TargetSize { r#type, size }) => match (r#type.as_deref(), size) {
                (None | Some("fixed"), Some(mb)) => fixed(mb.0),
                (None | Some("fixed"), None) => fixed(DEFAULT_TARGET_MB),
                (Some(other), _) => (None, format!("cache.targetSize (type {})", quoted(other))),
            },
        };
        if let Some(mb) = max_mb {
            self.later_key("max_size", &format!("{mb}MiB"), "cache.targetSize");
        }
        self.left_behind(&target_text, NO_SWEEPER);
        self.later_key(
            "free_space",
            &format!("{}MiB", free_mb.map_or(DEFAULT_FREE_SPACE_MB, |mb| mb.0)),
            "cache.freeSpaceBufferSize",
        );
        let free_text = match free_mb {
            Some(Whole(mb)) => format!("cache.freeSpaceBufferSize ({mb} MB)"),
            None => {
                format!("cache.freeSpaceBufferSize (not set, there {DEFAULT_FREE_SPACE_MB} MB)")
            }
        };
        self.left_behind(&free_text, NO_SWEEPER);
        if let Some(Whole(hours)) = age_hours {
            self.later_key("max_age", &format!("{hours}h"), "cache.maxEntryAgeInHours");
            self.left_behind(&format!("cache.maxEntryAgeInHours ({hours})"), NO_SWEEPER);
        }
        self.blank();
    }

    fn later_key(&mut self, key: &str, value: &str, from: &str) {
        self.comment(&format!("sweep.{key} = \"{value}\"  # available when larder has its sweeper; {from}"));
    }

    pub(super) fn server_and_store(&mut self) {
        self.line("[server]");
        self.comment("build-cache-node's own port; if it was started with --port, write that port here.");
        self.line("listen = \"0.0.0.0:5071\"");
        self.blank();
        self.line("[store]");
        self.comment(
            "The volume /data as in build-cache-node's image, but an empty one: the old entries stay with the",
        );
        self.comment("old node. Not in a container: a directory of larder's own, such as file:///var/lib/larder");
        self.line("url = \"file:///data\"");
        self.blank();
    }

    pub(super) fn max_entry(&mut self, mb: Option<Whole>) {
        self.line("[gradle]");
        let from = match mb {
            Some(Whole(mb)) => format!("cache.maxArtifactSize ({mb} MB)"),
            None => format!("cache.maxArtifactSize (not set, there {DEFAULT_MAX_ARTIFACT_MB} MB)"),
        };
        self.comment(&from);
        self.line(&format!("max_entry = \"{}MiB\"", mb.map_or(DEFAULT_MAX_ARTIFACT_MB, |mb| mb.0)));
        self.blank();
        self.came_over(&from, "gradle.max_entry");
    }

    pub(super) fn anonymous(&mut self, level: Option<Level>) {
        self.line("[auth]");
        let from = match level {
            Some(level) => format!("cache.accessControl.anonymousLevel ({})", level.node_name()),
            None => "cache.accessControl.anonymousLevel (not set, there none)".to_owned(),
        };
        self.comment(&from);
        self.line(&format!("anonymous = \"{}\"", level.unwrap_or(Level::None).anonymous()));
        self.came_over(&from, "auth.anonymous");
    }

    pub(super) fn users(&mut self, users: BTreeMap<String, Option<User>>) {
        let mut taken = BTreeSet::new();
        for (name, user) in users {
            let from = format!("cache.accessControl.users.{}", quoted(&name));
            if !can_be_sent(&name) {
                self.left_behind(&from, "HTTP Basic cannot carry an empty name, a colon or a control character");
                continue;
            }
            self.user(&name, &from, user.unwrap_or_default(), &mut taken);
        }
    }

    fn user(&mut self, name: &str, from: &str, user: User, taken: &mut BTreeSet<String>) {
        let variable = variable_for(name, taken);
        self.blank();
        self.line("[[auth.user]]");
        self.comment(from);
        if let Some(note) = user.note.as_deref().filter(|note| !note.is_empty()) {
            self.comment(&format!("note: {}", quoted(note)));
        }
        self.line(&format!("name = {}", quoted(name)));
        self.comment("Set this variable to the password that the builds send already, or to a new one;");
        self.comment("password_file and password_hash (bcrypt, argon2id) are the other ways.");
        self.line(&format!("password_env = \"{variable}\""));
        self.line(&format!("grants = {}", user.level.unwrap_or(Level::None).grants()));

        match user.level {
            Some(level) => self.came_over(&format!("{from} (level {})", level.node_name()), "auth.user"),
            None => {
                self.left_behind(&format!("{from}.level"), "not set in the file, so larder grants nothing; add grants")
            }
        }
        let why = match user.password.as_deref() {
            Some(password) if is_node_hash(password) => {
                "is hashed in build-cache-node's own way, which larder cannot check"
            }
            Some(_) => "is not in a form that larder knows",
            None => "is not in the file",
        };
        self.left_behind(
            &format!("{from}.password"),
            &format!("needs a new password (it {why}): set {variable}; the one that the builds send now will do"),
        );
        self.unknown(&format!("{from}."), &user.other);
    }

    pub(super) fn ui_access(&mut self, ui: Option<&UiAccess>) {
        let Some(ui) = ui else { return };
        let kind = ui.r#type.as_deref().unwrap_or("not set");
        let who = ui.username.as_deref().map(|name| format!(", user {}", quoted(name))).unwrap_or_default();
        self.left_behind(
            &format!("uiAccess (type {}{who})", quoted(kind)),
            "larder has no separate user for its page; give a user the grant \"gradle:**=admin\"",
        );
    }

    pub(super) fn unknown(&mut self, path: &str, other: &Other) {
        for key in other.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key) {
            let why = match (path, key.as_str()) {
                ("", "registration") => "larder does not connect to Develocity",
                _ if key.to_ascii_lowercase().contains("replica") => "larder does not replicate from another node",
                _ => "no equivalent in larder",
            };
            let key = if key.bytes().all(|b| b.is_ascii_alphanumeric()) { key.clone() } else { quoted(key) };
            self.left_behind(&format!("{path}{key}"), why);
        }
    }
}
