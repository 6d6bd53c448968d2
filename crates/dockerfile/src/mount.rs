//! `RUN --mount=` and `--device=`: the comma-separated fields as written, and typed once expanded.
//!
//! Values may hold variables, so that typing needs an expander: [`Mount::resolve`]. What a mount
//! then means (which stage, which cache) is not decided here.

use crate::diagnostic::Diagnostic;
use crate::span::Text;

/// One `--mount=` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// All that follows `--mount=`.
    pub text: Text,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// One `--device=` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// All that follows `--device=`.
    pub text: Text,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// `key=value`, or a key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// In lower case.
    pub key: Text,
    /// Right of the `=`, not expanded.
    pub value: Option<Text>,
}

/// What a mount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountType {
    /// `type=bind`: a stage, image or context
    Bind,
    /// `type=cache`: a directory that lives from build to build
    Cache,
    /// `type=tmpfs`
    Tmpfs,
    /// `type=secret`
    Secret,
    /// `type=ssh`
    Ssh,
}

/// How several builds use one cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// `sharing=shared`: all at once
    Shared,
    /// `sharing=private`: each its own
    Private,
    /// `sharing=locked`: one after the other
    Locked,
}

/// One `--mount=`, expanded and typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// `type=`, bind if not written
    pub kind: MountType,
    /// `from=`: stage, image or named context
    pub from: Option<String>,
    /// `source=`, `src=`: path in it
    pub source: Option<String>,
    /// `target=`, `dst=`, `destination=`: path in the container, as written
    pub target: Option<String>,
    /// `ro`, `rw` or what the type has by default
    pub read_only: bool,
    /// `id=`
    pub id: Option<String>,
    /// `sharing=`
    pub sharing: Option<Sharing>,
    /// `required`
    pub required: bool,
    /// `env=`: the variable that holds the secret
    pub env: Option<String>,
    /// `size=` of a tmpfs, in bytes; 0 for no limit
    pub size: u64,
    /// `mode=`, as octal
    pub mode: Option<u32>,
    /// `uid=`
    pub uid: Option<u32>,
    /// `gid=`
    pub gid: Option<u32>,
}

/// One `--device=`, expanded and typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOptions {
    /// The device by its qualified name (`vendor/class=device`).
    pub name: String,
    /// Fail without it.
    pub required: bool,
}

impl Mount {
    /// Expands each value with `expand` and types the whole.
    ///
    /// # Errors
    /// What `expand` returns; or an unknown key or type, a value that does not fit, or keys that
    /// do not go together, in BuildKit's words.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&Text) -> Result<String, Diagnostic>,
    ) -> Result<MountOptions, Diagnostic> {
        let _ = expand;
        Err(Diagnostic::error("not read yet", self.text.span))
    }
}

impl Device {
    /// Expands each value with `expand` and types the whole.
    ///
    /// # Errors
    /// What `expand` returns, or a malformed field.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&Text) -> Result<String, Diagnostic>,
    ) -> Result<DeviceOptions, Diagnostic> {
        let _ = expand;
        Err(Diagnostic::error("not read yet", self.text.span))
    }
}
