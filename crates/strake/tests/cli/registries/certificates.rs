//! Keys and certificates, made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority that nobody trusts yet, in a directory.
pub struct Authority {
    dir: PathBuf,
}

/// A certificate and its key, PEM.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// A new one, with its files in `dir`.
    pub fn new(dir: &Path) -> Authority {
        let authority = Authority { dir: dir.to_owned() };
        authority.request("ca", &["-subj", "/CN=Test Authority"]);
        authority
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// A certificate for these names, as in `DNS:a.test,IP:127.0.0.1`.
    pub fn issue(&self, file: &str, names: &str) -> Certificate {
        let names = format!("subjectAltName={names}");
        let ca = self.dir.join("ca");
        let (certificate, key) = (ca.with_extension("crt"), ca.with_extension("key"));
        self.request(
            file,
            &[
                "-subj",
                "/CN=issued",
                "-CA",
                certificate.to_str().unwrap(),
                "-CAkey",
                key.to_str().unwrap(),
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-addext",
                &names,
            ],
        );
        let file = self.dir.join(file);
        Certificate { certificate: file.with_extension("crt"), key: file.with_extension("key") }
    }

    fn request(&self, file: &str, more: &[&str]) {
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-keyout", &format!("{file}.key"), "-out", &format!("{file}.crt")])
            .args(more)
            .current_dir(&self.dir)
            .output()
            .expect("openssl is missing: scripts/install-test-needs installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
