//! The program as its users meet it: real processes, a real origin, and faults between them.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
#![expect(clippy::print_stderr, reason = "a test that cannot be tried says so")]

mod bad_input;
mod cache;
mod deadlines;
mod fair_serving;
mod fallback;
mod kills;
mod lab;
mod leaks;
mod legacy_peers;
mod legacy_serving;
mod listing;
mod network;
mod origin;
mod origin_kills;
mod peers;
mod privacy;
mod publishing;
mod pull;
mod repos;
mod reuse;
mod serving;
mod slow_names;
mod sources;
mod stopping;
