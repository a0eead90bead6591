//! What a node prints at start: lines that are ready to paste, for its own address and user.

mod gradle;
mod images;

use std::net::{IpAddr, SocketAddr};

use crate::config::{Anonymous, Config};
use crate::store::Location;

/// The lines for a node that listens on `address`.
pub fn banner(config: &Config, address: SocketAddr) -> String {
    let host = reachable(address);
    let base = format!("http://{host}");
    let url = format!("{base}/cache/");
    let user = user(config);
    let password = match &user {
        Some(user) => format!("\nand {user}'s password as BUILD_CACHE_PASSWORD where the builds run.\n"),
        None => String::new(),
    };
    format!(
        "larder {version}
  cache  {url}
  images {host}/
  page   {base}/
  data   {data}

In gradle.properties:

    org.gradle.caching=true

In settings.gradle (Gradle 4.4 to 9):

{groovy}
or in settings.gradle.kts (Gradle 5 to 9):

{kotlin}{password}
{images}
",
        version = env!("CARGO_PKG_VERSION"),
        data = data(config),
        groovy = gradle::groovy(&url, user.as_deref()),
        kotlin = gradle::kotlin(&url, user.as_deref()),
        images = images::lines(&host, pusher(config).as_deref()),
    )
}

/// Where the data is, as a path that means the same everywhere.
fn data(config: &Config) -> String {
    match Location::parse(&config.store.url) {
        Ok(Location::Directory(path)) => std::path::absolute(&path).unwrap_or(path).display().to_string(),
        Ok(Location::Memory) | Err(_) => config.store.url.clone(),
    }
}

/// The name to put into Gradle's settings.
fn user(config: &Config) -> Option<String> {
    who_may_write(config, "gradle:")
}

/// The name to push images with.
fn pusher(config: &Config) -> Option<String> {
    who_may_write(config, "oci:")
}

/// The first user who may write there, or nobody where nobody is needed.
fn who_may_write(config: &Config, scope: &str) -> Option<String> {
    if config.anonymous() == Anonymous::ReadWrite {
        return None;
    }
    let users = &config.auth.users;
    let stores = |grant: &String| grant.starts_with(scope) && !grant.ends_with("=read");
    let may_store = users.iter().find(|user| user.grants.iter().flatten().any(stores));
    may_store.or(users.first()).map(|user| user.name.clone())
}

/// An address that others can use: one that listens everywhere is reached by the machine's name.
fn reachable(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("{}:{port}", host_name().unwrap_or_else(|| "localhost".into())),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        IpAddr::V4(ip) => format!("{ip}:{port}"),
    }
}

fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UserConfig;

    fn with_users(names: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        config.auth.users = names
            .iter()
            .map(|(name, grant)| UserConfig {
                name: (*name).into(),
                grants: Some(vec![(*grant).into()]),
                ..UserConfig::default()
            })
            .collect();
        config
    }

    #[test]
    fn it_fits_eighty_columns_and_names_who_may_store() {
        let config = with_users(&[("dev", "gradle:**=read"), ("ci", "gradle:**=read-write")]);
        let banner = banner(&config, SocketAddr::from(([10, 0, 0, 1], 5071)));
        assert!(banner.lines().all(|line| line.len() <= 80), "{banner}");
        assert!(banner.contains("username = 'ci'") && banner.contains("http://10.0.0.1:5071/cache/"));
        assert!(banner.contains("ci's password as BUILD_CACHE_PASSWORD"));
        assert!(banner.contains("--cache-repo=10.0.0.1:5071/team/cache"));
    }

    #[test]
    fn nobody_is_named_where_nobody_is_needed() {
        let banner = banner(&Config::default(), "[::1]:5071".parse().unwrap());
        assert!(!banner.contains("credentials") && banner.contains("http://[::1]:5071/cache/"));
    }

    #[test]
    fn names_with_quotes_stay_inside_their_quotes() {
        let config = with_users(&[("it's $a \"b\"", "gradle:**=read-write")]);
        let banner = banner(&config, SocketAddr::from(([127, 0, 0, 1], 1)));
        assert!(banner.contains(r"'it\'s $a") && banner.contains(r#"\$a \"b\""#), "{banner}");
    }
}
