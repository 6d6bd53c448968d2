//! Linux namespaces, mounts and containers
