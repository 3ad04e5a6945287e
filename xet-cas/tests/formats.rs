//! The formats against what the deployed client does (`tests/vectors/xet.json`), and against laws that
//! hold for all inputs. Property tests print the failing input and the seed that led to it.

#[cfg(test)]
mod formats {
    mod chunker;
    mod compression;
    mod dedup;
    mod footer;
    mod hash;
    mod merkle;
    mod naive;
    mod reconstruction;
    mod restart;
    mod samples;
    mod shard;
    mod stored_shard;
    mod subtree;
    mod terms;
    mod validator;
    mod vectors;
    mod xorb;
}
