//! What the laws hold in memory. One test in a process of its own: whatever else runs would be counted too.

#[cfg(test)]
mod budget {
    use std::fs;
    use std::path::Path;

    use peak_alloc::PeakAlloc;
    use zest_fuzz::within_budget;

    type Law = fn(&[u8]);

    #[global_allocator]
    static ALLOCATOR: PeakAlloc = PeakAlloc;

    #[test]
    fn given_the_committed_seeds_when_replayed_then_every_law_keeps_to_its_budget() {
        let laws = [
            ("bencode", zest_fuzz::bencode as Law),
            ("bencode_there_and_back", zest_fuzz::bencode_there_and_back),
            ("bt_wire", zest_fuzz::bt_wire),
            ("bt_wire_there_and_back", zest_fuzz::bt_wire_there_and_back),
            ("bep_xet", zest_fuzz::bep_xet),
            ("shard", zest_fuzz::shard),
            ("reconstruction", zest_fuzz::reconstruction),
            ("subtree", zest_fuzz::subtree),
            ("bep_xet_there_and_back", zest_fuzz::bep_xet_there_and_back),
        ];
        for (target, law) in laws {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
            for seed in fs::read_dir(folder).unwrap() {
                within_budget(law, &fs::read(seed.unwrap().path()).unwrap());
            }
        }
        let is_counted = std::panic::catch_unwind(|| within_budget(|_| drop(vec![1_u8; 3 << 20]), &[]));
        assert!(is_counted.is_err(), "a law that holds too much is caught");
    }
}
