//! The plane binary: frontend, worker and single calls.
