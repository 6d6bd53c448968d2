//! `-v`, `--mount` and `--device`: what of the host a container sees, and where.

use std::env;
use std::fs;
use std::path::PathBuf;

use engine::container::{MountKind, MountPoint};

use crate::cli::{CliError, csv};

/// `-v source:target[:options]`, or `-v target`. A missing source is made, as Docker does.
pub(crate) fn volume(text: &str) -> Result<MountPoint, CliError> {
    let parts: Vec<&str> = text.split(':').collect();
    let own = |target: &str| {
        Ok(MountPoint { target: target.to_owned(), kind: MountKind::Anonymous, read_only: false })
    };
    let bad = |why: &str| CliError::new(format!("invalid volume specification: '{text}': {why}"));
    let (source, target, options) = match parts.as_slice() {
        [target] => return own(target),
        ["", ..] | [_, "", ..] => return Err(bad("write source:target[:ro]")),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(bad("write source:target[:ro]")),
    };
    let mut read_only = false;
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => read_only = true,
            // Labels and caching of other systems change nothing here.
            "rw" | "z" | "Z" | "rprivate" | "private" | "cached" | "delegated" | "consistent" | "rbind" => {}
            _ => return Err(bad(&format!("invalid mode: {option}"))),
        }
    }
    if !target.starts_with('/') {
        return Err(bad("the target must be an absolute path"));
    }
    let source = absolute(source, text)?;
    if !source.exists() {
        fs::create_dir_all(&source)
            .map_err(|e| CliError::new(format!("cannot create {}: {e}", source.display())))?;
    }
    bind(source, target.to_owned(), read_only)
}

fn bind(source: PathBuf, target: String, read_only: bool) -> Result<MountPoint, CliError> {
    let source = source
        .into_os_string()
        .into_string()
        .map_err(|path| CliError::new(format!("cannot mount {}: its name is not UTF-8", path.display())))?;
    Ok(MountPoint { target, kind: MountKind::Bind(source), read_only })
}

fn absolute(source: &str, whole: &str) -> Result<PathBuf, CliError> {
    let path = PathBuf::from(source);
    if path.is_absolute() {
        return Ok(path);
    }
    if source.starts_with('.') || source.starts_with('~') {
        let here = env::current_dir().map_err(|e| CliError::new(format!("no working directory: {e}")))?;
        return Ok(here.join(path));
    }
    Err(CliError::new(format!("cannot mount {whole:?}: named volumes are not supported"))
        .hint("give a path that begins with / or ."))
}

/// `--mount type=…,key=value,…`, as a line of CSV.
pub(crate) fn mount(text: &str) -> Result<MountPoint, CliError> {
    let (mut kind, mut source, mut target, mut read_only) = ("volume".to_owned(), None, None, false);
    let mut options = Vec::new();
    let bad = |why: String| CliError::new(format!("invalid argument {text:?} for \"--mount\" flag: {why}"));
    for field in csv::fields(text) {
        let (name, value) = field.split_once('=').unwrap_or((&field, ""));
        match name.trim().to_lowercase().as_str() {
            "type" => kind = value.to_lowercase(),
            "source" | "src" => source = Some(value.to_owned()),
            "target" | "dst" | "destination" => target = Some(value.to_owned()),
            "readonly" | "ro" => {
                read_only = match value {
                    "" | "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(bad(format!("invalid value for {name}: {value}"))),
                }
            }
            "tmpfs-size" => options.push(format!("size={value}")),
            "tmpfs-mode" => options.push(format!("mode={value}")),
            "bind-propagation" if matches!(value, "private" | "rprivate") => {}
            "consistency" | "volume-nocopy" | "volume-driver" | "volume-label" => {}
            _ => return Err(bad(format!("unexpected key '{name}' in '{field}'"))),
        }
    }
    let target = target.ok_or_else(|| bad("target is required".to_owned()))?;
    match (kind.as_str(), source) {
        ("bind", Some(source)) => {
            let source = absolute(&source, text)?;
            if !source.exists() {
                return Err(bad(format!("bind source path does not exist: {}", source.display())));
            }
            bind(source, target, read_only)
        }
        ("bind", None) => Err(bad("source is required".to_owned())),
        ("tmpfs", None) => Ok(MountPoint { target, kind: MountKind::Tmpfs(options), read_only }),
        ("tmpfs", Some(_)) => Err(bad("a tmpfs has no source".to_owned())),
        ("volume", None) => Ok(MountPoint { target, kind: MountKind::Anonymous, read_only }),
        ("volume", Some(name)) => Err(bad(format!("named volumes ({name}) are not supported"))
            .hint("use type=bind with a directory of the host")),
        (other, _) => Err(bad(format!("mount type {other:?} is not supported: bind, tmpfs or volume"))),
    }
}

/// `--device path[:path in the container[:permissions]]`
pub(crate) fn device(text: &str) -> Result<(String, String), CliError> {
    let bad = || CliError::new(format!("bad format for device: {text}"));
    let parts: Vec<&str> = text.split(':').collect();
    let permissions = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let (path, target) = match parts.as_slice() {
        [path] => (*path, *path),
        [path, only] if permissions(only) => (*path, *path),
        [path, target] => (*path, *target),
        [path, target, only] if permissions(only) => (*path, *target),
        _ => return Err(bad()),
    };
    if !path.starts_with('/') || !target.starts_with('/') {
        return Err(bad());
    }
    Ok((path.to_owned(), target.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_a_line_of_csv() {
        let made = mount("type=tmpfs,dst=/t,tmpfs-size=1m,readonly").unwrap();
        assert_eq!(made.kind, MountKind::Tmpfs(vec!["size=1m".into()]));
        assert!(made.read_only && made.target == "/t");
        for wrong in ["dst=/t,bogus=1", "type=bind,dst=/t", "type=npipe,dst=/t", "type=tmpfs"] {
            assert!(mount(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(device("/dev/a").unwrap(), pair("/dev/a", "/dev/a"));
        assert_eq!(device("/dev/a:rw").unwrap(), pair("/dev/a", "/dev/a"));
        assert_eq!(device("/dev/a:/dev/b:r").unwrap(), pair("/dev/a", "/dev/b"));
        assert!(device("/dev/a:/dev/b:x").is_err() && device("dev").is_err());
    }
}
