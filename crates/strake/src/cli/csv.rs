//! Option values that are a line of CSV, such as `--mount` and `--output` have.

/// The fields of a line of CSV: one in quotes may have commas.
pub(crate) fn fields(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = all.last_mut().expect("because it begins with one and only grows");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                last.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            c => last.push(c),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_quotes_may_have_commas() {
        assert_eq!(fields("type=bind,\"src=/a,b\",ro"), ["type=bind", "src=/a,b", "ro"]);
        assert_eq!(fields("a,,\"b\"\"c\""), ["a", "", "b\"c"]);
    }
}
