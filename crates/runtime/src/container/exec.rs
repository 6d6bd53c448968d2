//! The last steps: working directory, search in `PATH`, exec; and, where that fails, Docker's words and exit codes.

use super::{Failure, syscalls};
use crate::error::Context;
use crate::spec::Process;
use crate::{Error, beneath};
use rustix::fs::{Access, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most of /etc/passwd that is looked at for a home directory.
const PASSWD_LIMIT: u64 = 1 << 20;

/// Makes the working directory in `root`, as Docker does for one that the image lacks.
pub(super) fn make_directory(root: BorrowedFd<'_>, cwd: &str) -> Result<(), Error> {
    if !cwd.starts_with('/') {
        return Err(Error::Spec(format!("the working directory \"{cwd}\" is not absolute")));
    }
    match beneath::mkdir_all(root, Path::new(cwd), Mode::from_raw_mode(0o755), |_, _| Ok(())) {
        Ok(_) => Ok(()),
        // Said by chdir, in the container's terms: not a directory, or behind a magic link.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => Ok(()),
        Err(error) => Err(Error::io(format!("making the working directory {cwd}"), error)),
    }
}

/// Goes to the working directory, and makes sure that it is in the container: a link to a descriptor of ours, left
/// open, would have led out (CVE-2024-21626).
pub(super) fn enter_directory(cwd: &str) -> Result<(), Error> {
    let doing = || format!("changing to the working directory {cwd}");
    rustix::process::chdir(cwd).doing(doing)?;
    let here = rustix::process::getcwd(Vec::new()).doing(doing)?;
    if !here.to_bytes().starts_with(b"/") {
        return Err(Error::Container(format!("the working directory {cwd} leads out of the container")));
    }
    Ok(())
}

/// A command that was found and is ready to be run.
#[derive(Debug)]
pub(crate) struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Finds `process.args[0]` as the user we are now.
    pub(crate) fn find(process: &Process) -> Result<Program, Failure> {
        let name = match process.args.first() {
            Some(name) if !name.is_empty() => name.as_str(),
            _ => return Err(Failure { code: 127, message: "no command specified".into() }),
        };
        let mut env = process.env.clone();
        if !env.iter().any(|e| e.starts_with("HOME=")) {
            env.push(format!("HOME={}", home(process.user.uid)));
        }
        let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
        let path = look_up(name, OsStr::new(path))?;
        let strings =
            |list: &[String]| list.iter().map(|s| c_string(s.as_bytes())).collect::<Result<Vec<_>, _>>();
        Ok(Program {
            path: c_string(path.as_os_str().as_bytes())?,
            args: strings(&process.args)?,
            env: strings(&env)?,
        })
    }

    /// Becomes the program. Returns only if that fails.
    pub(crate) fn exec(&self) -> Failure {
        let errno = syscalls::exec(&self.path, &self.args, &self.env);
        let path = self.path.to_string_lossy();
        let (code, why) = match errno.raw_os_error() {
            // It was found a moment ago: what is missing is what it needs.
            Some(libc::ENOENT) => (127, format!("no such file or directory ({})", missing_loader(&path))),
            Some(libc::EACCES) => (126, "permission denied".into()),
            Some(libc::ENOEXEC) => {
                (126, "exec format error (built for another architecture, or a script without #!)".into())
            }
            Some(libc::E2BIG) => (126, "argument list too long".into()),
            _ => (126, errno.to_string()),
        };
        Failure { code, message: format!("exec {path}: {why}") }
    }
}

fn c_string(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes)
        .map_err(|_| Failure { code: 125, message: "arguments and environment cannot hold NUL".into() })
}

/// Looks `name` up as Go's exec.LookPath does for runc, whose words these are.
pub(crate) fn look_up(name: &str, path: &OsStr) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(Failure {
                code: 127,
                message: format!("exec: \"{name}\": stat {name}: no such file or directory"),
            }),
            Err(Errno::ISDIR) => {
                Err(Failure { code: 126, message: format!("exec: \"{name}\": is a directory") })
            }
            Err(errno) => Err(Failure { code: 126, message: format!("exec: \"{name}\": {}", words(errno)) }),
        };
    }
    let mut denied = None;
    for directory in path.as_bytes().split(|b| *b == b':') {
        // An empty entry is the working directory.
        let directory = if directory.is_empty() { b".".as_slice() } else { directory };
        let candidate = Path::new(OsStr::from_bytes(directory)).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => denied = Some(candidate),
            Err(_) => {}
        }
    }
    // Docker says "not found" for both; which file it was helps.
    Err(match denied {
        Some(path) => {
            Failure { code: 126, message: format!("exec: \"{}\": permission denied", path.display()) }
        }
        None => {
            Failure { code: 127, message: format!("exec: \"{name}\": executable file not found in $PATH") }
        }
    })
}

fn executable(path: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, rustix::fs::AtFlags::EACCESS).or_else(
        |errno| {
            // Kernels without faccessat2, or a filter that denies it.
            match errno {
                Errno::NOSYS | Errno::PERM => rustix::fs::access(path, Access::EXEC_OK),
                other => Err(other),
            }
        },
    )?;
    // Root may execute only what someone may.
    if stat.st_mode & 0o111 == 0 { Err(Errno::ACCESS) } else { Ok(()) }
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::ACCESS => "permission denied".into(),
        Errno::LOOP => "too many levels of symbolic links".into(),
        other => std::io::Error::from(other).to_string(),
    }
}

/// What a program that exists needs and does not find: its script interpreter, or the loader of its C library.
fn missing_loader(path: &str) -> String {
    let mut head = [0; 256];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
    let head = &head[..read];
    if let Some(rest) = head.strip_prefix(b"#!") {
        let line = rest.split(|b| *b == b'\n').next().unwrap_or(rest);
        let line = String::from_utf8_lossy(line);
        let interpreter = line.split_whitespace().next().unwrap_or("");
        if line.ends_with('\r') {
            return format!("its interpreter is \"{interpreter}\\r\": the script has Windows line endings");
        }
        return format!("its interpreter {interpreter} is missing");
    }
    "its dynamic loader is missing: it was built for another C library".into()
}

/// The home directory in the container's /etc/passwd, as runc sets it where the environment does not.
fn home(uid: u32) -> String {
    let read = || -> Option<String> {
        // Whatever an image has there: a regular file or nothing.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::open("/etc/passwd", flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut bytes = Vec::new();
        std::fs::File::from(file).take(PASSWD_LIMIT).read_to_end(&mut bytes).ok()?;
        String::from_utf8_lossy(&bytes).lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let home = *fields.get(5)?;
            (fields.get(2)?.parse() == Ok(uid) && !home.is_empty()).then(|| home.to_owned())
        })
    };
    read().unwrap_or_else(|| "/".into())
}
