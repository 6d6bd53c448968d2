//! Files copied or made on top of a tree.

use serde::{Deserialize, Serialize};

/// What COPY, ADD and WORKDIR do, in order, as one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileOp {
    /// The actions, done in order.
    pub actions: Vec<FileAction>,
}

/// One change of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FileAction {
    /// Copies from an input's tree.
    Copy(Copy),
    /// Makes a directory and its missing parents.
    MakeDir(MakeDir),
    /// Makes a file with the given content, replacing one that is there.
    MakeFile(MakeFile),
}

impl FileAction {
    /// The number of the input that it reads, if any.
    pub fn input(&self) -> Option<u32> {
        match self {
            FileAction::Copy(copy) => Some(copy.from),
            _ => None,
        }
    }
}

/// Copies from an input's tree, as `COPY` and `ADD` do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// Number of the input.
    pub from: u32,
    /// Paths in that tree, cleaned and absolute; may hold wildcards (Go's `filepath.Match`).
    pub sources: Vec<String>,
    /// Absolute path in the image. A trailing slash says that it is a directory.
    pub dest: String,
    /// `user[:group]`, names (looked up in the base tree) or numbers; `None`: 0:0 from a context,
    /// the source's owner from an image or stage where `keep_owner` says so.
    pub owner: Option<String>,
    /// Octal or symbolic permission bits; `None`: the source's.
    pub mode: Option<String>,
    /// Patterns of paths left out, relative to the source.
    pub exclude: Vec<String>,
    /// Keep the source's directories: those after the first `/./` of a source, which is then not
    /// cleaned away, or all of them where there is none. Wildcards may then be `**` too.
    pub parents: bool,
    /// What to do with a source that is a tar archive.
    pub unpack: Unpack,
    /// Whether owners are those of the source tree (a copy from a stage or image without owner).
    pub keep_owner: bool,
}

/// What to do with a source that is a tar archive, compressed or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unpack {
    /// Copy it as it is (`COPY`).
    #[default]
    No,
    /// Unpack what is an archive, copy what is not (`ADD`).
    IfArchive,
}

/// Makes a directory and its missing parents (`WORKDIR`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeDir {
    /// Absolute path in the image.
    pub path: String,
    /// Permission bits of each directory made.
    pub mode: u32,
    /// `user[:group]` of each directory made; `None`: 0:0.
    pub owner: Option<String>,
}

/// Makes a file (a here-document of `COPY` or `ADD`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeFile {
    /// Absolute path in the image; with a trailing slash, `name` is put below it.
    pub dest: String,
    /// Base name where `dest` is a directory.
    pub name: String,
    /// Content.
    pub data: String,
    /// Octal or symbolic permission bits; `None`: 0644.
    pub mode: Option<String>,
    /// `user[:group]`; `None`: 0:0.
    pub owner: Option<String>,
}
