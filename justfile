# What CI checks, exactly.
check:
    .ci/run

# Format all code.
fmt:
    cargo fmt --all

# Run the tests; arguments go to cargo-nextest.
test *args:
    ./test {{args}}

# Rewrite the expected texts of golden tests.
bless:
    UPDATE_EXPECT=1 cargo nextest run -p strake-dockerfile

# Compare with buildah, podman and Docker, side by side.
bench:
    bench/run
