//! Content-addressed store of blobs, snapshots, images and cache records
