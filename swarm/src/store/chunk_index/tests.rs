use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use xet_cas::{ChunkHash, FileHash, Leaf};

use super::catalogue::{Catalogue, FORGOTTEN_MAX, SEGMENTS_MAX, View};
use super::entry::Entry;
use super::merge::{Fresh, merge};
use super::segment::Segment;
use super::writer::{Writer, note_behind, staying_beside};
use super::{ChunkIndex, LOCK_DEADLINE, PLACES_MAX};

/// Neighbours in number are far apart in order.
fn chunk(number: u32) -> ChunkHash {
    let word = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&word.to_be_bytes());
    ChunkHash::from_bytes(bytes)
}

fn leaf(number: u32) -> Leaf {
    Leaf { hash: chunk(number), length: 1 + number % 100_000 }
}

/// An index in a folder of its own.
struct Home {
    home: tempfile::TempDir,
    index: ChunkIndex,
}

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let index = ChunkIndex::new(home.path());
        Self { home, index }
    }

    /// What another process has.
    fn another(&self) -> ChunkIndex {
        ChunkIndex::new(self.home.path())
    }

    /// Stores the leaf list of a file of these chunks, without waiting for the disk.
    fn list(&self, chunks: impl IntoIterator<Item = u32>) -> FileHash {
        let leaves: Vec<Leaf> = chunks.into_iter().map(leaf).collect();
        let file = Leaf::file_hash(&leaves);
        let name = file.to_string();
        let folder = self.home.path().join("leaves").join(&name[..2]);
        std::fs::create_dir_all(&folder).unwrap();
        let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.encode()).collect();
        std::fs::write(folder.join(name), bytes).unwrap();
        file
    }

    fn add(&self, chunks: impl IntoIterator<Item = u32>) -> FileHash {
        let file = self.list(chunks);
        self.index.add(&[file]).unwrap();
        file
    }

    fn find(&self, number: u32) -> Vec<(FileHash, u32)> {
        self.index.find_batch(&[chunk(number)]).remove(0)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("chunks").join(name)
    }

    fn segments(&self) -> Vec<PathBuf> {
        let names = std::fs::read_dir(self.path("")).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).collect()
    }

    fn only_segment(&self) -> PathBuf {
        let [path] = <[PathBuf; 1]>::try_from(self.segments()).unwrap();
        path
    }
}

/// Cases that wait for the disk are few, and so are the attempts at making one that fails smaller.
fn on_disk(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 50, ..ProptestConfig::default() }
}

/// Large enough that segments are not merged for being small.
fn large(first: u32) -> std::ops::Range<u32> {
    first..first + 20_000
}

#[test]
fn given_files_that_share_chunks_when_looked_up_then_each_place_is_told() {
    let home = Home::new();
    let (one, other) = (home.add([1, 2, 3]), home.add([3, 4, 3, 1]));

    let found = home.index.find_batch(&[1, 2, 3, 4, 5].map(chunk));

    let found: Vec<BTreeSet<_>> = found.into_iter().map(BTreeSet::from_iter).collect();
    let places = |places: &[(FileHash, u32)]| BTreeSet::from_iter(places.iter().copied());
    assert_eq!(places(&[(one, 0), (other, 3)]), found[0]);
    assert_eq!(places(&[(one, 1)]), found[1]);
    assert_eq!(places(&[(one, 2), (other, 0)]), found[2], "the first place in each file");
    assert_eq!(places(&[(other, 1)]), found[3]);
    assert!(found[4].is_empty());
}

#[test]
fn given_a_chunk_in_very_many_files_when_looked_up_then_some_places_are_told_and_its_neighbours_are_found() {
    let home = Home::new();
    let files: Vec<FileHash> = (0..600).map(|number| home.list([7, 1_000 + number])).collect();
    home.index.add(&files).unwrap();

    assert_eq!(PLACES_MAX, home.find(7).len());
    for (number, file) in (1_000..).zip(&files) {
        assert_eq!([(*file, 1)], home.find(number)[..]);
    }
}

#[test]
fn given_another_process_adds_when_looked_up_then_it_is_found() {
    let home = Home::new();
    home.add([1]);
    assert!(home.find(2).is_empty());

    let file = home.list([2]);
    home.another().add(&[file]).unwrap();

    assert_eq!([(file, 0)], home.find(2)[..]);
}

#[test]
fn given_several_writers_and_readers_at_once_when_done_then_everything_is_found() {
    let home = Home::new();
    let files: Vec<FileHash> = (0..24).map(|number| home.list(large(number * 5_000))).collect();
    let chunks: Vec<ChunkHash> = (0..24).map(|number| chunk(number * 5_000)).collect();
    // So that no reader finds the index missing and makes it.
    home.index.add(&files[..1]).unwrap();

    std::thread::scope(|scope| {
        let write = |files: &'_ [FileHash]| {
            let (index, files) = (home.another(), files.to_vec());
            scope.spawn(move || files.iter().for_each(|file| index.add(&[*file]).unwrap()))
        };
        let writers: Vec<_> = files.chunks(6).map(write).collect();
        let index = home.another();
        while !writers.iter().all(|writer| writer.is_finished()) {
            let found = index.find_batch(&chunks);
            assert!(found[0].contains(&(files[0], 0)), "what was there once stays");
        }
    });

    for (number, file) in (0..).zip(&files) {
        assert!(home.find(number * 5_000).contains(&(*file, 0)));
    }
    assert!(home.segments().len() <= SEGMENTS_MAX);
    assert!(!home.path("behind").exists());
}

#[test]
fn given_a_forgotten_file_when_looked_up_then_it_is_not_told_until_it_is_added_again() {
    let home = Home::new();
    let (gone, there) = (home.add([1, 2]), home.add([1]));

    home.index.forget(&[gone]).unwrap();

    assert_eq!([(there, 0)], home.find(1)[..]);
    assert!(home.find(2).is_empty());
    home.index.add(&[gone]).unwrap();
    assert_eq!([(gone, 1)], home.find(2)[..]);
}

#[test]
fn given_a_forgotten_file_when_its_segment_is_merged_then_its_entries_are_gone_from_the_disk() {
    let home = Home::new();
    let gone = home.add(0..5_000);
    let before = home.only_segment().metadata().unwrap().len();

    home.index.forget(&[gone]).unwrap();
    let there = home.add([9_999]);

    assert!(home.only_segment().metadata().unwrap().len() < before / 10);
    assert_eq!([(there, 0)], home.find(9_999)[..]);
    assert!(home.find(1).is_empty());
    let view = View::load(&home.path(""), &View::default());
    assert!(view.forgotten.is_empty(), "nothing is left to leave out");
}

#[test]
fn given_more_forgotten_files_than_are_remembered_when_forgotten_then_all_is_merged_without_them() {
    let home = Home::new();
    let there = home.add(large(0));
    let files: Vec<FileHash> = (0..FORGOTTEN_MAX as u32 + 10).map(|number| home.list([100_000 + number])).collect();
    home.index.add(&files).unwrap();

    home.index.forget(&files).unwrap();

    assert!(View::load(&home.path(""), &View::default()).forgotten.len() <= FORGOTTEN_MAX);
    assert!((100_000..101_000).all(|number| home.find(number).is_empty()));
    assert_eq!([(there, 3)], home.find(3)[..]);
}

#[test]
fn given_a_lost_index_when_looked_up_then_it_is_made_from_the_leaf_lists() {
    let home = Home::new();
    let files = [home.add([1, 2]), home.add([3])];
    std::fs::remove_dir_all(home.path("")).unwrap();

    assert_eq!([(files[0], 1)], home.find(2)[..]);
    assert_eq!([(files[1], 0)], home.find(3)[..]);
}

#[test]
fn given_no_files_when_looked_up_then_nothing_is_written() {
    let home = Home::new();

    assert!(home.find(1).is_empty());

    assert!(!home.path("").exists());
}

#[test]
fn given_a_damaged_leaf_list_when_the_index_is_made_then_it_is_passed_over() {
    let home = Home::new();
    let (damaged, whole) = (home.list([1, 2]), home.list([3]));
    let name = damaged.to_string();
    let path = home.home.path().join("leaves").join(&name[..2]).join(&name);
    std::fs::write(&path, leaf(5).encode()).unwrap();

    home.index.rebuild().unwrap();

    assert!(home.find(5).is_empty());
    assert_eq!([(whole, 0)], home.find(3)[..]);
}

#[test]
fn given_a_torn_catalogue_when_looked_up_then_the_index_is_made_again() {
    let home = Home::new();
    let file = home.add([1]);
    let bytes = std::fs::read(home.path("catalogue")).unwrap();
    std::fs::write(home.path("catalogue"), &bytes[..bytes.len() / 2]).unwrap();

    assert_eq!([(file, 0)], home.find(1)[..]);
    assert_eq!([(file, 0)], home.another().find_batch(&[chunk(1)])[0][..]);
}

#[test]
fn given_a_torn_or_foreign_segment_when_written_again_then_it_is_put_aside_and_nothing_is_lost() {
    for damage in
        [|_: &[u8]| Vec::new(), |bytes: &[u8]| bytes[..bytes.len() - 1].to_vec(), |_: &[u8]| vec![b'x'; 9_000]]
    {
        let home = Home::new();
        let files = [home.add(large(0)), home.add([50_000])];
        assert_eq!(2, home.segments().len());
        let largest = home.segments().into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        let bytes = std::fs::read(&largest).unwrap();
        std::fs::write(&largest, damage(&bytes)).unwrap();

        let found = home.another().find_batch(&[chunk(3), chunk(50_000)]);
        assert!(found[0].is_empty());
        assert_eq!([(files[1], 0)], found[1][..], "the others are read");

        home.add([60_000]);
        assert!(home.path("segment.broken").exists());
        assert_eq!([(files[0], 3)], home.find(3)[..]);
    }
}

#[test]
fn given_entries_out_of_order_when_merged_then_the_segment_is_put_aside_and_its_files_are_added_again() {
    let home = Home::new();
    let file = home.add(0..1_000);
    let path = home.only_segment();
    let mut bytes = std::fs::read(&path).unwrap();
    // Pages that were never written, as after a power failure. They are not under the checksum.
    bytes[32 + 2_048..32 + 4_096].fill(0);
    std::fs::write(&path, bytes).unwrap();

    home.add([5_000]);
    home.add([5_001]);

    assert!(home.path("segment.broken").exists());
    assert!((0..1_000).all(|number| home.find(number) == [(file, number)]));
}

#[test]
fn given_leftovers_of_killed_writers_when_written_then_they_are_removed() {
    let home = Home::new();
    let file = home.add([1]);
    let leftovers = [home.path("segment.0123abcd.zest"), home.path("00000000000000ff.segment")];
    for path in &leftovers {
        std::fs::write(path, "half of it").unwrap();
    }

    home.add([2]);

    assert!(leftovers.iter().all(|path| !path.exists()));
    assert_eq!([(file, 0)], home.find(1)[..]);
}

#[test]
fn given_a_writer_that_failed_or_was_killed_while_catching_up_when_written_then_what_it_left_out_is_added() {
    for note in ["behind", "catching-up"] {
        let home = Home::new();
        home.add([1]);
        let left_out = home.list([2]);
        note_behind(&home.path(""));
        std::fs::rename(home.path("behind"), home.path(note)).unwrap();

        home.add([3]);

        assert_eq!([(left_out, 0)], home.find(2)[..]);
        assert!(!home.path(note).exists());
    }
}

#[test]
fn given_another_has_the_lock_when_the_index_is_missing_then_lookups_do_not_wait() {
    let home = Home::new();
    home.list([1]);
    let folder = home.path("");
    let writer = Writer::open(&folder, &View::default(), LOCK_DEADLINE).unwrap();

    assert!(home.find(1).is_empty());

    drop(writer);
    assert_eq!(1, home.find(1).len());
}

#[test]
fn given_a_segment_when_encoded_then_its_bytes_are_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let file = FileHash::from_bytes([0xf1; 32]);
    let leaf = |first| Leaf { hash: ChunkHash::from_bytes([first; 32]), length: 1 };
    let fresh = Fresh::new(vec![(file, vec![leaf(2), leaf(1)])]);

    let segment = merge(folder.path(), &fresh, &[], &BTreeSet::new()).unwrap().unwrap();

    let bytes = std::fs::read(Segment::path(folder.path(), segment.number())).unwrap();
    let mut expected = vec![0xf1; 32];
    expected.extend([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    let loaded_at = expected.len();
    expected.extend([1; 8]);
    // Of the product of each prefix and the golden ratio, four times six bits number the bits that are set.
    expected.extend(0x0244240000200110_u64.to_be_bytes());
    expected.extend(b"zest chunks v1\n\0");
    expected.extend([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(expected, bytes[..bytes.len() - 32]);
    let summed = &expected[loaded_at..];
    assert_eq!(*Sha256::digest(summed), bytes[bytes.len() - 32..]);
}

/// Sizes after files of so many entries each were added, and entries written for it.
fn simulate(additions: impl IntoIterator<Item = u64>) -> (Vec<u64>, u64, u64) {
    let (mut sizes, mut written, mut segments_max) = (Vec::<u64>::new(), 0, 0);
    for added in additions {
        let merged: u64 = added + sizes.split_off(staying_beside(&sizes, added)).iter().sum::<u64>();
        sizes.push(merged);
        sizes.sort_by_key(|size| std::cmp::Reverse(*size));
        written += merged;
        segments_max = segments_max.max(sizes.len() as u64);
    }
    (sizes, written, segments_max)
}

#[test]
fn given_equal_additions_when_merged_then_each_entry_is_written_a_logarithmic_number_of_times() {
    for (count, factor_max) in [(125, 5.0), (1_250, 7.0), (12_500, 9.0)] {
        let (_, written, segments_max) = simulate(std::iter::repeat_n(16_000, count));

        let factor = written as f64 / (16_000 * count) as f64;
        assert!(factor <= factor_max, "{count} additions: {factor}");
        assert!(segments_max <= SEGMENTS_MAX as u64);
    }
}

proptest! {
    #[test]
    fn given_any_additions_when_merged_then_segments_are_few(
        additions in prop::collection::vec((0_u32..36).prop_flat_map(|bits| 0..=1_u64 << bits), 0..200),
    ) {
        let total: u64 = additions.iter().sum();
        let (sizes, _, segments_max) = simulate(additions);

        prop_assert!(segments_max <= SEGMENTS_MAX as u64);
        prop_assert_eq!(total, sizes.iter().sum::<u64>());
    }

    #[test]
    fn given_any_entry_when_encoded_then_it_decodes_and_sorts_as_its_bytes(
        one in (any::<u64>(), any::<u32>(), any::<u32>()), other in (0_u64..3, 0_u32..3, 0_u32..3),
    ) {
        let entry = |(prefix, file, chunk)| Entry { prefix, file, chunk };
        let (one, other) = (entry(one), entry(other));

        prop_assert_eq!(one, Entry::decode(&one.encode()));
        prop_assert_eq!(one.cmp(&other), one.encode().cmp(&other.encode()));
    }

    #[test]
    fn given_any_catalogue_when_encoded_then_it_decodes_and_any_damage_shows(
        segments in prop::collection::vec(any::<u64>(), 0..SEGMENTS_MAX),
        forgotten in prop::collection::btree_set(any::<[u8; 32]>().prop_map(FileHash::from_bytes), 0..5),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let catalogue = Catalogue { segments, forgotten };
        let mut bytes = catalogue.encode();

        prop_assert_eq!(Some(catalogue), Catalogue::decode(&bytes));
        let cut = at.index(bytes.len());
        prop_assert_eq!(None, Catalogue::decode(&bytes[..cut]));
        bytes[cut] ^= flip;
        prop_assert_eq!(None, Catalogue::decode(&bytes));
    }
}

proptest! {
    #![proptest_config(on_disk(48))]

    #[test]
    fn given_any_entries_when_looked_up_then_those_with_the_prefix_are_found(
        files in prop::collection::vec(prop::collection::vec(0_u64..60, 0..120), 1..12),
        large in 0_u64..60,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let hash = |prefix: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&prefix.to_be_bytes());
            ChunkHash::from_bytes(bytes)
        };
        let mut files: Vec<(FileHash, Vec<Leaf>)> = (0..).zip(files).map(|(number, chunks)| {
            let leaves = chunks.into_iter().map(|prefix| Leaf { hash: hash(prefix), length: 1 }).collect();
            (FileHash::from_bytes([number; 32]), leaves)
        }).collect();
        // One that fills pages.
        for number in 0..300_u16 {
            let mut name = [0xff; 32];
            name[..2].copy_from_slice(&number.to_be_bytes());
            files.push((FileHash::from_bytes(name), vec![Leaf { hash: hash(large), length: 1 }]));
        }
        let segment = merge(folder.path(), &Fresh::new(files), &[], &BTreeSet::new()).unwrap().unwrap();

        let all: Vec<Entry> = segment.read_entries().map(Result::unwrap).collect();
        prop_assert!(all.is_sorted());
        for wanted in 0..61 {
            let mut found = Vec::new();
            segment.find(wanted, usize::MAX, &mut found).unwrap();
            let expected: Vec<Entry> = all.iter().filter(|entry| entry.prefix == wanted).copied().collect();
            prop_assert_eq!(expected, found);
        }
    }

    /// No answer is wrong in a way that its user would not see, and nothing fails.
    #[test]
    fn given_any_damage_to_a_segment_when_used_then_nothing_panics_and_it_can_be_written(
        at in any::<prop::sample::Index>(), flip in 1..=255_u8, cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let home = Home::new();
        home.add((0..700).map(|number| number % 500));
        let path = home.only_segment();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        std::fs::write(&path, bytes).unwrap();

        let all: Vec<ChunkHash> = (0..600).map(chunk).collect();
        let index = home.another();
        index.find_batch(&all);
        let added = home.list([1_000]);
        index.add(&[added]).unwrap();
        index.forget(&[added]).unwrap();
        index.rebuild().unwrap();
        index.find_batch(&all);
    }
}

/// What a test does to an index.
#[derive(Debug, Clone)]
enum Step {
    Add(Vec<usize>),
    Forget(Vec<usize>),
    Lose,
    Rebuild,
    Reopen,
}

fn step(files: usize) -> impl Strategy<Value = Step> {
    let some = move || prop::collection::vec(0..files, 0..4);
    prop_oneof![
        6 => some().prop_map(Step::Add),
        2 => some().prop_map(Step::Forget),
        1 => Just(Step::Lose),
        1 => Just(Step::Rebuild),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(on_disk(24))]

    /// Beside a `HashMap` that is told the same. Files are small, or large enough for segments of their own; many
    /// chunks are in several of them.
    #[test]
    fn given_any_steps_when_looked_up_then_the_index_says_what_the_model_says(
        shapes in prop::collection::vec((0_u32..40, prop_oneof![1_u32..30, 16_000_u32..17_000]), 1..7),
        steps in prop::collection::vec(step(6), 1..12),
    ) {
        let home = Home::new();
        let contents: Vec<Vec<u32>> = shapes.iter().map(|(first, count)| (0..*count).map(|i| first + i % 9_000).collect()).collect();
        let names: Vec<FileHash> = contents.iter().map(|chunks| Leaf::file_hash(&chunks.iter().copied().map(leaf).collect::<Vec<_>>())).collect();
        let mut model: HashMap<FileHash, &[u32]> = HashMap::new();
        let mut index = home.another();
        for step in steps {
            match step {
                Step::Add(files) => {
                    let files: Vec<usize> = files.into_iter().map(|file| file % contents.len()).collect();
                    for file in &files {
                        home.list(contents[*file].iter().copied());
                        model.insert(names[*file], &contents[*file]);
                    }
                    index.add(&files.iter().map(|file| names[*file]).collect::<Vec<_>>()).unwrap();
                }
                Step::Forget(files) => {
                    let files: Vec<FileHash> = files.into_iter().map(|file| names[file % names.len()]).collect();
                    for file in &files {
                        model.remove(file);
                        index.lists.remove(*file).unwrap();
                    }
                    index.forget(&files).unwrap();
                }
                Step::Lose => { let _ = std::fs::remove_dir_all(home.path("")); }
                Step::Rebuild => index.rebuild().unwrap(),
                Step::Reopen => index = home.another(),
            }
            let wanted: Vec<u32> = (0..60).chain((60..9_100).step_by(97)).collect();
            let found = index.find_batch(&wanted.iter().copied().map(chunk).collect::<Vec<_>>());
            for (number, places) in wanted.iter().zip(found) {
                let first_place = |chunks: &[u32]| chunks.iter().position(|it| it == number).map(|at| at as u32);
                let expected: BTreeMap<FileHash, u32> =
                    model.iter().filter_map(|(file, chunks)| Some((*file, first_place(chunks)?))).collect();
                prop_assert_eq!(expected.len(), places.len());
                prop_assert_eq!(expected, places.into_iter().collect::<BTreeMap<_, _>>());
            }
            let listed: HashSet<_> = home.path("").exists().then(|| home.segments()).into_iter().flatten().collect();
            prop_assert!(listed.len() <= SEGMENTS_MAX);
        }
    }
}
