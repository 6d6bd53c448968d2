//! A file at a URL, as BuildKit's `source/http` takes it: asked for again with its `ETag` or `Last-Modified`, verified as
//! it comes, mode 0600, as old as `Last-Modified`.
//!
//! `HTTP_AUTH_HEADER_<host>` and `HTTP_AUTH_TOKEN_<host>` among the secrets prove who asks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use graph::HttpSource;
use oci::{Digest, Hasher};
use registry::Secret;
use registry::web::{Sink, WebError, WebHeaders, WebRequest};

use super::record::{Memory, commit};
use super::{Fetch, Fetched, Listener, failed};
use crate::error::Failure;

/// What a file is called that neither the URL nor the server names.
const UNNAMED: &str = "__unnamed__";
/// Permission bits of a download.
const MODE: u32 = 0o600;

pub(super) fn fetch(
    fetch: &Fetch<'_>,
    source: &HttpSource,
    listener: &dyn Listener,
) -> Result<Fetched, Failure> {
    let began = Instant::now();
    let shown = source.redacted();
    let name = source.name.as_deref().unwrap_or_default();
    let step = || format!("http url {shown}");
    let store = fetch.store;
    // With a checksum it is known what will come: nobody need be asked.
    if let Some(checksum) = &source.checksum {
        let digest = checksum.to_string();
        let memory = Memory::new("content", step()).part("sha256", &digest).part("name", name);
        if let Some((layer, _)) = memory.recall(store)? {
            return Ok(Fetched { layer, pinned: digest });
        }
    }
    let memory = Memory::new("url", step()).part("url", &shown).part("name", name);
    let known = memory.recall(store)?;
    let note = |name: &str| {
        let notes = known.as_ref().map_or(&[][..], |(_, notes)| notes.as_slice());
        notes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let mut request = WebRequest {
        url: &source.url,
        authorization: authorization(fetch, &source.url),
        etag: note("etag"),
        modified: note("modified"),
        limit: fetch.downloads.limit,
    };
    let client = &fetch.downloads.client;
    // Some servers have ETags and do not compare them: so they are asked what they have, first.
    let unchanged = request.etag.is_some() && client.web_head(&request).is_ok_and(|head| head.unchanged);
    let pinned = |found: Option<&Digest>| check(source, &shown, found);
    if unchanged && let Some((layer, _)) = &known {
        let digest = note("sha256").and_then(|digest| digest.parse::<Digest>().ok());
        return Ok(Fetched { layer: layer.clone(), pinned: pinned(digest.as_ref())? });
    }
    let pending = store.begin_snapshot()?;
    let mut download = Download {
        path: pending.fs().join(UNNAMED),
        file: None,
        hasher: Hasher::new(),
        fetch,
        listener,
        told: (0, Instant::now()),
    };
    let headers = match client.web_get(&request, &mut download) {
        // What is known here may be wrong there: once more, from nothing.
        Err(WebError::Status { status: 412, .. }) => {
            (request.etag, request.modified) = (None, None);
            client.web_get(&request, &mut download)
        }
        other => other,
    };
    let headers = headers.map_err(|error| match error {
        WebError::Sink(_) if fetch.is_interrupted() => Failure::Interrupted,
        WebError::Sink(error) => Failure::io("write", &download.path)(error),
        WebError::TooLarge { .. } => failed(&shown, format!("{error}; --max-download allows more")),
        WebError::Status { status: 401 | 403, .. } => failed(
            &shown,
            format!(
                "{error}; give what it asks for as --secret id=HTTP_AUTH_TOKEN_{0} or id=HTTP_AUTH_HEADER_{0}",
                host(&source.url)
            ),
        ),
        error => failed(&shown, error),
    })?;
    if headers.unchanged
        && let Some((layer, _)) = &known
    {
        let digest = note("sha256").and_then(|digest| digest.parse::<Digest>().ok());
        return Ok(Fetched { layer: layer.clone(), pinned: pinned(digest.as_ref())? });
    }
    let Download { path, file, hasher, .. } = download;
    let digest = hasher.finish();
    pinned(Some(&digest))?;
    drop(file);
    let age = headers.modified.as_deref().and_then(http_date).unwrap_or(0);
    place(&path, &file_name(source, &headers), age)?;
    let (layer, size) = commit(store, pending, age)?;
    let text = digest.to_string();
    let mut notes = vec![("sha256", text.as_str())];
    notes.extend(headers.etag.as_deref().map(|etag| ("etag", etag)));
    notes.extend(headers.modified.as_deref().map(|modified| ("modified", modified)));
    if notes.len() > 1 {
        memory.keep(store, &layer, &notes, began, size)?;
    }
    let by_digest = Memory::new("content", step()).part("sha256", &text).part("name", name);
    by_digest.keep(store, &layer, &[], began, size)?;
    listener.line(&format!("{size} bytes, {digest}"));
    Ok(Fetched { layer, pinned: text })
}

/// Whether the bytes are those that were asked for; their digest as text.
fn check(source: &HttpSource, shown: &str, found: Option<&Digest>) -> Result<String, Failure> {
    match (&source.checksum, found) {
        (Some(wanted), Some(found)) if wanted != found => {
            Err(failed(shown, format!("digest mismatch {found}: {wanted} was asked for")))
        }
        (_, found) => Ok(found.map(ToString::to_string).unwrap_or_default()),
    }
}

/// What the server is shown, where a secret is for its host.
fn authorization(fetch: &Fetch<'_>, url: &str) -> Option<Secret> {
    let host = host(url);
    let secret = |prefix: &str| {
        let bytes = fetch.secrets.secret(&format!("{prefix}{host}"))?;
        let text = String::from_utf8(bytes).ok()?;
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    };
    // As in BuildKit, the token counts where both are given.
    let token = secret("HTTP_AUTH_TOKEN_").map(|token| format!("Bearer {token}"));
    token.or_else(|| secret("HTTP_AUTH_HEADER_")).map(Secret::new)
}

/// The host of a URL, without user and port.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(six),
        None => host.split(':').next().unwrap_or(host),
    }
}

fn file_name(source: &HttpSource, headers: &WebHeaders) -> String {
    let good = |name: &&String| {
        !matches!(name.as_str(), "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0'])
    };
    let name = source.name.as_ref().or(headers.file_name.as_ref()).filter(good);
    name.cloned().unwrap_or_else(|| UNNAMED.to_owned())
}

/// Gives the file at `path` its name, permissions and time (seconds since 1970).
fn place(path: &Path, name: &str, age: i64) -> Result<(), Failure> {
    let to = path.with_file_name(name);
    fs::rename(path, &to).map_err(Failure::io("rename", path))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(MODE)).map_err(Failure::io("chmod", &to))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(age).unwrap_or(0));
    let file = File::options().write(true).open(&to).map_err(Failure::io("open", &to))?;
    file.set_modified(time).map_err(Failure::io("set the time of", &to))
}

/// Takes a download in, to a file.
struct Download<'a> {
    path: PathBuf,
    file: Option<File>,
    hasher: Hasher,
    fetch: &'a Fetch<'a>,
    listener: &'a dyn Listener,
    /// Bytes that came, and when that was last told.
    told: (u64, Instant),
}

impl Sink for Download<'_> {
    fn begin(&mut self, length: Option<u64>) -> io::Result<()> {
        self.listener.started();
        if let Some(length) = length {
            self.listener.line(&format!("downloading {length} bytes"));
        }
        self.hasher = Hasher::new();
        self.told = (0, Instant::now());
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(MODE).open(&self.path)?;
        self.file = Some(file);
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.fetch.is_interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.hasher.update(bytes);
        self.told.0 += bytes.len() as u64;
        if self.told.1.elapsed() > Duration::from_secs(5) {
            self.told.1 = Instant::now();
            self.listener.line(&format!("{} bytes so far", self.told.0));
        }
        let file = self.file.as_mut().expect("because a download begins before its bytes");
        file.write_all(bytes)
    }
}

/// Seconds since 1970 of an HTTP date (RFC 9110, section 5.6.7): the form that servers send.
fn http_date(text: &str) -> Option<i64> {
    let parsed = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(parsed.timestamp().as_second().max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Wed, 31 Dec 1969 23:59:59 GMT"), Some(0));
        assert_eq!(http_date("yesterday"), None);
    }

    #[test]
    fn hosts() {
        for (url, name) in
            [("https://u:p@a.example:8080/x", "a.example"), ("http://[::1]:80/", "::1"), ("http://a?b", "a")]
        {
            assert_eq!(host(url), name, "{url}");
        }
    }
}
