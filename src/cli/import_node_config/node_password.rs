//! The users of a `config.yaml`: which names HTTP Basic can carry, and what stands for a password.
//!
//! Passwords do not come over. In the file they are salted hashes, made by the node's `hash`
//! command; how could not be confirmed (of three public samples with a password beside them, one
//! is SHA-256 of salt and password, two are not), and larder takes bcrypt and argon2id alone. But
//! the builds hold the plain text, so the new configuration names an environment variable for it.

use std::collections::BTreeSet;

/// RFC 7617, section 2: a colon ends the user's name, and control characters are not allowed.
pub(super) fn can_be_sent(name: &str) -> bool {
    !name.is_empty() && !name.contains(':') && !name.chars().any(char::is_control)
}

/// `LARDER_PASSWORD_<NAME>`, in characters that every shell and Kubernetes accept, unique in `taken`.
pub(super) fn variable_for(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut letters: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if letters.bytes().all(|b| b == b'_') {
        letters = "USER".to_owned();
    }
    let base = format!("LARDER_PASSWORD_{letters}");
    let mut variable = base.clone();
    let mut number = 2;
    while !taken.insert(variable.clone()) {
        variable = format!("{base}_{number}");
        number += 1;
    }
    variable
}

/// `base64(32 bytes):base64(32 bytes)`, the form in every file seen: recognised for the message, never carried.
pub(super) fn is_node_hash(password: &str) -> bool {
    let half = |text: &str| {
        text.len() == 44
            && text.ends_with('=')
            && text.bytes().take(43).all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    };
    password.split_once(':').is_some_and(|(salt, hash)| half(salt) && half(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_a_variable_of_its_own() {
        let mut taken = BTreeSet::new();
        let variables = ["1", "a-b", "a.b", "a_b_2", "日本", ""].map(|name| variable_for(name, &mut taken));
        let expected = ["1", "A_B", "A_B_2", "A_B_2_2", "USER", "USER_2"];
        assert_eq!(variables, expected.map(|name| format!("LARDER_PASSWORD_{name}")));
    }

    #[test]
    fn the_form_of_a_hash_is_known() {
        let half = format!("{}=", "a+/".repeat(15)).split_off(2);
        assert!(is_node_hash(&format!("{half}:{half}")));
        for other in ["", ":", "secret", "a:b", &format!("{half}:"), &format!("{half}:{half}x"), &"é:".repeat(44)] {
            assert!(!is_node_hash(other), "{other}");
        }
    }

    #[test]
    fn only_what_basic_can_carry() {
        assert!(["ci", "Jürgen", "a b", "\"]"].into_iter().all(can_be_sent));
        assert!(!["", "a:b", "a\nb", "\u{7f}"].into_iter().any(can_be_sent));
    }
}
