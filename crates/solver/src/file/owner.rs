//! Names of users and groups that files are to belong to, looked up in the image.

use std::io::Read as _;

use snapshot::{Owner, View};

use super::Error;
use crate::user;

/// Bytes read of `/etc/passwd` and `/etc/group`.
const LIMIT: u64 = 16 << 20;

/// The owner that `spec` (`user[:group]`, names or numbers) means in the image that `base` shows; no image, no names
/// but root.
pub(super) fn lookup(spec: &str, base: Option<&View>) -> Result<Owner, Error> {
    // These need no image, as in BuildKit.
    let number = |name: &str| if name == "root" { "0".to_owned() } else { name.to_owned() };
    let spec = spec.split(':').map(number).collect::<Vec<_>>().join(":");
    let numeric = spec.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let (passwd, group) = match base.filter(|_| !numeric) {
        Some(base) => (text(base, b"etc/passwd")?, text(base, b"etc/group")?),
        None => Default::default(),
    };
    match (user::owner(&spec, &passwd, &group), base) {
        (Ok((uid, gid)), _) => Ok(Owner { uid, gid }),
        (Err(error), Some(_)) => Err(Error::Owner(error)),
        (Err(error), None) => Err(Error::OwnerUnseen(error)),
    }
}

/// The text of a file of the image; nothing where there is none.
fn text(view: &View, path: &[u8]) -> Result<String, Error> {
    match view.stat(path)? {
        Some(_) => {}
        None => return Ok(String::new()),
    }
    let mut bytes = Vec::new();
    let read = view.open_file(path)?.take(LIMIT).read_to_end(&mut bytes);
    read.map_err(|e| snapshot::Error::io(format!("reading /{} of the image", path.escape_ascii()), e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_image() {
        for (spec, expected) in [
            ("0", (0, 0)),
            ("1000", (1000, 1000)),
            ("1000:5", (1000, 5)),
            ("root", (0, 0)),
            ("root:root", (0, 0)),
            ("7:root", (7, 0)),
            ("7:", (7, 7)),
        ] {
            let owner = lookup(spec, None).unwrap();
            assert_eq!((owner.uid, owner.gid), expected, "{spec}");
        }
        let error = lookup("app", None).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("unable to convert uid/gid chown string"), "{error}");
        assert!(error.contains("--link"), "{error}");
    }
}
