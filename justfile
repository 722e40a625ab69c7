# Recipes for development; CONTRIBUTING.md has the plain commands.

pure := "-p micado-api -p micado-core -p micado-cloudsetup -p micado-node-agent"

_list:
    @just --list

# Format, lints and unit tests of the crates without I/O: no root, no Docker
check: house
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo test --locked --lib {{ pure }}

# Tests of the whole workspace whose name contains NAME, without the end-to-end ones
test NAME:
    cargo test --locked --workspace --exclude micado-tests {{ NAME }}

# Replay one seed of the simulation, with its trace
sim SEED:
    SIM_SEED={{ SEED }} cargo test --locked -p micado-core --test simulation -- --nocapture

# One file of end-to-end tests, such as `grow`, on a Docker Engine of its own: needs root
e2e NAME:
    cargo build --locked -p micado-manager
    scripts/own-engine --images cargo test --locked -p micado-tests {{ NAME }}:: -- --nocapture

# Accept changed snapshots and rewrite docs/openapi.json
bless:
    INSTA_UPDATE=always cargo test --locked --lib -p micado-manager -p micado-cloudsetup
    MICADO_UPDATE_OPENAPI=1 cargo test --locked --lib -p micado-manager openapi

# Measure what docs/benchmarks.md reports, or one PART of it: scripts/bench names them
bench PART="":
    scripts/bench {{ PART }}

# Columns and links of the documents
house:
    scripts/check-docs
