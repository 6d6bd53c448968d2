//! File trees: layers applied, copied into and diffed
