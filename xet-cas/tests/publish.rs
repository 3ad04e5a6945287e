//! Publishing to the origin of this crate, with a proxy between them that counts and misbehaves.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod publish {
    mod bad_input;
    mod grants;
    mod lab;
    mod options;
    mod sparing;
}
