use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use xet_cas::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, ChunkHash, Chunker, FileHash, Leaf, RangeHash, XorbHash, chunks};

use super::naive;
use super::samples::{config, splitmix};
use super::vectors::{cases, hash, hashes, hex, hex32, input, number, numbers, section, text};

/// Sizes of pieces in which a file may arrive: one byte, not a multiple of anything, more than a chunk.
const ODD_PIECES: [usize; 7] = [1, 63, 8191, 8192, 40_009, 65_537, 3 * CHUNK_BYTES_MAX + 1];

#[test]
fn given_the_gear_table_when_digested_then_it_is_the_one_of_the_draft() {
    let vector = section("gear_table");
    let table = &gearhash::DEFAULT_TABLE;

    let digest = Sha256::digest(table.iter().flat_map(|constant| constant.to_le_bytes()).collect::<Vec<u8>>());

    assert_eq!(hex(&vector["sha256_of_le_bytes"]), digest.to_vec());
    assert_eq!(number(&vector["entries"]), table.len() as u64);
    assert_eq!(text(&vector["first"]), format!("{:016x}", table[0]));
    assert_eq!(text(&vector["last"]), format!("{:016x}", table[255]));
    assert_eq!(text(&vector["wrapping_sum"]), format!("{:016x}", table.iter().copied().fold(0, u64::wrapping_add)));
}

#[test]
fn given_files_when_chunked_whole_then_cut_as_the_deployed_client_does() {
    for_each_file(|name, case, file| {
        let ends = ends_of(chunks(&file));

        assert_eq!(numbers(&case["chunk_end_offsets"]), ends, "{name}");
    });
}

#[test]
fn given_files_when_chunked_in_odd_pieces_then_cut_as_the_deployed_client_does() {
    for_each_file(|name, case, file| {
        let ends = ends_in_pieces(&file, &ODD_PIECES);

        assert_eq!(numbers(&case["chunk_end_offsets"]), ends, "{name}");
    });
}

#[test]
fn given_files_up_to_1_mib_when_chunked_byte_by_byte_then_cut_as_the_deployed_client_does() {
    for_each_file(|name, case, file| {
        if file.len() <= 1 << 20 {
            let ends = ends_in_pieces(&file, &[1]);

            assert_eq!(numbers(&case["chunk_end_offsets"]), ends, "{name}");
        }
    });
}

#[test]
fn given_files_when_chunked_by_the_plain_rule_then_skipping_ahead_makes_no_difference() {
    for_each_file(|name, case, file| {
        let ends = naive::chunk_ends(&file);

        assert_eq!(numbers(&case["chunk_end_offsets"]), ends, "{name}");
    });
}

#[test]
fn given_files_when_hashed_then_chunks_xorb_file_and_range_are_named_as_by_the_deployed_client() {
    for_each_file(|name, case, file| {
        let leaves: Vec<Leaf> = chunks(&file).map(Leaf::of).collect();
        let named: Vec<ChunkHash> = leaves.iter().map(|leaf| leaf.hash).collect();

        assert_eq!(number(&case["num_chunks"]), leaves.len() as u64, "{name}");
        if case["chunk_hashes"].is_array() {
            assert_eq!(hashes::<ChunkHash>(&case["chunk_hashes"]), named, "{name}");
        } else {
            assert_eq!(Some(&hash(&case["first_chunk_hash"])), named.first(), "{name}");
            assert_eq!(Some(&hash(&case["last_chunk_hash"])), named.last(), "{name}");
        }
        assert_eq!(hash::<XorbHash>(&case["xorb_hash_of_all_chunks"]), Leaf::xorb_hash(&leaves), "{name}");
        assert_eq!(hash::<FileHash>(&case["file_hash"]), Leaf::file_hash(&leaves), "{name}");
        if case["range_hash_all"].is_string() {
            assert_eq!(hash::<RangeHash>(&case["range_hash_all"]), RangeHash::of(&named), "{name}");
        }
    });
}

#[test]
fn given_a_trigger_at_a_critical_offset_when_chunked_then_it_cuts_only_from_the_minimum_on() {
    let vectors = section("chunking_edge");
    let window = hex(&vectors["trigger_window_hex"]);
    for case in cases(&vectors["cases"]) {
        let mut file = vec![0; number(&case["zeros_total"]) as usize];
        let window_end = number(&case["window_end_offset"]) as usize;
        file[window_end - window.len()..window_end].copy_from_slice(&window);
        let expected = numbers(&case["chunk_end_offsets"]);

        assert_eq!(expected, ends_of(chunks(&file)), "window ends at {window_end}");
        assert_eq!(expected, ends_in_pieces(&file, &[1]), "window ends at {window_end}");
        assert_eq!(expected, ends_in_pieces(&file, &ODD_PIECES), "window ends at {window_end}");
        assert_eq!(expected, naive::chunk_ends(&file), "window ends at {window_end}");
        assert_eq!(
            hash::<FileHash>(&case["file_hash"]),
            Leaf::file_hash(&chunks(&file).map(Leaf::of).collect::<Vec<_>>())
        );
    }
}

#[test]
fn given_the_trigger_window_of_the_vectors_when_looked_for_then_it_is_where_they_say() {
    let vectors = section("chunking_edge");
    let origin = &vectors["window_origin"];

    let stream = splitmix(number(&origin["splitmix64_le_seed"]), number(&origin["end_offset"]) as usize);

    assert!(stream.ends_with(&hex(&vectors["trigger_window_hex"])));
}

#[test]
fn given_data_without_a_boundary_when_fed_then_pending_bytes_count_what_the_last_chunk_has() {
    let mut chunker = Chunker::new();

    assert_eq!(None, chunker.next_boundary(&[]));
    assert_eq!(0, chunker.pending_bytes());
    assert_eq!(None, chunker.next_boundary(&[0; 1000]));
    assert_eq!(1000, chunker.pending_bytes());
    assert_eq!(Some(CHUNK_BYTES_MAX - 1000), chunker.next_boundary(&vec![0; CHUNK_BYTES_MAX]));
    assert_eq!(0, chunker.pending_bytes());
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn given_any_file_when_split_anyhow_then_cut_as_by_the_plain_rule(
        file in file(),
        pieces in vec(prop_oneof![1..100_usize, 1..200_000_usize], 1..20),
    ) {
        let expected = naive::chunk_ends(&file);

        prop_assert_eq!(&expected, &ends_of(chunks(&file)));
        prop_assert_eq!(&expected, &ends_in_pieces(&file, &pieces));
    }

    #[test]
    fn given_any_file_when_chunked_then_lengths_are_within_bounds_and_the_chunks_are_the_file(file in file()) {
        let cut: Vec<&[u8]> = chunks(&file).collect();

        prop_assert_eq!(&file, &cut.concat());
        if let Some((last, others)) = cut.split_last() {
            prop_assert!(others.iter().all(|chunk| (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk.len())));
            prop_assert!((1..=CHUNK_BYTES_MAX).contains(&last.len()));
        }
    }
}

/// Noise, runs of one byte, and windows that trigger a boundary wherever they come to lie.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let segment = (0..3, any::<u64>(), prop_oneof![1..200_usize, 1..150_000_usize]);
    vec(segment, 0..8).prop_map(|segments| {
        let window = hex(&section("chunking_edge")["trigger_window_hex"]);
        let contents = segments.into_iter().map(|(kind, seed, n)| match kind {
            0 => splitmix(seed, n),
            1 => vec![seed as u8; n],
            _ => window.clone(),
        });
        contents.collect::<Vec<_>>().concat()
    })
}

fn for_each_file(check: impl Fn(&str, &Value, Vec<u8>)) {
    for case in cases(section("files")) {
        let name = text(&case["name"]);
        let file = input(&case["input"]);
        assert_eq!(number(&case["size"]), file.len() as u64, "{name}");
        assert_eq!(hex32(&case["sha256"]), <[u8; 32]>::from(Sha256::digest(&file)), "{name}");
        check(name, case, file);
    }
}

fn ends_of<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<u64> {
    chunks
        .scan(0, |end, chunk| {
            *end += chunk.len() as u64;
            Some(*end)
        })
        .collect()
}

/// Feeds the file to a chunker in pieces of these sizes, over and over.
fn ends_in_pieces(file: &[u8], sizes: &[usize]) -> Vec<u64> {
    let (mut ends, mut fed) = (Vec::new(), 0);
    let mut chunker = Chunker::new();
    for size in sizes.iter().cycle() {
        let mut piece = &file[fed..file.len().min(fed + size)];
        if piece.is_empty() {
            break;
        }
        while let Some(n) = chunker.next_boundary(piece) {
            (piece, fed) = (&piece[n..], fed + n);
            ends.push(fed as u64);
        }
        fed += piece.len();
    }
    if chunker.pending_bytes() > 0 {
        ends.push(fed as u64);
    }
    ends
}
