//! End-to-end tests on real engines, and the simulators they need.
