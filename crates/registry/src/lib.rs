//! Client of the OCI distribution protocol
