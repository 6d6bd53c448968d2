//! Rules of COPY and ADD: `AddInsteadOfCopy`, `SecretCopied`.

use crate::ast::{Add, Instruction, Kind, Source};
use crate::check::{Fix, Rule, file};
use crate::diagnostic::Diagnostic;
use crate::lower::path;
use crate::span::Text;

pub(super) fn review(instruction: &Instruction, warnings: &mut Vec<Diagnostic>) {
    let (sources, dest) = match &instruction.kind {
        Kind::Copy(copy) if copy.from.is_none() => (&copy.sources, &copy.dest),
        Kind::Add(add) => {
            needless_add(instruction, add, warnings);
            (&add.sources, &add.dest)
        }
        _ => return,
    };
    for source in sources {
        let Source::Path(source) = source else { continue };
        let secret = [source, dest].into_iter().find(|text| is_secret(&text.raw));
        if let Some(text) = secret {
            let message = format!(
                "{} holds secrets, as its name says: whoever gets the image, or the build cache, gets them",
                path::base(text.raw.trim_matches(['"', '\'']))
            );
            let warning = Diagnostic::warning(Rule::SecretCopied, message, text.span);
            warnings.push(
                warning
                    .of(instruction.span)
                    .with_help("mount it where it is used: RUN --mount=type=secret,id=NAME,target=PATH …"),
            );
        }
    }
}

/// Whether the last part of a path, or the directory it is in, says that it is a secret.
fn is_secret(path: &str) -> bool {
    const NAMES: [&str; 17] = [
        ".env",
        ".npmrc",
        ".pypirc",
        ".netrc",
        "_netrc",
        ".pgpass",
        ".my.cnf",
        ".htpasswd",
        ".git-credentials",
        ".dockercfg",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ed25519",
        ".ssh",
        ".aws",
        ".gnupg",
    ];
    const SUFFIXES: [&str; 7] = [".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".ppk"];
    const HARMLESS: [&str; 9] =
        ["cert", "chain", "bundle", "public", "pub", "ca", "dhparam", "dhparams", "root"];
    const TEMPLATES: [&str; 6] = ["example", "sample", "template", "dist", "defaults", "tpl"];
    let path = path.trim_matches(['"', '\'']).trim_end_matches('/');
    let name = path::base(path).to_lowercase();
    let parent = path.strip_suffix(path::base(path)).unwrap_or_default().trim_end_matches('/');
    let parent = path::base(parent);
    if NAMES.contains(&name.as_str()) {
        return true;
    }
    if let Some(rest) = name.strip_prefix(".env.") {
        return !TEMPLATES.contains(&rest);
    }
    match (parent, name.as_str()) {
        (".aws", "credentials") | (".docker", "config.json") | (".kube", "config") => return true,
        _ => {}
    }
    let Some(stem) = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)) else { return false };
    !stem.split(['-', '_', '.']).any(|word| HARMLESS.iter().any(|harmless| word.starts_with(harmless)))
}

/// `AddInsteadOfCopy`
fn needless_add(instruction: &Instruction, add: &Add, warnings: &mut Vec<Diagnostic>) {
    let plain = add.checksum.is_none() && add.keep_git_dir.is_none() && add.unpack != Some(true);
    let verdicts: Vec<Verdict> = add
        .sources
        .iter()
        .map(|source| match source {
            Source::Path(text) => judge(text),
            Source::Inline(_) => Verdict::File,
        })
        .collect();
    if !plain || verdicts.contains(&Verdict::Remote) || verdicts.contains(&Verdict::Archive) {
        return;
    }
    let keyword = &instruction.keyword;
    // What a file without an ending is, only its bytes say: ADD looks at them.
    let sure = !verdicts.contains(&Verdict::Unclear) && add.unpack.is_none();
    let fix = (sure && keyword.raw.eq_ignore_ascii_case("ADD")).then(|| {
        let copy = match file::case(&keyword.raw) {
            Some(file::Case::Lower) => "copy",
            _ => "COPY",
        };
        Fix::replace("write COPY in place of ADD", keyword.span, copy)
    });
    let message = "ADD does nothing here that COPY does not: COPY says so";
    let warning = Diagnostic::warning(Rule::AddInsteadOfCopy, message, keyword.span);
    warnings.push(
        warning
            .of(instruction.span)
            .with_help("ADD is for downloads and for archives to unpack")
            .with_fix(fix),
    );
}

/// What a source of an ADD is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// A download, or maybe one.
    Remote,
    /// An archive by its name, or maybe one.
    Archive,
    /// A file by its name, or a directory.
    File,
    /// A path that says nothing.
    Unclear,
}

fn judge(text: &Text) -> Verdict {
    const ARCHIVES: [&str; 12] =
        [".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".tzst", ".lzma", ".zip"];
    let path = text.raw.trim_matches(['"', '\'']);
    if path.contains('$') || path.contains("://") || path.contains('@') {
        return Verdict::Remote;
    }
    let lowered = path.to_lowercase();
    let name = path::base(&lowered);
    if ARCHIVES.iter().any(|ending| name.ends_with(ending)) {
        return Verdict::Archive;
    }
    if path.ends_with('/') || matches!(path, "." | "..") {
        return Verdict::File;
    }
    let globbed = name.contains(['*', '?', '[']);
    match name.rsplit_once('.') {
        Some((stem, ending))
            if !stem.is_empty() && !ending.is_empty() && !ending.contains(['*', '?', '[']) =>
        {
            let letters = ending.bytes().any(|byte| byte.is_ascii_alphabetic());
            if letters { Verdict::File } else { Verdict::Unclear }
        }
        _ if globbed => Verdict::Archive,
        _ => Verdict::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_by_name() {
        for path in [
            ".env",
            "config/.env",
            ".env.production",
            "id_rsa",
            "/root/.ssh/id_rsa",
            ".npmrc",
            "server.pem",
            "tls.key",
            "*.pem",
            "keys/app.p12",
            ".aws/credentials",
            "./.ssh/",
            "\".env\"",
        ] {
            assert!(is_secret(path), "{path}");
        }
        for path in [
            ".env.example",
            "id_rsa.pub",
            "ca.pem",
            "ca-bundle.pem",
            "fullchain_cert.pem",
            "public.key",
            "env",
            "credentials",
            "app.py",
            ".",
            "certs/root-ca.pem",
            "cert.pem",
        ] {
            assert!(!is_secret(path), "{path}");
        }
    }

    #[test]
    fn what_add_may_unpack() {
        let judged = |path: &str| judge(&Text::synthetic(path));
        for path in [".", "src/", "app.py", "nginx.conf", "*.sh"] {
            assert_eq!(judged(path), Verdict::File, "{path}");
        }
        for path in ["a.tar.gz", "rootfs.tar", "a.TGZ", "*", "dist/*"] {
            assert_eq!(judged(path), Verdict::Archive, "{path}");
        }
        for path in ["rootfs", "app-1.0", ".bashrc"] {
            assert_eq!(judged(path), Verdict::Unclear, "{path}");
        }
        for path in ["https://a/b", "git@github.com:a/b.git", "$X"] {
            assert_eq!(judged(path), Verdict::Remote, "{path}");
        }
    }
}
