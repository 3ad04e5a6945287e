use xet_cas::{FetchEntry, Reconstruction, Term};

/// The bytes are the JSON of an answer about a file, in either version.
pub fn reconstruction(data: &[u8]) {
    if let Ok(answer) = Reconstruction::from_json_v1(data) {
        let sorted = in_order_of_xorbs(&answer);
        assert_eq!(Ok(&sorted), Reconstruction::from_json_v1(&answer.to_json_v1()).as_ref());
        check(&answer);
    }
    if let Ok(answer) = Reconstruction::from_json_v2(data) {
        let sorted = in_order_of_xorbs(&answer);
        assert_eq!(Ok(&sorted), Reconstruction::from_json_v2(&answer.to_json_v2()).as_ref());
        assert_eq!(Ok(&sorted), Reconstruction::from_json_v1(&answer.to_json_v1()).as_ref());
        check(&answer);
    }
}

/// An answer is refused, or every term has an entry that covers it and there are not more bytes than it says.
fn check(answer: &Reconstruction) {
    let bytes = answer.terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
    let covers = |entry: &FetchEntry, term: &Term| entry.xorb == term.xorb && entry.chunks.contains(&term.chunks);
    if let Ok(entries) = answer.check_whole_file(bytes) {
        assert_eq!(answer.terms.len(), entries.len());
        assert!(entries.iter().zip(&answer.terms).all(|(entry, term)| covers(&answer.entries[*entry], term)));
    }
    assert!(answer.check_whole_file(bytes + 1).is_err());
}

fn in_order_of_xorbs(answer: &Reconstruction) -> Reconstruction {
    let mut sorted = answer.clone();
    sorted.entries.sort_by_key(|entry| entry.xorb);
    sorted
}
