//! Packets between strake, its supervisor and the containers being set up: one JSON value and some descriptors each,
//! over SOCK_SEQPACKET sockets, which keep packets apart.
//!
//! A value too long for a packet goes in a memory file. Both ends are this program, yet what comes in is bounded: the
//! process on the other side may by then be somebody else's.

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest value sent in the packet itself.
const INLINE: usize = 60 * 1024;
/// The longest value at all.
const LIMIT: u64 = 64 << 20;
/// The most descriptors in one packet: the kernel's SCM_MAX_FD.
const DESCRIPTORS: usize = 253;

/// A pair of connected packet sockets.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends `value` and duplicates of `descriptors`. `BrokenPipe` when the other end is closed.
pub(crate) fn send(
    socket: impl AsFd,
    value: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let mut all = descriptors.to_vec();
    let memory;
    let (tag, body): (&[u8], &[u8]) = if json.len() <= INLINE {
        (b"i", &json)
    } else {
        let mut file = File::from(memfd_create("strake-packet", MemfdFlags::CLOEXEC)?);
        file.write_all(&json)?;
        memory = file;
        all.push(memory.as_fd());
        (b"m", b"")
    };
    if all.len() > DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one packet"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !all.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&all));
    }
    let parts = [IoSlice::new(tag), IoSlice::new(body)];
    loop {
        match sendmsg(socket.as_fd(), &parts, &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            done => return Ok(done.map(drop)?),
        }
    }
}

/// Takes the next packet; `None` when the other end is closed.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; INLINE + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        match recvmsg(socket.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // What a peer that died with packets unread leaves.
            Err(Errno::CONNRESET) => return Ok(None),
            done => break done?,
        }
    };
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet came in shortened"));
    }
    let value = match buffer[..message.bytes].split_first() {
        None => return Ok(None),
        Some((b'i', json)) => serde_json::from_slice(json)?,
        Some((b'm', [])) => {
            let Some(memory) = descriptors.pop() else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a packet came in without its content",
                ));
            };
            let mut file = File::from(memory);
            file.rewind()?;
            let mut json = Vec::new();
            file.take(LIMIT).read_to_end(&mut json)?;
            serde_json::from_slice(&json)?
        }
        Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet came in malformed")),
    };
    Ok(Some((value, descriptors)))
}

/// Takes one descriptor, whatever the message beside it: what OCI runtimes send over their console socket.
pub(crate) fn receive_descriptor(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut rights) = part
            && let Some(descriptor) = rights.next()
        {
            return Ok(descriptor);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a message came in without a descriptor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_descriptors_arrive() {
        let (a, b) = pair().expect("socketpair");
        for length in [0, 10, INLINE, INLINE * 40] {
            let text = "x".repeat(length);
            send(&a, &text, &[a.as_fd(), b.as_fd()]).expect("send");
            let (got, descriptors) = receive::<String>(&b).expect("receive").expect("a packet");
            assert_eq!(got.len(), length);
            assert_eq!(descriptors.len(), 2);
        }
        drop(a);
        assert!(receive::<String>(&b).expect("receive").is_none());
        assert_eq!(send(&b, &1, &[]).expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
    }
}
