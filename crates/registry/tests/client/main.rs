//! The client against servers: Debian's `docker-registry`, and scripted ones that do what they should not.

#[path = "../support/mod.rs"]
mod support;

mod debian;
mod hostile;
mod mirrors;
mod tokens;
mod uploads;
mod wires;
