//! A socket that passes an agent's protocol on, message by message: lists of keys and signatures, nothing else
//! (draft-miller-ssh-agent, sections 4.4 and 4.5).

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};

use super::failed;
use super::keys::KeyAgent;
use crate::error::Failure;

/// `SSH_AGENTC_REQUEST_IDENTITIES` and `SSH_AGENTC_SIGN_REQUEST`.
const ALLOWED: [u8; 2] = [11, 13];
/// `SSH_AGENT_FAILURE`, as a message.
const REFUSAL: [u8; 5] = [0, 0, 0, 1, 5];
/// The largest message, as in OpenSSH.
const MESSAGE: usize = 256 << 10;
/// Clients at once.
const CLIENTS: usize = 64;
/// How often it is looked whether the socket is still wanted.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A socket that is served; no more once this is dropped.
#[derive(Debug)]
pub struct Forward {
    stop: Arc<AtomicBool>,
    path: PathBuf,
    /// A short name of the socket for this process's children, however long `path` is.
    address: PathBuf,
    _dir: std::os::fd::OwnedFd,
    _keys: Option<Arc<KeyAgent>>,
}

impl Forward {
    /// Begins to serve what the agent at `upstream` says, at `socket`.
    pub(super) fn begin(
        id: &str,
        socket: &Path,
        upstream: PathBuf,
        keys: Option<Arc<KeyAgent>>,
    ) -> Result<Forward, Failure> {
        let (Some(dir), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(failed(id, "its socket has no place"));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir_fd = open(dir, flags, Mode::empty()).map_err(|e| Failure::io("open", dir)(e.into()))?;
        // Addresses of sockets have 108 bytes, paths of stores may have more.
        let in_dir =
            |process: &str| PathBuf::from(format!("/proc/{process}/fd/{}", dir_fd.as_raw_fd())).join(name);
        let listener = UnixListener::bind(in_dir("self"))
            .map_err(|e| failed(id, format!("its socket cannot be made: {e}")))?;
        listener.set_nonblocking(true).map_err(Failure::io("set up", socket))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::Builder::new()
            .name("ssh-agent".to_owned())
            .spawn(move || serve(&listener, &upstream, &stopped))
            .map_err(|e| failed(id, format!("no thread for its socket: {e}")))?;
        let address = in_dir(&std::process::id().to_string());
        Ok(Forward { stop, path: socket.to_owned(), address, _dir: dir_fd, _keys: keys })
    }

    /// Where the socket is, for processes that this one starts.
    pub fn address(&self) -> &Path {
        &self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(listener: &UnixListener, upstream: &Path, stop: &Arc<AtomicBool>) {
    let clients = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&TICK));
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(_) => continue,
        };
        if clients.load(Ordering::Relaxed) >= CLIENTS || client.set_nonblocking(false).is_err() {
            continue;
        }
        clients.fetch_add(1, Ordering::Relaxed);
        let (upstream, counted) = (upstream.to_owned(), clients.clone());
        let begun = thread::Builder::new().name("ssh-agent-client".to_owned()).spawn(move || {
            let _ = pass(client, &upstream);
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if begun.is_err() {
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Passes the messages of one client on, until it goes.
fn pass(mut client: UnixStream, upstream: &Path) -> io::Result<()> {
    // A client that says nothing for so long is held by nobody.
    client.set_read_timeout(Some(std::time::Duration::from_secs(3600)))?;
    let mut agent = None;
    while let Some(message) = read_message(&mut client)? {
        if !message.first().is_some_and(|kind| ALLOWED.contains(kind)) {
            client.write_all(&REFUSAL)?;
            continue;
        }
        let agent = match &mut agent {
            Some(agent) => agent,
            None => match connect(upstream) {
                Ok(connected) => agent.insert(connected),
                Err(_) => {
                    client.write_all(&REFUSAL)?;
                    continue;
                }
            },
        };
        write_message(agent, &message)?;
        match read_message(agent)? {
            Some(answer) => write_message(&mut client, &answer)?,
            None => return client.write_all(&REFUSAL),
        }
    }
    Ok(())
}

/// Connects to a socket, however long its path is.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return UnixStream::connect(path);
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let dir = open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
}

/// One message without its length; `None` where there is no more.
fn read_message(from: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length == 0 || length > MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of no agent"));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}

fn write_message(to: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    to.write_all(&[&length, message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_and_signatures_are_passed_on() {
        let dir = tempfile::tempdir().unwrap();
        let (behind, before) = (dir.path().join("behind"), dir.path().join("before"));
        let agent = UnixListener::bind(&behind).unwrap();
        let answering = thread::spawn(move || {
            let (mut client, _) = agent.accept().unwrap();
            let mut seen = Vec::new();
            while let Ok(Some(message)) = read_message(&mut client) {
                seen.push(message[0]);
                write_message(&mut client, &[12, 0, 0, 0, 0]).unwrap();
            }
            seen
        });
        let forward = Forward::begin("default", &before, behind, None).unwrap();
        let mut client = UnixStream::connect(forward.address()).unwrap();
        let mut answer_to = |message: &[u8]| {
            write_message(&mut client, message).unwrap();
            read_message(&mut client).unwrap().unwrap()[0]
        };
        assert_eq!(answer_to(&[11]), 12);
        assert_eq!(answer_to(&[13, 1, 2]), 12);
        // Add, remove, remove all, lock, extensions.
        for kind in [17, 18, 19, 22, 25, 27] {
            assert_eq!(answer_to(&[kind]), 5);
        }
        drop(client);
        assert_eq!(answering.join().unwrap(), [11, 13]);
        drop(forward);
        assert!(UnixStream::connect(&before).is_err());
    }

    #[test]
    fn messages_have_a_largest_size() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(read_message(&mut other).is_err());
    }
}
