//! Finding out what an earlier pull has left of a file: every chunk that its journal names is read and hashed.
//! Without a journal the bytes are cut into chunks again.

use xet_cas::{ByteRange, CHUNK_BYTES_MAX, Chunker, Leaf};

use crate::Error;
use crate::plan::FilePlan;
use crate::present::Present;
use crate::store::{Partial, TakenUp};

/// What is in a partial file that was taken up. What cannot be read is not there.
pub(super) fn look(partial: &Partial, taken_up: &TakenUp, plan: &FilePlan) -> Result<Present, Error> {
    match taken_up {
        TakenUp::Nothing => Ok(Present::default()),
        TakenUp::Journal => check_journal(partial, &plan.terms()),
        TakenUp::Bytes => Ok(rescan(partial, &plan.terms())),
    }
}

fn check_journal(partial: &Partial, terms: &[ByteRange]) -> Result<Present, Error> {
    let (mut present, mut chunk) = (Present::default(), Vec::new());
    for (offset, leaf) in partial.noted()? {
        let end = offset.saturating_add(leaf.length.into());
        // No chunk reaches from one term into the next.
        let term = terms.partition_point(|term| term.start <= offset).checked_sub(1).map(|at| terms[at]);
        let fits = term.is_some_and(|term| end <= term.end) && leaf.length as usize <= CHUNK_BYTES_MAX;
        if !fits || present.overlaps(ByteRange { start: offset, end }) {
            continue;
        }
        chunk.resize(leaf.length as usize, 0);
        if partial.read(&mut chunk, offset).is_ok() && Leaf::of(&chunk) == leaf {
            present.insert(offset, leaf);
        }
    }
    Ok(present)
}

/// Cuts what was written of each term into chunks, from its start. A chunk at the edge of what was written may be cut
/// short, and does not count.
fn rescan(partial: &Partial, terms: &[ByteRange]) -> Present {
    let mut present = Present::default();
    let mut extent = ByteRange { start: 0, end: 0 };
    for term in terms {
        while extent.end <= term.start {
            match partial.next_extent(extent.end.max(term.start)) {
                Some(next) => extent = next,
                None => return present,
            }
        }
        if extent.start <= term.start {
            rescan_term(partial, *term, extent.end.min(term.end), &mut present);
        }
    }
    present
}

fn rescan_term(partial: &Partial, term: ByteRange, end: u64, present: &mut Present) {
    let mut chunker = Chunker::new();
    let (mut offset, mut read_to) = (term.start, term.start);
    let (mut chunk, mut piece) = (Vec::new(), vec![0; CHUNK_BYTES_MAX]);
    while read_to < end {
        let length = (end - read_to).min(piece.len() as u64) as usize;
        if partial.read(&mut piece[..length], read_to).is_err() {
            return;
        }
        read_to += length as u64;
        let mut rest = &piece[..length];
        while let Some(boundary) = chunker.next_boundary(rest) {
            chunk.extend_from_slice(&rest[..boundary]);
            add(partial, &mut offset, &mut chunk, present);
            rest = &rest[boundary..];
        }
        chunk.extend_from_slice(rest);
    }
    if end == term.end && !chunk.is_empty() {
        add(partial, &mut offset, &mut chunk, present);
    }
}

fn add(partial: &Partial, offset: &mut u64, chunk: &mut Vec<u8>, present: &mut Present) {
    let leaf = Leaf::of(chunk);
    present.insert(*offset, leaf);
    partial.note(*offset, leaf);
    *offset += chunk.len() as u64;
    chunk.clear();
}

#[cfg(test)]
mod tests {
    use xet_cas::{ByteRange, Leaf, chunks};

    use super::{check_journal, rescan};
    use crate::present::Present;
    use crate::store::{Partial, Remains, TakenUp};
    use crate::verified::HashedChunk;

    /// Bytes without a pattern, always the same ones.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        std::iter::repeat_with(&mut next).flatten().take(length).collect()
    }

    fn leaves(file: &[u8]) -> Vec<(u64, Leaf)> {
        let mut offset = 0;
        let place = |chunk: &[u8]| {
            let at = offset;
            offset += chunk.len() as u64;
            (at, Leaf::of(chunk))
        };
        chunks(file).map(place).collect()
    }

    fn left(folder: &tempfile::TempDir) -> Remains {
        Remains::look(folder.path(), |_| true)
    }

    fn list(present: &Present) -> Vec<(u64, Leaf)> {
        present.iter().map(|(offset, leaf)| (*offset, *leaf)).collect()
    }

    #[test]
    fn given_a_pull_that_was_killed_when_taken_up_then_what_it_wrote_is_there_and_nothing_else() {
        let (folder, file) = (tempfile::tempdir().unwrap(), noise(3_000_000));
        let size = file.len() as u64;
        let all = leaves(&file);
        let (partial, _) = Partial::take_up(&left(&folder), folder.path(), "e", size).unwrap();
        for (offset, leaf) in all.iter().take(20) {
            let data = &file[*offset as usize..][..leaf.length as usize];
            partial.write_chunk(&HashedChunk::new(data), *offset).unwrap();
            partial.note(*offset, *leaf);
        }
        // Noted, but never written, or damaged since; of no length; across the end of a term.
        partial.note(all[25].0, all[25].1);
        partial.note(all[22].0, Leaf::of(b""));
        let across = &file[all[20].0 as usize..][..30_000];
        partial.write_chunk(&HashedChunk::new(across), all[20].0).unwrap();
        partial.note(all[20].0, Leaf::of(across));
        partial.write(b"damaged", all[3].0 + 1).unwrap();
        partial.note(size - 1, all[1].1);
        drop(partial);

        let (partial, taken_up) = Partial::take_up(&left(&folder), folder.path(), "e", size).unwrap();
        assert!(matches!(taken_up, TakenUp::Journal));
        let term_end = all[20].0 + 1_000;
        let terms = [ByteRange { start: 0, end: term_end }, ByteRange { start: term_end, end: size }];
        let found = check_journal(&partial, &terms).unwrap();

        let expected: Vec<_> = (0..20).filter(|at| *at != 3).map(|at| all[at]).collect();
        assert_eq!(expected, list(&found));
    }

    #[test]
    fn given_no_journal_when_taken_up_then_the_chunks_are_found_by_cutting() {
        let (folder, file) = (tempfile::tempdir().unwrap(), noise(6_000_000));
        let size = file.len() as u64;
        let all = leaves(&file);
        let middle = all[all.len() / 2].0;
        let terms = [ByteRange { start: 0, end: middle }, ByteRange { start: middle, end: size }];
        let (partial, _) = Partial::take_up(&left(&folder), folder.path(), "e", size).unwrap();
        // The first term as far as its tenth chunk, the second one whole.
        partial.write(&file[..all[10].0 as usize], 0).unwrap();
        partial.write(&file[middle as usize..], middle).unwrap();
        partial.keep();
        drop(partial);

        let (partial, taken_up) = Partial::take_up(&left(&folder), folder.path(), "e", size).unwrap();
        assert!(matches!(taken_up, TakenUp::Bytes));
        let found = rescan(&partial, &terms);

        let found = list(&found);
        let expected: Vec<_> = all.iter().filter(|(at, _)| *at < all[9].0 || *at >= middle).copied().collect();
        // The chunk at the edge may be found or not.
        assert!(found.len() >= expected.len() && found.iter().all(|chunk| all.contains(chunk)), "{found:?}");
        assert!(expected.iter().all(|chunk| found.contains(chunk)));
    }

    #[test]
    fn given_a_partial_file_in_use_or_of_another_length_when_taken_up_then_a_new_one_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (in_use, _) = Partial::take_up(&left(&folder), folder.path(), "e", 100).unwrap();
        in_use.keep();
        let (other, taken_up) = Partial::take_up(&left(&folder), folder.path(), "e", 100).unwrap();
        assert!(matches!(taken_up, TakenUp::Nothing));
        drop((in_use, other));

        let (_, taken_up) = Partial::take_up(&left(&folder), folder.path(), "e", 101).unwrap();

        assert!(matches!(taken_up, TakenUp::Nothing));
    }

    /// The wall clock may jump: what is from the future is not old.
    #[test]
    fn given_remains_that_no_commit_lists_when_the_clock_has_jumped_then_only_old_ones_are_removed() {
        let day = std::time::Duration::from_secs(24 * 3_600);
        let now = std::fs::metadata(tempfile::tempdir().unwrap().path()).unwrap().modified().unwrap();
        for (written, is_left) in [(now + 365 * day, true), (now, true), (now - 6 * day, true), (now - 8 * day, false)]
        {
            let folder = tempfile::tempdir().unwrap();
            let (partial, _) = Partial::take_up(&left(&folder), folder.path(), "e", 100).unwrap();
            partial.keep();
            drop(partial);
            let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();

            Remains::look(folder.path(), |_| false);

            assert_eq!(is_left, path.exists(), "{written:?}");
        }
    }

    #[test]
    fn given_remains_cut_short_underneath_when_looked_at_then_what_is_left_of_them() {
        let (folder, file) = (tempfile::tempdir().unwrap(), noise(1_000_000));
        let (size, all) = (file.len() as u64, leaves(&file));
        let (partial, _) = Partial::take_up(&left(&folder), folder.path(), "e", size).unwrap();
        partial.write(&file, 0).unwrap();
        all.iter().for_each(|(offset, leaf)| partial.note(*offset, *leaf));
        drop(partial);
        let (partial, _) = Partial::take_up(&left(&folder), folder.path(), "e", size).unwrap();

        partial.file().set_len(all[5].0).unwrap();

        assert_eq!(all[..5], list(&check_journal(&partial, &[ByteRange { start: 0, end: size }]).unwrap())[..]);
    }
}
