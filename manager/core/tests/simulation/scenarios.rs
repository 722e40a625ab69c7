//! Directed scenarios: one thing goes wrong, and what follows is known.
