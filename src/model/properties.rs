//! Java's properties format, as far as METADATA files use it.

/// The key and value pairs of a properties text, escapes resolved; what cannot be read is passed over.
///
/// Rules from the documentation of `java.util.Properties.load`; continuation lines are not joined, because
/// `Properties.store` never writes them.
pub fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])).map(|line| {
        let mut escaped = false;
        let end = line
            .char_indices()
            .find(|&(_, c)| {
                let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t');
                escaped = !escaped && c == '\\';
                ends
            })
            .map_or(line.len(), |(at, _)| at);
        let (key, rest) = line.split_at(end);
        let rest = rest.trim_start_matches([' ', '\t']);
        let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches([' ', '\t']);
        (unescape(key), unescape(value))
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('u') => {
                let hex: String = chars.by_ref().take(4).collect();
                let unit = u32::from_str_radix(&hex, 16).ok();
                out.push(unit.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_java_writes_is_read() {
        let text = "#Generated\nexecutionTime=1234\npath=\\:app\\:compileJava\nname = a b\\u00e9\nflag\n";
        let all: Vec<_> = pairs(text).collect();
        let want = [("executionTime", "1234"), ("path", ":app:compileJava"), ("name", "a bé"), ("flag", "")];
        assert_eq!(all, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\PC|[\\\\=:#\n u]){0,80}") {
            pairs(&text).for_each(drop);
        }
    }
}
