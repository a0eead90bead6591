//! Gradle's settings for a node's address and user.

/// The block for `settings.gradle`.
///
/// `allowInsecureProtocol` exists since Gradle 6; plain HTTP needs it from 7 on, and 4.4 does not start with it. `it` is
/// the cache itself in every version. Without a password the cache is off, which hurts nobody; a 401 would be a warning.
pub fn groovy(url: &str, user: Option<&str>) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let credentials = user.map_or(String::new(), |user| {
        format!(
            "            enabled = System.getenv('BUILD_CACHE_PASSWORD') != null
            credentials {{
                username = '{}'
                password = System.getenv('BUILD_CACHE_PASSWORD')
            }}
",
            quoted(user)
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

/// The block for `settings.gradle.kts`. In Kotlin the property cannot be named where it does not exist, hence the reflective call.
pub fn kotlin(url: &str, user: Option<&str>) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    let credentials = user.map_or(String::new(), |user| {
        format!(
            "            isEnabled = System.getenv(\"BUILD_CACHE_PASSWORD\") != null
            credentials {{
                username = \"{}\"
                password = System.getenv(\"BUILD_CACHE_PASSWORD\")
            }}
",
            quoted(user)
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
