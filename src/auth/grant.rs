//! What a user may do: `gradle:team-*=read-write`.

/// A level of access; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Look up.
    Read,
    /// Store as well.
    Write,
    /// Delete and look into the node as well.
    Admin,
}

/// What an access is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A namespace of Gradle entries.
    Gradle(&'a str),
    /// A repository of the registry.
    Oci(&'a str),
    /// All repositories there are.
    EveryRepository,
    /// The node itself: covered by grants over everything of a kind.
    Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Gradle,
    Oci,
}

/// One grant of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    scope: Scope,
    glob: String,
    access: Access,
}

const EVERYTHING: &str = "**";

impl Grant {
    /// Parses `<scope>:<glob>=<access>`.
    ///
    /// # Errors
    /// One line that shows the form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a grant; write \"gradle:<namespace>=read\" or \"oci:<repository>=read\", read-write or admin; * and ** match any text"
            )
        };
        let (scope, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (glob, access) = rest.rsplit_once('=').ok_or_else(wrong)?;
        let scope = match scope {
            "gradle" => Scope::Gradle,
            "oci" => Scope::Oci,
            _ => return Err(wrong()),
        };
        let access = match access {
            "read" => Access::Read,
            "read-write" | "readwrite" => Access::Write,
            "admin" => Access::Admin,
            _ => return Err(wrong()),
        };
        let known = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' | b'*');
        if glob.is_empty() || !glob.bytes().all(known) {
            return Err(wrong());
        }
        Ok(Self { scope, glob: glob.to_owned(), access })
    }

    /// Grants over everything there is.
    pub fn everywhere(access: Access) -> Vec<Self> {
        [Scope::Gradle, Scope::Oci].map(|scope| Self { scope, glob: EVERYTHING.into(), access }).into()
    }

    /// Whether this grant allows the access.
    pub fn covers(&self, access: Access, target: Target<'_>) -> bool {
        self.access >= access
            && match target {
                Target::Gradle(namespace) => self.scope == Scope::Gradle && matches(&self.glob, namespace),
                Target::Oci(repository) => self.scope == Scope::Oci && matches(&self.glob, repository),
                Target::EveryRepository => self.scope == Scope::Oci && self.glob == EVERYTHING,
                Target::Node => self.glob == EVERYTHING,
            }
    }
}

/// `*` matches any text without a slash, `**` any text.
fn matches(glob: &str, text: &str) -> bool {
    if glob == EVERYTHING {
        return true;
    }
    fn step(glob: &[u8], text: &[u8]) -> bool {
        match glob {
            [] => text.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=text.len()).any(|n| step(rest, &text[n..])),
            [b'*', rest @ ..] => {
                let end = text.iter().position(|&b| b == b'/').unwrap_or(text.len());
                (0..=end).any(|n| step(rest, &text[n..]))
            }
            [first, rest @ ..] => text.first() == Some(first) && step(rest, &text[1..]),
        }
    }
    step(glob.as_bytes(), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_parsed_and_cover_what_they_say() {
        let grant = Grant::parse("gradle:team-*=read-write").unwrap();
        assert!(grant.covers(Access::Read, Target::Gradle("team-a")));
        assert!(grant.covers(Access::Write, Target::Gradle("team-a")));
        assert!(!grant.covers(Access::Admin, Target::Gradle("team-a")));
        assert!(!grant.covers(Access::Read, Target::Gradle("other")));
        assert!(!grant.covers(Access::Read, Target::Node));
        assert!(Grant::parse("gradle:**=admin").unwrap().covers(Access::Admin, Target::Node));
        assert!(!Grant::parse("oci:**=admin").unwrap().covers(Access::Read, Target::Gradle("x")));
        for bad in ["", "gradle", "gradle:=read", "gradle:**", "gradle:**=all", "s3:**=read", "gradle:A=read"] {
            assert!(Grant::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stars_stop_at_slashes_and_two_do_not() {
        assert!(matches("team/*", "team/a") && !matches("team/*", "team/a/b"));
        assert!(matches("team/**", "team/a/b") && matches("*", "abc") && matches("a*c", "abc"));
        assert!(!matches("a*c", "abd") && !matches("", "a"));
    }
}
