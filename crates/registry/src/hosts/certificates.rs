//! Certificates kept for one registry: `HOST[:PORT]/` with `*.crt` (authorities), and `NAME.cert` with `NAME.key` (the
//! client's own), as in `/etc/docker/certs.d`.
//!
//! Only what is there is found out here; the files are read where TLS is set up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ClientCertificate, Tls};
use crate::error::Error;

/// Adds those of `registry` in all of `dirs`.
pub(super) fn add(dirs: &[PathBuf], registry: &str, tls: &mut Tls) -> Result<(), Error> {
    // A registry's name cannot leave the directory, but what was made of it elsewhere is not trusted.
    if registry.contains('/') || registry.starts_with('.') {
        return Ok(());
    }
    for dir in dirs {
        of_directory(&dir.join(registry), tls)?;
    }
    Ok(())
}

fn of_directory(dir: &Path, tls: &mut Tls) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Local { doing: format!("read {}", dir.display()), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        // As Docker does with directories of others.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>().map_err(failed)?;
    paths.sort();
    for path in &paths {
        let missing = |other: &Path, what: &str| {
            let other = other.file_name().unwrap_or_default().display();
            failed(io::Error::other(format!(
                "{} is there without its {what} {other} (authorities' certificates have to end in .crt)",
                path.file_name().unwrap_or_default().display()
            )))
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => tls.authorities.push(path.clone()),
            Some("cert") => {
                let key = path.with_extension("key");
                if !paths.contains(&key) {
                    return Err(missing(&key, "key"));
                }
                tls.client.get_or_insert(ClientCertificate { certificate: path.clone(), key });
            }
            Some("key") => {
                let certificate = path.with_extension("cert");
                if !paths.contains(&certificate) {
                    return Err(missing(&certificate, "certificate"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
