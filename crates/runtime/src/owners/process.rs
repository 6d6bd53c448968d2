//! What a path, or a descriptor's number, means to another process: its root, its working directory and its files, as
//! the kernel shows them in /proc.
//!
//! Paths are not taken apart here. The recorder takes on the process's root (`chroot`) and lets the kernel resolve, so
//! that links and `..` mean to it what they mean to the process, and can lead it no farther. Links of /proc that
//! concern "this process" would be the recorder's own; those that are in use are translated.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::calls::{Object, Place};
use crate::sys;

/// The longest path that the kernel takes, with its NUL.
const PATH_MAX: usize = 4096;

/// The recorder's view of the processes it answers.
pub(super) struct Processes {
    /// /proc of the pid namespace we are in, where the container's processes have pids.
    proc: OwnedFd,
    /// The container's root, which is this process's too,
    container: Root,
    /// except while answering a process that was chrooted within the container.
    elsewhere: bool,
}

/// A thread that waits for an answer.
pub(super) struct Asker<'a> {
    pub(super) pid: u32,
    pub(super) question: u64,
    pub(super) listener: BorrowedFd<'a>,
}

impl Asker<'_> {
    /// Whether it still waits: then what was opened by its pid up to now was its own, and no later process's.
    pub(super) fn confirm(&self) -> io::Result<()> {
        if sys::notification_is_valid(self.listener, self.question) {
            Ok(())
        } else {
            Err(Errno::SRCH.into())
        }
    }
}

/// A root directory, and which one it is.
struct Root {
    directory: OwnedFd,
    mount: u64,
    device: (u32, u32),
    inode: u64,
}

impl Root {
    fn of(proc: BorrowedFd<'_>, pid: u32) -> io::Result<Root> {
        let directory = open(proc, format!("{pid}/root"), OFlags::PATH | OFlags::DIRECTORY)?;
        let status = status(&directory)?;
        Ok(Root {
            mount: status.stx_mnt_id,
            device: (status.stx_dev_major, status.stx_dev_minor),
            inode: status.stx_ino,
            directory,
        })
    }

    fn is(&self, other: &Root) -> bool {
        (self.mount, self.device, self.inode) == (other.mount, other.device, other.inode)
    }
}

/// An opened file (`O_PATH`) of a container.
pub(super) struct Opened {
    pub(super) handle: OwnedFd,
    pub(super) status: Statx,
}

impl Processes {
    /// Takes on the root of the container whose first process is `init`. `proc` is /proc.
    pub(super) fn new(proc: OwnedFd, init: u32) -> io::Result<Processes> {
        let container = Root::of(proc.as_fd(), init)?;
        enter(&container)?;
        Ok(Processes { proc, container, elsewhere: false })
    }

    /// Whether a file is in the container's root file system, and not in another one mounted into it.
    pub(super) fn is_in_root(&self, file: &Opened) -> bool {
        file.status.stx_mnt_id == self.container.mount
    }

    /// The path of an opened file from the container's root.
    pub(super) fn path_of(&self, file: &Opened) -> io::Result<Vec<u8>> {
        use std::os::fd::AsRawFd;
        let link = format!("self/fd/{}", file.handle.as_raw_fd());
        Ok(rustix::fs::readlinkat(&self.proc, link, Vec::new())?.into_bytes())
    }

    /// Whether the process runs busybox, whatever name it goes by.
    pub(super) fn is_busybox(&self, asker: &Asker<'_>) -> bool {
        rustix::fs::readlinkat(&self.proc, format!("{}/exe", asker.pid), Vec::new()).is_ok_and(|path| {
            path.as_bytes()
                .rsplit(|byte| *byte == b'/')
                .next()
                .is_some_and(|name| name.starts_with(b"busybox"))
        })
    }

    /// Opens what a call of the chown family is about.
    pub(super) fn open_object(&mut self, asker: &Asker<'_>, object: Object) -> io::Result<Opened> {
        let pid = asker.pid;
        let handle = match object {
            Object::Descriptor(number) => self.descriptor(pid, number, OFlags::empty())?,
            Object::Path { at, follow, empty } => {
                let path = read_path(pid, at.path)?;
                let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
                match (path.as_slice(), at.directory) {
                    (b"", Some(number)) if empty => self.descriptor(pid, number, OFlags::empty())?,
                    (b"", None) if empty => self.working_directory(pid)?,
                    _ => self.resolve(asker, at, &path, OFlags::PATH | nofollow, Mode::empty())?,
                }
            }
        };
        asker.confirm()?;
        let status = status(&handle)?;
        Ok(Opened { handle, status })
    }

    /// Makes an empty file, which must not be there yet, with these permissions less the process's umask.
    pub(super) fn create(&mut self, asker: &Asker<'_>, at: Place, mode: u32) -> io::Result<(Opened, u32)> {
        let path = read_path(asker.pid, at.path)?;
        let permissions = mode & 0o7777 & !self.umask(asker.pid)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let handle = self.resolve(asker, at, &path, flags, Mode::from_raw_mode(permissions))?;
        let status = status(&handle)?;
        Ok((Opened { handle, status }, permissions))
    }

    fn resolve(
        &mut self,
        asker: &Asker<'_>,
        at: Place,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<OwnedFd> {
        let pid = asker.pid;
        if let Some(own) = own_link(pid, path) {
            return open(self.proc.as_fd(), own, flags & !OFlags::NOFOLLOW);
        }
        let opened = self.open_as(asker, at, path, flags, mode);
        // A log that is a link to /dev/stdout ends in a link of /proc that is there for the process alone.
        if flags.contains(OFlags::PATH)
            && !flags.contains(OFlags::NOFOLLOW)
            && opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            && let Ok(link) = self.open_as(asker, at, path, flags | OFlags::NOFOLLOW, mode)
            && let Ok(target) = rustix::fs::readlinkat(link, c"", Vec::new())
            && let Some(own) = own_link(pid, target.as_bytes())
        {
            return open(self.proc.as_fd(), own, flags);
        }
        opened
    }

    /// Opens a path as the process would, but for links of /proc.
    fn open_as(
        &mut self,
        asker: &Asker<'_>,
        at: Place,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<OwnedFd> {
        let pid = asker.pid;
        let start = match at.directory {
            _ if path.starts_with(b"/") => None,
            Some(number) => Some(self.descriptor(pid, number, OFlags::DIRECTORY)?),
            None => Some(self.working_directory(pid)?),
        };
        let root = Root::of(self.proc.as_fd(), pid)?;
        asker.confirm()?;
        self.return_to_container()?;
        if !root.is(&self.container) {
            self.elsewhere = true;
            enter(&root)?;
        }
        let start = start.as_ref().map_or(CWD, |start| start.as_fd());
        let opened = rustix::fs::openat(start, path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, mode);
        self.return_to_container()?;
        Ok(opened?)
    }

    /// Paths of opened files are told from the root we have, so it has to be the container's between calls.
    fn return_to_container(&mut self) -> io::Result<()> {
        if self.elsewhere {
            enter(&self.container)?;
            self.elsewhere = false;
        }
        Ok(())
    }

    fn descriptor(&self, pid: u32, number: u32, flags: OFlags) -> io::Result<OwnedFd> {
        match open(self.proc.as_fd(), format!("{pid}/fd/{number}"), OFlags::PATH | flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Errno::BADF.into()),
            done => done,
        }
    }

    fn working_directory(&self, pid: u32) -> io::Result<OwnedFd> {
        open(self.proc.as_fd(), format!("{pid}/cwd"), OFlags::PATH | OFlags::DIRECTORY)
    }

    fn umask(&self, pid: u32) -> io::Result<u32> {
        let file = open(self.proc.as_fd(), format!("{pid}/status"), OFlags::RDONLY)?;
        let mut text = String::new();
        io::Read::read_to_string(&mut std::fs::File::from(file), &mut text)?;
        let value = text.lines().find_map(|line| line.strip_prefix("Umask:"));
        Ok(value.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o022))
    }
}

/// The path in the host's /proc of what the process knows as one of its own open files, or as a file of its own /proc
/// directory.
fn own_link(pid: u32, path: &[u8]) -> Option<Vec<u8>> {
    let tail: Vec<u8> = match path {
        b"/dev/stdin" => b"fd/0".to_vec(),
        b"/dev/stdout" => b"fd/1".to_vec(),
        b"/dev/stderr" => b"fd/2".to_vec(),
        _ => match (path.strip_prefix(b"/dev/fd/"), path.strip_prefix(b"/proc/self/fd/")) {
            (Some(number), _) | (_, Some(number))
                if !number.is_empty() && number.iter().all(u8::is_ascii_digit) =>
            {
                [b"fd/", number].concat()
            }
            _ => return None,
        },
    };
    Some([format!("{pid}/").as_bytes(), &tail].concat())
}

fn enter(root: &Root) -> io::Result<()> {
    rustix::process::fchdir(&root.directory)?;
    Ok(rustix::process::chroot(c".")?)
}

fn open(directory: BorrowedFd<'_>, path: impl Arg, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(directory, path, flags | OFlags::CLOEXEC, Mode::empty())?)
}

fn status(file: impl AsFd) -> io::Result<Statx> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    Ok(rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW, mask)?)
}

/// The text at `address` in the process's memory, up to its NUL.
fn read_path(pid: u32, address: u64) -> io::Result<Vec<u8>> {
    let mut path = Vec::new();
    let mut chunk = [0; 256];
    while path.len() < PATH_MAX {
        let start = address + path.len() as u64;
        // A read is all or nothing per page, so none goes over a page's end. Pages have 4 KiB or a multiple.
        let len = chunk.len().min(4096 - (start % 4096) as usize);
        match sys::read_memory(pid, start, &mut chunk[..len]) {
            Ok(0) => return Err(Errno::FAULT.into()),
            Ok(n) => match chunk[..n].iter().position(|byte| *byte == 0) {
                Some(end) => {
                    path.extend(&chunk[..end]);
                    return if path.len() < PATH_MAX { Ok(path) } else { Err(Errno::NAMETOOLONG.into()) };
                }
                None => path.extend(&chunk[..n]),
            },
            Err(error) => return Err(error),
        }
    }
    Err(Errno::NAMETOOLONG.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_links_are_translated() {
        let text = |path: &str| own_link(7, path.as_bytes()).map(|own| String::from_utf8(own).unwrap());
        assert_eq!(text("/dev/stdout").as_deref(), Some("7/fd/1"));
        assert_eq!(text("/proc/self/fd/12").as_deref(), Some("7/fd/12"));
        assert_eq!(text("/dev/fd/3").as_deref(), Some("7/fd/3"));
        for other in ["/proc/self/fd/", "/dev/fd/../x", "/dev/stdouts", "dev/stdout", "/proc/self/root"] {
            assert_eq!(text(other), None, "{other}");
        }
    }

    #[test]
    fn a_path_is_read_from_memory_to_its_nul() {
        let pid = std::process::id();
        let text = std::ffi::CString::new("x".repeat(3000)).unwrap();
        assert_eq!(read_path(pid, text.as_ptr() as u64).unwrap(), text.as_bytes());
        let long = vec![b'y'; 5000];
        assert_eq!(
            read_path(pid, long.as_ptr() as u64).unwrap_err().raw_os_error(),
            Some(libc::ENAMETOOLONG)
        );
        assert_eq!(read_path(pid, 8).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    }
}
