//! `SecretValue`: what has the form of a well-known kind of secret, written in the Dockerfile.
//!
//! A message never repeats what it found.

use super::Reviewed;
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::work;

/// How a kind of secret begins, how many letters follow at least, and what it is.
const KINDS: [(&str, usize, &str); 14] = [
    ("AKIA", 16, "an AWS access key"),
    ("ASIA", 16, "an AWS access key"),
    ("ghp_", 30, "a GitHub token"),
    ("gho_", 30, "a GitHub token"),
    ("ghs_", 30, "a GitHub token"),
    ("ghu_", 30, "a GitHub token"),
    ("github_pat_", 40, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("npm_", 36, "an npm token"),
    ("pypi-AgEI", 40, "a PyPI token"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("sk_live_", 20, "a Stripe key"),
    ("AIza", 35, "a Google API key"),
];

pub(super) fn review(it: &Reviewed<'_>, warnings: &mut Vec<Diagnostic>) {
    let stages = it.dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    for instruction in it.dockerfile.global_args.iter().chain(stages) {
        let bytes = &it.source[instruction.span.range()];
        for (place, what) in find(bytes) {
            let start = instruction.span.start as usize + place.start;
            let span = Span::new(start, start + place.len());
            let message =
                format!("This has the form of {what}: it stays in the file, the history and the cache");
            let warning = Diagnostic::warning(Rule::SecretValue, message, span).of(instruction.span);
            warnings.push(warning.with_help(
                "revoke it, and hand the next one to the step by RUN --mount=type=secret,id=NAME",
            ));
        }
    }
}

/// The secrets in `bytes`, in order.
fn find(bytes: &[u8]) -> Vec<(std::ops::Range<usize>, &'static str)> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut boundary = true;
    while at < bytes.len() {
        work::spend(1);
        let rest = &bytes[at..];
        let length = match rest[0] {
            _ if !boundary => None,
            b'A' | b'g' | b'n' | b'p' | b's' | b'x' => token(rest),
            b'-' => private_key(rest),
            _ => None,
        };
        let length = length.or_else(|| if rest[0] == b':' { password(rest) } else { None });
        match length {
            Some((skip, length, what)) => {
                found.push((at + skip..at + skip + length, what));
                at += skip + length;
                boundary = false;
            }
            None => {
                boundary = !rest[0].is_ascii_alphanumeric() && rest[0] != b'_';
                at += 1;
            }
        }
    }
    found
}

type Found = Option<(usize, usize, &'static str)>;

fn token(rest: &[u8]) -> Found {
    KINDS.iter().find_map(|(prefix, least, what)| {
        let tail = rest.strip_prefix(prefix.as_bytes())?;
        let letters = tail
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            .take(256)
            .count();
        // Stand-ins such as `ghp_xxxxxxxx` are of one letter.
        let varied = tail[..letters].windows(2).any(|pair| pair[0] != pair[1]);
        (letters >= *least && varied).then(|| (0, prefix.len() + letters, *what))
    })
}

fn private_key(rest: &[u8]) -> Found {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let tail = rest.strip_prefix(BEGIN)?;
    let line = tail[..tail.len().min(60)].split(|byte| *byte == b'\n').next()?;
    let end = line.windows(16).position(|window| window == b"PRIVATE KEY-----")?;
    Some((0, BEGIN.len() + end + 16, "a private key"))
}

/// The password of `scheme://user:password@host`.
fn password(rest: &[u8]) -> Found {
    let tail = rest.strip_prefix(b"://")?;
    let authority = tail
        .iter()
        .take(256)
        .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'"' | b'\'' | b'?' | b'#'))
        .unwrap_or_else(|| tail.len().min(256));
    let authority = &tail[..authority];
    let at = authority.iter().rposition(|byte| *byte == b'@')?;
    let colon = authority[..at].iter().position(|byte| *byte == b':')?;
    let value = &authority[colon + 1..at];
    let plain = value.iter().all(|byte| byte.is_ascii_graphic() && !b"$<>{}`*".contains(byte));
    let lowered = value.to_ascii_lowercase();
    let stand_in = [&b"password"[..], b"pass", b"token", b"secret", b"changeme", b"x-oauth-basic", b"xxx"]
        .contains(&lowered.as_slice());
    (plain && !value.is_empty() && !stand_in)
        .then(|| (3 + colon + 1, value.len(), "a password in an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let token = format!("ghp_{}", "a1B2c3D4e5".repeat(4));
        let cases = [
            (format!("ENV X={token}"), Some(token.as_str())),
            (format!("RUN git clone https://me:{}@example.org/x", "s3cr3t"), Some("s3cr3t")),
            ("RUN git clone https://me:$TOKEN@example.org/x".to_owned(), None),
            ("RUN git clone https://me:password@example.org/x".to_owned(), None),
            ("RUN curl http://example.org:80/a@b".to_owned(), None),
            ("ENV X=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".to_owned(), None),
            (format!("ENV X=not{token}"), None),
            (
                "RUN echo '-----BEGIN RSA PRIVATE KEY-----'".to_owned(),
                Some("-----BEGIN RSA PRIVATE KEY-----"),
            ),
            ("RUN echo '-----BEGIN CERTIFICATE-----'".to_owned(), None),
        ];
        for (text, expected) in cases {
            let found: Vec<&str> = find(text.as_bytes()).into_iter().map(|(place, _)| &text[place]).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{text}");
        }
    }
}
