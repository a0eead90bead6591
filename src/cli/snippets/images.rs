//! Lines for kaniko, buildah and docker, for a node's address and user.

/// Ready to paste. `--insecure-registry` and `--tls-verify=false` are for plain HTTP.
pub fn lines(host: &str, user: Option<&str>) -> String {
    let login = |command: &str| match user {
        Some(user) => format!("    {command} -u {} {host}\n", shell(user)),
        None => String::new(),
    };
    let knows = match user {
        Some(user) => format!(", with {user}'s password for {host} in its config.json"),
        None => String::new(),
    };
    format!(
        "For kaniko{knows}:

    --cache=true --cache-repo={host}/team/cache \\
    --insecure-registry={host}

For buildah, and for docker (with {host} in its insecure-registries):

{}    buildah build --tls-verify=false --layers -t {host}/team/app \\
        --cache-to {host}/team/cache \\
        --cache-from {host}/team/cache .
    buildah push --tls-verify=false {host}/team/app

{}    docker push {host}/team/app
",
        login("buildah login --tls-verify=false"),
        login("docker login")
    )
}

/// A word of a shell's command line.
fn shell(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_logs_in_where_nobody_is_needed() {
        let open = lines("127.0.0.1:5071", None);
        assert!(!open.contains("login") && open.contains("--cache-repo=127.0.0.1:5071/team/cache"), "{open}");
        let closed = lines("127.0.0.1:5071", Some("it's me"));
        assert!(closed.contains(r"docker login -u 'it'\''s me' 127.0.0.1:5071"), "{closed}");
    }
}
