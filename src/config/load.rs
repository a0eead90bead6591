//! From flags, environment, file and defaults to one configuration, in that order of precedence.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Config, Secret, UserConfig};

/// What a command line and a process bring along.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--data`, a directory.
    pub data: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
}

const PREFIX: &str = "LARDER_";
/// What Kubernetes injects for a Service called `larder`.
const OF_KUBERNETES: [&str; 2] = ["LARDER_PORT", "LARDER_SERVICE_"];
/// Read by other parts: where the tests find their tools.
const OF_OTHERS: [&str; 1] = ["LARDER_TEST_"];

/// Loads and checks the configuration; gives it with the warnings that go into the log.
///
/// # Errors
/// One line that names the key or the variable and what to do.
pub fn load(sources: &Sources) -> Result<(Config, Vec<String>), String> {
    let mut table = match &sources.file {
        Some(path) => read_file(path)?,
        None => Table::new(),
    };
    let mut unknown = Vec::new();
    for (name, value) in &sources.environment {
        if let Some(key) = name.strip_prefix(PREFIX)
            && !OF_KUBERNETES.iter().chain(&OF_OTHERS).any(|known| name.starts_with(known))
            && !set_from_environment(&mut table, name, key, value)?
        {
            unknown.push(name);
        }
    }
    if let Some(listen) = &sources.listen {
        set_from_environment(&mut table, "--listen", "server_listen", listen)?;
    }
    if let Some(data) = &sources.data {
        set(&mut table, "store", "url", Value::String(format!("file://{}", data.display())));
    }
    let mut config: Config = parse("the configuration", table)?;
    let mut warnings = Vec::new();
    match user_of_build_cache_password(&sources.environment)? {
        Some(user) if config.auth.users.is_empty() => config.auth.users.push(user),
        Some(_) => warnings.push("BUILD_CACHE_PASSWORD makes no user here, because auth.user names others".to_owned()),
        None => {}
    }
    config.validate()?;
    let named = |name: &str| config.auth.users.iter().any(|user| user.password_env.as_deref() == Some(name));
    let unknown = unknown.into_iter().filter(|name| !named(name));
    warnings
        .extend(unknown.map(|name| format!("the environment variable {name} is not one of larder's; it is ignored")));
    Ok((config, warnings))
}

#[allow(clippy::disallowed_methods)] // the configuration file is read here and nowhere else
fn read_file(path: &Path) -> Result<Table, String> {
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("cannot read the configuration {}: {e}", path.display()))?;
    // Parsed as a whole first, so that an error can name its line.
    toml::from_str::<Config>(&text).map_err(|e| {
        let line = e.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let line = line.map(|n| format!(" line {n}")).unwrap_or_default();
        format!("{}{line}: {}", path.display(), one_line(e.message()))
    })?;
    text.parse::<Table>().map_err(|e| format!("{}: {}", path.display(), one_line(e.message())))
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn parse<T: DeserializeOwned>(what: &str, table: Table) -> Result<T, String> {
    table.try_into().map_err(|e: toml::de::Error| format!("{what}: {}", one_line(e.message())))
}

fn set(table: &mut Table, section: &str, key: &str, value: Value) {
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value);
    }
}

/// Sets `section.key` from `LARDER_SECTION_KEY`; false when there is no such key. A value that is wrong is told with
/// the variable's name.
fn set_from_environment(table: &mut Table, name: &str, key: &str, text: &str) -> Result<bool, String> {
    let lower = key.to_ascii_lowercase();
    let Some((section, field)) = lower.split_once('_').filter(|(section, field)| is_key(section, field)) else {
        return Ok(false);
    };
    // Numbers and lists are written as in the file, everything else is a text as it stands. Which of the two a key
    // wants is found by trying.
    let as_text = Value::String(text.to_owned());
    let as_toml = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
    let is_users = section == "auth" && field == "user";
    if is_users && as_toml.is_none() {
        // Not with the parser's words: they would show the passwords in it.
        let example = "[{name = \"ci\", password_env = \"CI_PASSWORD\", grants = [\"gradle:**=read-write\"]}]";
        return Err(format!("{name}: not a list of users in TOML; write {example}"));
    }
    let mut problem = None;
    for value in Some(as_text).filter(|_| !is_users).into_iter().chain(as_toml) {
        let mut alone = Table::new();
        set(&mut alone, section, field, value.clone());
        match alone.try_into::<Config>() {
            Ok(_) => {
                set(table, section, field, value);
                return Ok(true);
            }
            Err(e) => problem = problem.or_else(|| Some(format!("{name}: {}", one_line(e.message())))),
        }
    }
    problem.map_or(Ok(false), Err)
}

/// Whether a section has such a key: one with a default, or one of those that have none.
fn is_key(section: &str, field: &str) -> bool {
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let has_default = defaults.get(section).and_then(Value::as_table).is_some_and(|keys| keys.contains_key(field));
    has_default || (section == "auth" && matches!(field, "anonymous" | "user"))
}

/// One password for everything, the way CI systems inject it.
fn user_of_build_cache_password(environment: &[(String, String)]) -> Result<Option<UserConfig>, String> {
    let of = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let Some(password) = of("BUILD_CACHE_PASSWORD") else { return Ok(None) };
    if password.is_empty() {
        return Err(
            "BUILD_CACHE_PASSWORD is set and empty: a secret that did not arrive? Give it a value, or unset it".into(),
        );
    }
    Ok(Some(UserConfig {
        name: of("BUILD_CACHE_USER").filter(|name| !name.is_empty()).unwrap_or_else(|| "gradle".into()),
        password: Some(Secret::new(password)),
        grants: Some(vec!["gradle:**=read-write".into(), "oci:**=read-write".into()]),
        ..UserConfig::default()
    }))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::config::units::Size;
    use crate::config::{Anonymous, Writes};

    fn sources(environment: &[(&str, &str)]) -> Sources {
        Sources {
            environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Sources::default()
        }
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("larder.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let (_dir, path) =
            file("[server]\nlisten = \"127.0.0.1:1\"\n[gradle]\nmax_entry = \"1MiB\"\nwrites = \"strict\"");
        let mut from = sources(&[("LARDER_SERVER_LISTEN", "127.0.0.1:2"), ("LARDER_GRADLE_MAX_ENTRY", "2MiB")]);
        from.file = Some(path);
        let (config, warnings) = load(&from).unwrap();
        assert_eq!(config.server.listen.port(), 2);
        assert_eq!(config.gradle.max_entry, Size::mib(2));
        assert_eq!(config.gradle.writes, Writes::Strict);
        assert!(warnings.is_empty());
        from.listen = Some("127.0.0.1:3".into());
        from.data = Some("/x".into());
        let (config, _) = load(&from).unwrap();
        assert_eq!((config.server.listen.port(), config.store.url.as_str()), (3, "file:///x"));
    }

    #[test]
    fn numbers_and_lists_come_from_the_environment_too() {
        let from = sources(&[
            ("LARDER_SERVER_MAX_CONNECTIONS", "12"),
            ("LARDER_AUTH_USER", "[{name = \"ci\", password = \"x\", grants = [\"gradle:**=read\"]}]"),
            ("LARDER_AUTH_ANONYMOUS", "readwrite"),
        ]);
        let (config, _) = load(&from).unwrap();
        assert_eq!(config.server.max_connections, 12);
        assert_eq!(config.auth.users[0].name, "ci");
        assert_eq!(config.auth.anonymous, Some(Anonymous::ReadWrite));
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        let wrong = |text: &str| {
            let (_dir, path) = file(text);
            let error = load(&Sources { file: Some(path), ..Sources::default() }).unwrap_err();
            assert!(!error.contains('\n'), "{error}");
            error
        };
        assert!(wrong("[server]\nlisten = \"127.0.0.1:1\"\nlissten = 1").contains("line 3: unknown field `lissten`"));
        assert!(wrong("[gradle]\nmax_entry = \"12 parsecs\"").contains("line 2: `12 parsecs` is not a size"));
        assert!(wrong("[nonsense]\na = 1").contains("unknown field `nonsense`"));
        assert!(wrong("[server\n").contains("line 1"));
        assert!(wrong("[[auth.user]]\nname = \"a\"").contains("exactly one of password"));
        assert!(wrong("[[auth.user]]\nname = \"a\"\npassword = \"x\"").contains("grants are missing"));
        assert!(wrong("[server]\nlisten = \"localhost:1\"").contains("127.0.0.1:5071"));
        let error = load(&sources(&[("LARDER_GRADLE_MAX_ENTRY", "lots")])).unwrap_err();
        assert!(error.starts_with("LARDER_GRADLE_MAX_ENTRY: `lots` is not a size"), "{error}");
        for users in [
            "[{name = \"ci\", password = \"hunter2\", note = 1}]",
            "[{name=\"ci\", password=\"hunter2\"",
            "[{password = 77}]",
        ] {
            let error = load(&sources(&[("LARDER_AUTH_USER", users)])).unwrap_err();
            assert!(
                error.starts_with("LARDER_AUTH_USER") && !error.contains("hunter2") && !error.contains("77"),
                "{error}"
            );
        }
        assert!(load(&sources(&[("BUILD_CACHE_PASSWORD", "")])).unwrap_err().contains("set and empty"));
        let missing = Sources { file: Some("/does/not/exist.toml".into()), ..Sources::default() };
        assert!(load(&missing).unwrap_err().contains("/does/not/exist.toml"));
    }

    #[test]
    fn unknown_variables_warn_and_those_of_kubernetes_do_not() {
        let (_, warnings) = load(&sources(&[
            ("LARDER_GRADEL_WRITES", "strict"),
            ("LARDER_PORT", "tcp://10.0.0.1:5071"),
            ("LARDER_PORT_5071_TCP_ADDR", "10.0.0.1"),
            ("LARDER_SERVICE_HOST", "10.0.0.1"),
            ("LARDER_SERVER_SPEED", "1"),
        ]))
        .unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("LARDER_GRADEL_WRITES"));
    }

    #[test]
    fn one_password_makes_one_user() {
        let (config, _) = load(&sources(&[("BUILD_CACHE_PASSWORD", "s3cret")])).unwrap();
        assert_eq!(config.auth.users[0].name, "gradle");
        assert_eq!(config.anonymous(), Anonymous::None);
        let shown = format!("{config:?} {}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn beyond_loopback_somebody_must_be_named() {
        let open = sources(&[("LARDER_SERVER_LISTEN", "0.0.0.0:5071")]);
        assert!(load(&open).unwrap_err().contains("BUILD_CACHE_PASSWORD"));
        let named = sources(&[("LARDER_SERVER_LISTEN", "0.0.0.0:5071"), ("LARDER_AUTH_ANONYMOUS", "read")]);
        assert!(load(&named).is_ok());
        assert_eq!(load(&sources(&[])).unwrap().0.anonymous(), Anonymous::ReadWrite);
    }
}
