//! Go text templates over JSON values
