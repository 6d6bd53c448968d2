//! Sources that are not on this machine, as `ADD`, build contexts and `--build-context` name them: URLs and Git
//! repositories with what BuildKit puts into their fragments and queries. Text only: nothing is asked for here.
//!
//! After BuildKit's `util/gitutil` and `frontend/dockerfile/dfgitutil`. More is refused than there: refs and hosts that
//! a command line would take for options, and refs that git's rules have no room for.

use std::borrow::Cow;

use graph::GitSource;
use percent_encoding::percent_decode_str;

use crate::lower::rooted;

/// The longest URL taken, in bytes.
const MOST: usize = 16 << 10;

/// Something on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// An `http` or `https` URL.
    Http(String),
    /// A Git repository.
    Git(GitUrl),
}

/// A Git repository with what its URL says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitUrl {
    /// As git takes it: a URL or `user@host:path`, without fragment and query.
    pub remote: String,
    /// `#ref`, `?ref=`, `?branch=` or `?tag=`.
    pub reference: Option<String>,
    /// `?commit=` or `?checksum=`.
    pub checksum: Option<String>,
    /// `#:subdir` or `?subdir=`, as written.
    pub subdir: Option<String>,
    /// `?keep-git-dir=`
    pub keep_git_dir: Option<bool>,
    /// `?submodules=`
    pub submodules: Option<bool>,
    /// `github.com/…`: a path as well as a repository. Only build contexts are given so.
    pub looks_local: bool,
}

impl GitUrl {
    /// The source in a graph. `keep_git_dir` counts where the URL does not say.
    pub fn source(&self, keep_git_dir: bool) -> GitSource {
        GitSource {
            remote: self.remote.clone(),
            reference: self.reference.clone(),
            checksum: self.checksum.clone(),
            subdir: rooted(self.subdir.as_deref().unwrap_or_default()),
            keep_git_dir: self.keep_git_dir.unwrap_or(keep_git_dir),
            submodules: self.submodules.unwrap_or(true),
        }
    }
}

/// What `text` names; `None` where it is a path (or nothing that is known).
///
/// # Errors
/// A Git repository whose fragment or query is wrong, in BuildKit's words. The text holds no secret.
pub fn parse(text: &str) -> Result<Option<Remote>, String> {
    if text.starts_with("./") || text.starts_with("../") || text.len() > MOST {
        return Ok(None);
    }
    if text.starts_with("github.com/") {
        let mut git = git_url(&format!("https://{text}"))?;
        git.looks_local = true;
        return Ok(Some(Remote::Git(git)));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let path = rest.split(['#', '?']).next().unwrap_or(rest);
        return match scheme.to_ascii_lowercase().as_str() {
            // A web page is a repository only if it says so.
            "http" | "https" if !path.ends_with(".git") => Ok(Some(Remote::Http(text.to_owned()))),
            "http" | "https" | "ssh" | "git" => Ok(Some(Remote::Git(git_url(text)?))),
            _ => Ok(None),
        };
    }
    if is_scp(text) {
        return Ok(Some(Remote::Git(git_url(text)?)));
    }
    Ok(None)
}

/// The last part of a URL's path, decoded: what a download is called. `None` where there is none that can be a file's.
pub fn file_name(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['#', '?']).next().unwrap_or(rest);
    let (_, path) = rest.split_once('/')?;
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let name = decoded.trim_end_matches('/').rsplit('/').next()?;
    is_file_name(name).then(|| name.to_owned())
}

/// Whether `name` can be the name of a file in a directory.
pub fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0'])
}

/// `user@host:path`
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let word = |text: &str, others: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(&c))
    };
    word(user, &['-', '_']) && word(host, &['-', '_', '.'])
}

fn git_url(text: &str) -> Result<GitUrl, String> {
    let (rest, fragment) = text.split_once('#').map_or((text, ""), |(rest, fragment)| (rest, fragment));
    let (remote, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
    if remote.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a Git URL has no blanks or control characters".to_owned());
    }
    let authority = remote.split_once("://").map_or(remote, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or(authority);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if authority.starts_with('-') || host.starts_with('-') || host.is_empty() {
        return Err("a Git URL has a host, which does not begin with a dash".to_owned());
    }
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut git = GitUrl {
        remote: remote.to_owned(),
        reference: some(&decoded(reference, false)?),
        checksum: None,
        subdir: some(&decoded(subdir, false)?),
        keep_git_dir: None,
        submodules: None,
        looks_local: false,
    };
    git.take_query(query)?;
    if let Some(checksum) = &git.checksum {
        check_commit(checksum)?;
    }
    if let Some(reference) = git.reference.as_deref().filter(|reference| !is_ref(reference)) {
        return Err(format!("invalid git ref {reference:?}"));
    }
    if git.subdir.as_deref().is_some_and(|subdir| subdir.contains('\0')) {
        return Err("a NUL byte can't be part of a path".to_owned());
    }
    Ok(git)
}

impl GitUrl {
    fn take_query(&mut self, query: &str) -> Result<(), String> {
        let (mut tag, mut branch) = (None, None);
        let mut seen: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key, true)?.into_owned(), decoded(value, true)?.into_owned());
            if seen.contains(&key) {
                return Err(format!("query {key:?} has multiple values"));
            }
            if value.is_empty() && !matches!(key.as_str(), "keep-git-dir" | "submodules") {
                return Err(match key.as_str() {
                    "ref" | "tag" | "branch" | "subdir" | "checksum" | "commit" => {
                        format!("query {key:?} has no value")
                    }
                    _ => format!("unexpected query {key:?}"),
                });
            }
            match key.as_str() {
                "ref" => agree("ref", &mut self.reference, &value)?,
                "subdir" => agree("subdir", &mut self.subdir, &value)?,
                "tag" => tag = Some(format!("refs/tags/{}", value.trim_start_matches("refs/tags/"))),
                "branch" => branch = Some(format!("refs/heads/{}", value.trim_start_matches("refs/heads/"))),
                "checksum" | "commit" => self.checksum = Some(value),
                "keep-git-dir" => self.keep_git_dir = Some(boolean(&key, &value)?),
                "submodules" => self.submodules = Some(boolean(&key, &value)?),
                _ => return Err(format!("unexpected query {key:?}")),
            }
            seen.push(key);
        }
        if tag.is_some() && branch.is_some() {
            return Err("branch conflicts with tag".to_owned());
        }
        for one in [tag, branch].into_iter().flatten() {
            agree("ref", &mut self.reference, &one)?;
        }
        if self.reference.is_none() {
            self.reference.clone_from(&self.checksum);
        }
        Ok(())
    }
}

/// Checks a commit's hex digits, or the first of them.
///
/// # Errors
/// In words for the user.
pub fn check_commit(checksum: &str) -> Result<(), String> {
    let hex = !checksum.is_empty() && checksum.len() <= 64 && checksum.bytes().all(|b| b.is_ascii_hexdigit());
    match hex {
        true => Ok(()),
        false => Err(format!("invalid checksum {checksum} for Git URL, expected hex commit hash")),
    }
}

fn agree(what: &str, held: &mut Option<String>, value: &str) -> Result<(), String> {
    match held {
        Some(other) if other != value => Err(format!("{what} conflicts: {other:?} vs {value:?}")),
        _ => {
            *held = Some(value.to_owned());
            Ok(())
        }
    }
}

/// Go's `strconv.ParseBool`; nothing is true.
fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid {key} value: {value:?}")),
    }
}

fn decoded(text: &str, form: bool) -> Result<Cow<'_, str>, String> {
    let text = if form && text.contains('+') { Cow::from(text.replace('+', " ")) } else { Cow::from(text) };
    match percent_decode_str(&text).decode_utf8() {
        Ok(decoded) if decoded == text => Ok(text),
        Ok(decoded) => Ok(Cow::Owned(decoded.into_owned())),
        Err(_) => Err("a Git URL is not UTF-8".to_owned()),
    }
}

/// Whether git's own rules (`git check-ref-format`) have room for it.
fn is_ref(reference: &str) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    !reference.starts_with(['-', '/', '+'])
        && !reference.ends_with(['/', '.'])
        && !reference.contains("..")
        && !reference.contains("@{")
        && !reference.contains("//")
        && !reference.contains(bad)
        && reference.len() <= 1024
        && reference.split('/').all(|part| !part.starts_with('.') && !part.ends_with(".lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(text: &str) -> GitUrl {
        match parse(text) {
            Ok(Some(Remote::Git(git))) => git,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn kinds() {
        for text in [
            "http://a/b",
            "https://a/b.tar.gz?x=y.git",
            "https://a/b.git/",
            "https://a/b.git.bar",
            "https://github.com/moby/buildkit",
            "http://a/b.git:#branch",
        ] {
            assert!(matches!(parse(text), Ok(Some(Remote::Http(_)))), "{text}: {:?}", parse(text));
        }
        for text in [
            "./a@b:c",
            "a:b",
            "a@b",
            "ftp://a/b",
            "a",
            ".git",
            "./.git",
            "custom.xyz/a/b.git",
            "",
            "../a@b:c",
        ] {
            assert_eq!(parse(text), Ok(None), "{text}");
        }
        for (text, remote) in [
            ("https://a/b.git", "https://a/b.git"),
            ("https://u:p@a/b.git#x", "https://u:p@a/b.git"),
            ("git://a/b", "git://a/b"),
            ("ssh://git@a/b?ref=x", "ssh://git@a/b"),
            ("git@github.com:a/b.git#main", "git@github.com:a/b.git"),
            ("github.com/a/b#main", "https://github.com/a/b"),
        ] {
            assert_eq!(git(text).remote, remote, "{text}");
        }
        assert!(git("github.com/a/b").looks_local);
    }

    #[test]
    fn fragments_and_queries() {
        let of = |text: &str| {
            let git = git(text);
            (
                git.reference.unwrap_or_default(),
                git.subdir.unwrap_or_default(),
                git.checksum.unwrap_or_default(),
            )
        };
        let found = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(of("https://a/b.git#baz/qux:quux/quuz"), found("baz/qux", "quux/quuz", ""));
        assert_eq!(of("https://a/b.git#:d"), found("", "d", ""));
        assert_eq!(of("https://a/b.git?ref=v1.0.0&subdir=/s"), found("v1.0.0", "/s", ""));
        assert_eq!(of("https://a/b.git?tag=v1"), found("refs/tags/v1", "", ""));
        assert_eq!(of("https://a/b.git?branch=refs/heads/x"), found("refs/heads/x", "", ""));
        assert_eq!(of("https://a/b.git?branch=x&commit=ab12"), found("refs/heads/x", "", "ab12"));
        assert_eq!(of("https://a/b.git?checksum=ab12"), found("ab12", "", "ab12"));
        assert_eq!(of("git@a:b?ref=x#:d"), found("x", "d", ""));
        let flags = git("https://a/b.git?keep-git-dir&submodules=false");
        assert_eq!((flags.keep_git_dir, flags.submodules), (Some(true), Some(false)));
        for (text, why) in [
            ("https://a/b.git?ref=x#y", "ref conflicts"),
            ("https://a/b.git?tag=x&branch=y", "branch conflicts with tag"),
            ("https://a/b.git?ref=", "has no value"),
            ("https://a/b.git?ref=a&ref=b", "multiple values"),
            ("https://a/b.git?foo=1", "unexpected query"),
            ("https://a/b.git?submodules=maybe", "invalid submodules value"),
            ("https://a/b.git?commit=xyz", "expected hex commit hash"),
            ("https://a/b.git#--upload-pack=x", "invalid git ref"),
            ("https://a/b.git?ref=a:b", "invalid git ref"),
            ("https://a/b.git?ref=a%20b", "invalid git ref"),
            ("https://a/b.git?ref=../../x", "invalid git ref"),
            ("ssh://-oProxyCommand=x/b", "dash"),
            ("git@-oProxyCommand:b", "dash"),
            ("ssh:///b", "host"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn names() {
        for (url, name) in [
            ("https://a/b/c.txt?x=/y", Some("c.txt")),
            ("https://a/b/c%20d", Some("c d")),
            ("https://a/b/", Some("b")),
            ("https://a/%2e%2e", None),
            ("https://a/x%2fy", Some("y")),
            ("https://a/", None),
            ("https://a", None),
            ("https://a/%ff", None),
        ] {
            assert_eq!(file_name(url).as_deref(), name, "{url}");
        }
    }
}
