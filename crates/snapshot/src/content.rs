//! Content digests of files and trees.
