//! Copying files into a layer directory.
