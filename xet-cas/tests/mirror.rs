//! An origin that has another one behind it, with a proxy between them that misbehaves.

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod mirror {
    #[path = "../server/lab.rs"]
    #[expect(dead_code, reason = "what other tests need of it")]
    mod lab;
    mod pair;

    mod arriving;
    mod first_use;
    mod importing;
    mod trouble;
}
