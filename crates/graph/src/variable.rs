//! What the name of an environment variable or build argument tells.

/// Whether the name of a variable says that its value is a secret, by the words of BuildKit's check
/// `SecretsUsedInArgOrEnv`.
pub fn names_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let lowered = name.to_lowercase();
    let has = |words: &[&str]| lowered.split('_').any(|word| words.contains(&word));
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::names_secret;

    #[test]
    fn by_whole_words() {
        for name in ["API_KEY", "token", "MY_PASSWORD_2", "GIT_AUTH"] {
            assert!(names_secret(name), "{name}");
        }
        for name in ["MONKEY", "KEYBOARD_LAYOUT", "PUBLIC_KEY", "TOKEN_FILE", "AUTH_VERSION", ""] {
            assert!(!names_secret(name), "{name}");
        }
    }
}
