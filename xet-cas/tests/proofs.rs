//! Proofs of runs of chunks: those that are cut hold, nothing else does, and inner levels of the tree never
//! pass for chunks. Property tests print the failing input and the seed that led to it.

#[cfg(test)]
mod proofs {
    #[allow(dead_code, reason = "shared with the tests of the formats")]
    #[path = "../formats/naive.rs"]
    mod naive;
    #[allow(dead_code, reason = "shared with the tests of the formats")]
    #[path = "../formats/samples.rs"]
    mod samples;
    #[allow(dead_code, reason = "shared with the tests of the formats")]
    #[path = "../formats/vectors.rs"]
    mod vectors;

    mod changes;
    mod levels;
    mod lists;
    mod plain;
    mod rule;
    mod runs;
}
