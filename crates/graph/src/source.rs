//! Trees that come from outside the graph. Images and contexts are pinned when the graph is made; what is downloaded
//! is pinned by whoever solves it, by its content: a name never stands for content in a key.

use oci::{DiffId, Digest, ImageId, Reference};
use serde::{Deserialize, Serialize};

/// A tree from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// The empty tree.
    Scratch,
    /// The root file system of an image.
    Image(ImageSource),
    /// A build context by its name; the main one is `context`. Which files of it matter is known
    /// to the operation that copies from it, and so is their content's part in the cache key.
    Local(String),
    /// What an HTTP server has at a URL: a tree of one file.
    Http(HttpSource),
    /// What a Git repository has at a commit.
    Git(GitSource),
}

/// An image's root file system, pinned by its layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageSource {
    /// The name it was asked for by; for people only, no part of any cache key.
    #[serde(skip)]
    pub reference: Option<Reference>,
    /// The image, where it is in the store.
    #[serde(skip)]
    pub image_id: Option<ImageId>,
    /// Digest of the manifest or index that the name stood for, where it is known; for people only.
    #[serde(skip)]
    pub digest: Option<Digest>,
    /// Its layers, bottom layer first: what the tree is.
    pub diff_ids: Vec<DiffId>,
}

/// A file to be downloaded. In the tree it is root's, with mode 0600, as old as `Last-Modified` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpSource {
    /// `http` or `https`; a user and password in it are what the server is shown. Never to be printed: see
    /// `redacted`.
    pub url: String,
    /// What the file is called in the tree; `None`: as the server says (`Content-Disposition`), else `__unnamed__`.
    pub name: Option<String>,
    /// SHA-256 that the bytes must have.
    pub checksum: Option<Digest>,
}

/// A checkout of a Git repository. All files are root's, as old as the commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GitSource {
    /// A URL (`https`, `http`, `ssh`, `git`) or `user@host:path`, as git takes it. Never to be printed: see `redacted`.
    pub remote: String,
    /// Branch, tag, full ref or commit; `None`: the remote's default branch.
    pub reference: Option<String>,
    /// The beginning of the hex digits that the commit must have.
    pub checksum: Option<String>,
    /// The directory of the repository that becomes the root, cleaned and absolute; `/` for all of it.
    pub subdir: String,
    /// Whether `.git` stays; only where all of the repository is taken, as in BuildKit.
    pub keep_git_dir: bool,
    /// Whether submodules are checked out, too.
    pub submodules: bool,
}

impl HttpSource {
    /// The URL as it may be shown: without user and password.
    pub fn redacted(&self) -> String {
        redacted(&self.url)
    }
}

impl GitSource {
    /// The remote and the ref as they may be shown: without user and password.
    pub fn redacted(&self) -> String {
        let mut text = redacted(&self.remote);
        if let Some(reference) = &self.reference {
            text.push('#');
            text.push_str(reference);
        }
        if self.subdir != "/" {
            text.push_str(if self.reference.is_some() { ":" } else { "#:" });
            text.push_str(self.subdir.trim_start_matches('/'));
        }
        text
    }
}

/// A URL with `xxxxx` in place of what is secret in it: a password, and a user that is a token (one of HTTP alone).
/// Anything else is returned as it is.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    let shown = match user.split_once(':') {
        Some((name, _)) => format!("{name}:xxxxx"),
        None if scheme.to_ascii_lowercase().starts_with("http") => "xxxxx".to_owned(),
        None => user.to_owned(),
    };
    format!("{scheme}://{shown}@{host}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("https://a/b", "https://a/b"),
            ("https://me:pw@a/b?c=d@e", "https://me:xxxxx@a/b?c=d@e"),
            ("https://token@a:1/b", "https://xxxxx@a:1/b"),
            ("https://a/b@c", "https://a/b@c"),
            ("ssh://git@a/b", "ssh://git@a/b"),
            ("git@a:b", "git@a:b"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
