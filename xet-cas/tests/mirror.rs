//! An origin that has another one behind it, with a proxy between them that misbehaves.

#[cfg(test)]
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
