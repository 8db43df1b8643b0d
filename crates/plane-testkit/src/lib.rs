//! Conformance suite, scripted peer and chaos proxy; for tests only.
