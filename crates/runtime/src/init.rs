//! What a program that runs containers does first.

/// The name under which the supervisor is started.
pub(crate) const SUPERVISOR: &str = "strake-supervisor";

/// To be called before anything else in `main`: if this process was started by strake itself as its supervisor, it
/// serves as that and never returns; else nothing happens.
///
/// The supervisor is this same executable under another name. The name alone does nothing: the process must also have
/// been given a packet socket as its standard input.
pub fn init() {
    let mut args = std::env::args_os();
    if args.next().is_none_or(|name| name != SUPERVISOR) {
        return;
    }
    if let Some(socket) = crate::container::syscalls::adopt_packet_socket(0) {
        let code = crate::supervisor::serve(socket);
        crate::sys::exit_now(code);
    }
}
