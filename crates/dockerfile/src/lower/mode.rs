//! `--chmod`: whether a mode is well-formed. What a symbolic one makes of a file is asked when the
//! file is copied.

/// The mode in its shortest form: octal without leading zeros, symbolic as written.
///
/// # Errors
/// What is wrong with it, in BuildKit's words.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let numeric =
        || format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777");
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let octal = text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mode| *mode <= 0o7777);
        return mode.map(|mode| format!("{mode:o}")).ok_or_else(numeric);
    }
    match text.split(',').all(is_clause) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "invalid chmod parameter: '{text}'. it should be octal, such as 644, or symbolic, such as u=rwX,go=rX"
        )),
    }
}

/// `[ugoa…](op perms)…` of chmod(1).
fn is_clause(clause: &str) -> bool {
    let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    if !actions.starts_with(['+', '-', '=']) {
        return false;
    }
    actions.split(['+', '-', '=']).skip(1).all(|perms| {
        let copies = matches!(perms, "u" | "g" | "o");
        copies || perms.chars().all(|c| matches!(c, 'r' | 'w' | 'x' | 'X' | 's' | 't'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (text, mode) in [
            ("755", "755"),
            ("0644", "644"),
            ("00", "0"),
            ("7777", "7777"),
            ("+x", "+x"),
            ("u=rwX,go=rX", "u=rwX,go=rX"),
            ("g=u", "g=u"),
            ("a-w+x", "a-w+x"),
            ("u=", "u="),
            ("+t", "+t"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(mode));
        }
        for text in ["", "888", "10000", "8", "77777777777777", "rwx", "u+q", "u=rw,", "u", ",", "7x", "g=ux"]
        {
            assert!(parse(text).is_err(), "{text:?} was taken");
        }
    }
}
