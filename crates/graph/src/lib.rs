//! What is to be built: a graph of source, exec and file operations
