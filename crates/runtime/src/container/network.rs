//! The network of a container that has one of its own: nothing but loopback, up.

use crate::Error;
use crate::error::Context;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Brings `lo` up in the network namespace we are in.
pub(super) fn loopback_up() -> Result<(), Error> {
    let doing = || "bringing up the loopback interface";
    let socket =
        socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).doing(doing)?;
    super::syscalls::interface_up(&socket, c"lo").doing(doing)
}
