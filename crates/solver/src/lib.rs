//! Graph to result, skipping what is cached
