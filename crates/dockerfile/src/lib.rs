//! The Dockerfile language: text to syntax tree to build graph
