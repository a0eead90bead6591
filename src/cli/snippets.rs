//! What a node prints at start: lines that are ready to paste, for its own address and user.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Anonymous, Config};

/// The lines for a node that listens on `address`.
pub fn banner(config: &Config, address: SocketAddr) -> String {
    let url = format!("http://{}/cache/", reachable(address));
    let user = user(config);
    format!(
        "larder {version} serves {url} and keeps its data in {store}.

In gradle.properties:

    org.gradle.caching=true

In settings.gradle (Gradle 4.4 to 9):

{groovy}
or in settings.gradle.kts (Gradle 5 to 9):

{kotlin}
",
        version = env!("CARGO_PKG_VERSION"),
        store = config.store.url,
        groovy = groovy(&url, user.as_deref()),
        kotlin = kotlin(&url, user.as_deref()),
    )
}

/// The name to put into settings: the first user who may store, or nobody where nobody is needed.
fn user(config: &Config) -> Option<String> {
    if config.anonymous() == Anonymous::ReadWrite {
        return None;
    }
    let users = &config.auth.users;
    let may_store =
        |grants: &[String]| grants.iter().any(|grant| grant.starts_with("gradle:") && !grant.ends_with("=read"));
    users.iter().find(|user| may_store(&user.grants)).or(users.first()).map(|user| user.name.clone())
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

// `allowInsecureProtocol` exists since Gradle 6; plain HTTP needs it from 7 on, and 4.4 does not start with it.
fn groovy(url: &str, user: Option<&str>) -> String {
    let credentials = user.map_or(String::new(), |user| {
        format!(
            "            credentials {{
                username = '{user}'
                password = System.getenv('BUILD_CACHE_PASSWORD')
            }}
"
        )
    });
    format!(
        "    buildCache {{
        remote(HttpBuildCache) {{
            url = '{url}'
            if (it.hasProperty('allowInsecureProtocol')) {{
                allowInsecureProtocol = true
            }}
            push = System.getenv('CI') != null
{credentials}        }}
    }}
"
    )
}

fn kotlin(url: &str, user: Option<&str>) -> String {
    let credentials = user.map_or(String::new(), |user| {
        format!(
            "            credentials {{
                username = \"{user}\"
                password = System.getenv(\"BUILD_CACHE_PASSWORD\")
            }}
"
        )
    });
    format!(
        "    buildCache {{
        remote(HttpBuildCache::class.java) {{
            url = uri(\"{url}\")
            javaClass.methods.find {{ it.name == \"setAllowInsecureProtocol\" }}
                ?.invoke(this, true)
            isPush = System.getenv(\"CI\") != null
{credentials}        }}
    }}
"
    )
}
