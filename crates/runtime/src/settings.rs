//! Settings of the kernel, and of a container around us, that forbid user namespaces or mounts; and the reason for a
//! refusal in words, as the kernel's `EPERM` has a dozen of them.
//!
//! Only reads /proc and /sys. [`crate::doctor`] shows the same settings before anything was refused.

use std::path::Path;

use rustix::thread::CapabilitySet;

use crate::Error;
use crate::ids::read_bounded;

/// The first kernel in which an ordinary user can mount overlayfs (and which knows `userxattr` at all).
pub(crate) const OLDEST_KERNEL: (u32, u32) = (5, 11);

/// The running kernel's version, as far as it decides anything.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    parse_version(&release).unwrap_or(OLDEST_KERNEL)
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Refuses kernels that lack what everything here builds on.
pub(crate) fn require_kernel() -> Result<(), Error> {
    let (major, minor) = kernel_version();
    if (major, minor) >= OLDEST_KERNEL {
        return Ok(());
    }
    let (need_major, need_minor) = OLDEST_KERNEL;
    Err(Error::Unsupported {
        what: format!(
            "Linux {major}.{minor} is too old: overlayfs with `userxattr` came with {need_major}.{need_minor}"
        ),
        remedy: format!("use a kernel of {need_major}.{need_minor} or newer"),
    })
}

/// A number in a file below /proc/sys; `None` where this kernel has no such setting.
pub(crate) fn sysctl(name: &str) -> Option<u64> {
    read_bounded(&Path::new("/proc/sys").join(name.replace('.', "/"))).ok()?.trim().parse().ok()
}

/// A field of /proc/self/status: `status("Seccomp")`.
pub(crate) fn status(field: &str) -> Option<String> {
    let text = read_bounded(Path::new("/proc/self/status")).ok()?;
    let value = |line: &str| line.strip_prefix(field)?.strip_prefix(':').map(|value| value.trim().to_owned());
    text.lines().find_map(value)
}

/// Whether a seccomp filter is over this process: we are in a container.
pub(crate) fn seccomp_filtered() -> bool {
    status("Seccomp").as_deref() == Some("2")
}

/// Whether setuid programs such as newuidmap are without effect for us.
pub(crate) fn no_new_privileges() -> bool {
    status("NoNewPrivs").as_deref() == Some("1")
}

/// The AppArmor profile or SELinux context that confines this process, if one does.
pub(crate) fn confinement() -> Option<String> {
    let label = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"]
        .iter()
        .find_map(|path| read_bounded(Path::new(path)).ok())?;
    let label = label.trim_end_matches(['\0', '\n', ' ']);
    let free = label.is_empty() || label.starts_with("unconfined") || label.contains(":unconfined_t:");
    (!free).then(|| label.to_owned())
}

/// Whether this thread has the capability in its user namespace.
pub(crate) fn has(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// Why a user namespace was refused with `errno`.
pub(crate) fn no_user_namespace(errno: Option<i32>) -> Error {
    let (what, remedy): (String, String) = if sysctl("user.max_user_namespaces") == Some(0) {
        (
            "user namespaces are turned off (user.max_user_namespaces is 0)".into(),
            "turn them on with `sysctl -w user.max_user_namespaces=15000`, or run as root".into(),
        )
    } else if sysctl("kernel.unprivileged_userns_clone") == Some(0) {
        (
            "user namespaces are for root only here (kernel.unprivileged_userns_clone is 0)".into(),
            "allow them with `sysctl -w kernel.unprivileged_userns_clone=1`, or run as root".into(),
        )
    } else if errno == Some(libc::ENOSPC) || errno == Some(libc::EUSERS) {
        (
            "no more user namespaces can be created (the limit, or 32 levels, is reached)".into(),
            "raise it with `sysctl -w user.max_user_namespaces=15000`, also in the namespaces above".into(),
        )
    } else if errno == Some(libc::EINVAL) || !Path::new("/proc/self/ns/user").exists() {
        (
            "this kernel has no user namespaces".into(),
            "use a kernel built with CONFIG_USER_NS, or run as root".into(),
        )
    } else if seccomp_filtered() {
        (
            "the container we run in does not allow user namespaces (its seccomp profile)".into(),
            "start it with `--security-opt seccomp=unconfined`, or with a profile that allows unshare, clone3, mount \
             and the calls of the new mount API"
                .into(),
        )
    } else if let Some(remedy) = apparmor_remedy() {
        ("AppArmor does not allow user namespaces here".into(), remedy)
    } else {
        (
            "a user namespace was refused".into(),
            "a chroot, a security module or an unmapped user id can be the reason: see `strake system doctor`".into(),
        )
    };
    Error::Unsupported { what, remedy }
}

/// Why mounting was refused in a namespace of our own, where it is our right.
pub(crate) fn no_mounts(errno: Option<i32>) -> Error {
    let (what, remedy): (String, String) = if let Some(remedy) = apparmor_remedy() {
        ("AppArmor does not allow mounts here".into(), remedy)
    } else if seccomp_filtered() {
        (
            "the container we run in does not allow mounts (its seccomp profile)".into(),
            "start it with `--security-opt seccomp=unconfined`, or with a profile that allows mount and the calls of \
             the new mount API"
                .into(),
        )
    } else {
        (
            format!(
                "mounts are refused in our own namespace: {}",
                std::io::Error::from_raw_os_error(errno.unwrap_or(libc::EPERM))
            ),
            "see `strake system doctor`".into(),
        )
    };
    Error::Unsupported { what, remedy }
}

/// What to do about AppArmor, where it is what confines us.
fn apparmor_remedy() -> Option<String> {
    if sysctl("kernel.apparmor_restrict_unprivileged_userns") == Some(1) {
        return Some(
            "allow them with `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or give strake's executable \
             a profile with `userns,` in /etc/apparmor.d"
                .into(),
        );
    }
    let label = confinement()?;
    Some(format!(
        "the profile {label} confines us: start the container with `--security-opt apparmor=unconfined` (SELinux: \
         `--security-opt label=disable`)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("6.18.44-fc-v782"), Some((6, 18)));
        assert_eq!(parse_version("5.10.0-8-amd64"), Some((5, 10)));
        assert_eq!(parse_version("5.4"), Some((5, 4)));
        assert_eq!(parse_version("odd"), None);
        assert!((5, 10) < OLDEST_KERNEL && (6, 1) > OLDEST_KERNEL && (5, 11) >= OLDEST_KERNEL);
    }

    #[test]
    fn fields_of_status() {
        assert_eq!(status("Threads").map(|n| n.parse::<u32>().is_ok()), Some(true));
        assert_eq!(status("Thre"), None);
    }
}
