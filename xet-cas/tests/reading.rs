//! Reading files and ranges of them: from the origin of this crate through a proxy that misbehaves, and from answers
//! that are written here.

#[cfg(test)]
mod reading {
    mod lab;

    mod fallback;
    mod lies;
    mod ranges;
    mod several_ranges;
}
