//! Faults that are injected for real, and what must hold whatever the fault.
//!
//! A [`Case`] runs in a process of its own, so that what it does to descriptors, memory and tasks is its own, and so that a
//! hang is the end of that process. It states its outcome in words and gets a [`Scene`], which checks what docs/threats.md asks
//! of every row:
//!
//! - each call ends exactly once, typed, and in time ([`Scene::call`], [`Ended`]);
//! - no panic reaches the runtime; tables, tasks and descriptors are back where they were once the case is over;
//! - memory follows what came ([`Scene::memory`]);
//! - a caller beside the fault is not hurt ([`Scene::neighbour`]), and no answer reaches another caller.
//!
//! # Layout
//! - `machine`: how late this machine is at the moment, and how much memory the process holds.
//! - `ended`: how a call ended.
//! - `neighbour`: a caller beside the fault.
//! - `leftovers`: tasks, descriptors and calls that must be gone.
//! - `scene`: what a case works with.
//! - `child`: a case in this process.
//! - `options`: what the command line asks for.
//! - `suite`: all cases, one after the other, and the table of how they went.

mod machine;

mod ended;
pub use ended::{Ended, Started};

mod neighbour;
pub use neighbour::Neighbour;

mod leftovers;

mod scene;
pub use scene::{Memory, Scene};

mod child;

mod options;

mod suite;
pub use suite::{Case, Transport, run};
