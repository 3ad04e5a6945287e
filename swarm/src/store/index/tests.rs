use std::path::Path;
use std::sync::Arc;

use redb::Database;
use xet_cas::{ChunkHash, ChunkRange, FileHash, Leaf, XorbHash};

use super::{FileRecord, Identity, Index, META, Provenance, SCHEMA_KEY, SCHEMA_VERSION};
use crate::plan::TermRun;

fn record(path: &Path) -> FileRecord {
    let provenance = Provenance {
        endpoint: "http://hub".into(),
        repo_type: "model".into(),
        repo: "a/b".into(),
        commit: "c".into(),
        path: "p".into(),
    };
    FileRecord {
        path: path.to_owned(),
        identity: Identity::of(path).unwrap(),
        etag: Some("e".into()),
        xet_hash: None,
        xorbs: Vec::new(),
        runs: Arc::default(),
        provenance,
    }
}

fn xorb(byte: u8) -> XorbHash {
    XorbHash::from_bytes([byte; 32])
}

fn run(byte: u8, start: u32, end: u32, first_chunk: u32) -> TermRun {
    TermRun { xorb: xorb(byte), chunks: ChunkRange { start, end }, first_chunk }
}

/// A file in the CAS of this name, made of these runs.
fn made_of(path: &Path, name: u8, runs: &[TermRun]) -> FileRecord {
    let xet_hash = Some(FileHash::from_bytes([name; 32]).to_string());
    FileRecord { etag: None, xet_hash, runs: runs.into(), ..record(path) }
}

/// What is told of a xorb: the run, where it begins in its file, and the file's path.
fn told(index: &Index, byte: u8) -> Vec<(u32, u32, u32, String)> {
    let runs = index.xorb_runs(&[xorb(byte)]).unwrap().remove(0);
    let name = |file: &FileRecord| file.path.file_name().unwrap().to_string_lossy().into_owned();
    runs.iter().map(|run| (run.chunks.start, run.chunks.end, run.first_chunk, name(&run.file))).collect()
}

#[test]
fn given_a_recorded_file_when_it_changes_then_it_is_not_recognised() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "one").unwrap();
    let index = Index::new(home.path().join("zest"));
    let before = record(&file);

    index.record(std::slice::from_ref(&before)).unwrap();
    std::fs::write(&file, "other").unwrap();
    let after = Identity::of(&file).unwrap();
    let found = index.unchanged(&[before.identity, after]).unwrap();

    assert_eq!(Some(&before), found.get(&before.identity));
    assert!(!found.contains_key(&after));
}

#[test]
fn given_a_broken_index_when_opened_then_it_is_put_aside() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("index.redb");
    std::fs::write(&file, vec![7; 8192]).unwrap();
    let index = Index::new(home.path());

    index.record(&[record(&file)]).unwrap();

    assert!(home.path().join("index.redb.broken").exists());
}

#[test]
fn given_an_index_of_another_version_when_opened_then_it_is_begun_anew() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("index.redb");
    let older = Database::create(&path).unwrap();
    let transaction = older.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(SCHEMA_KEY, SCHEMA_VERSION - 1).unwrap();
    transaction.commit().unwrap();
    drop(older);
    let index = Index::new(home.path());

    assert!(index.all().unwrap().is_empty());

    assert!(home.path().join("index.redb.broken").exists());
}

#[test]
fn given_a_lost_index_when_used_then_leaf_lists_and_chunks_are_still_there() {
    let home = tempfile::tempdir().unwrap();
    let index = Index::new(home.path());
    let leaf = |byte| Leaf { hash: ChunkHash::from_bytes([byte; 32]), length: 9 };
    let leaves = [leaf(1), leaf(2)];
    let file = Leaf::file_hash(&leaves);
    let path = home.path().join("file");
    std::fs::write(&path, "content").unwrap();
    index.store_leaves(file, &leaves).unwrap();
    index.index_chunks(&[file]).unwrap();
    let known = FileRecord { xet_hash: Some(file.to_string()), ..made_of(&path, 0, &[run(1, 0, 2, 0)]) };
    index.record(std::slice::from_ref(&known)).unwrap();

    std::fs::remove_file(home.path().join("index.redb")).unwrap();
    let index = Index::new(home.path());

    assert!(index.all().unwrap().is_empty());
    assert!(index.unchanged(&[known.identity]).unwrap().is_empty());
    assert!(told(&index, 1).is_empty());
    assert_eq!(Some(&leaves[..]), index.leaves(file).as_deref());
    assert_eq!([vec![(file, 1)]], index.find_chunks(&[leaves[1].hash])[..]);
    index.record(&[known]).unwrap();
    assert_eq!(1, told(&index, 1).len());
}

#[test]
fn given_a_file_whose_chunks_are_forgotten_when_the_chunk_index_is_made_again_then_they_are_not_found() {
    let home = tempfile::tempdir().unwrap();
    let index = Index::new(home.path());
    let leaves = [Leaf { hash: ChunkHash::from_bytes([1; 32]), length: 9 }];
    let file = Leaf::file_hash(&leaves);
    index.store_leaves(file, &leaves).unwrap();
    index.index_chunks(&[file]).unwrap();

    index.forget_chunks(&[file]).unwrap();
    std::fs::remove_dir_all(home.path().join("chunks")).unwrap();
    index.rebuild_chunks().unwrap();

    assert!(index.find_chunks(&[leaves[0].hash])[0].is_empty());
}

#[test]
fn given_files_made_of_runs_when_asked_for_a_xorb_then_its_runs_are_told_in_order() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (home.path().join("one"), home.path().join("other"));
    std::fs::write(&one, "1").unwrap();
    std::fs::write(&other, "2").unwrap();
    let index = Index::new(home.path().join("zest"));
    assert!(told(&index, 1).is_empty(), "an index that is not there yet");

    let [first, second] =
        [made_of(&one, 1, &[run(1, 5, 9, 0), run(2, 0, 3, 4)]), made_of(&other, 2, &[run(1, 0, 9, 7)])];
    index.record(&[first.clone(), second]).unwrap();

    assert_eq!([(0, 9, 7, "other".into()), (5, 9, 0, "one".into())], told(&index, 1)[..]);
    assert_eq!([(0, 3, 4, "one".into())], told(&index, 2)[..]);
    assert!(told(&index, 3).is_empty());
    let known = index.xorb_runs(&[xorb(3), xorb(2)]).unwrap();
    assert!(known[0].is_empty());
    assert_eq!(FileRecord { runs: Arc::default(), ..first }, *known[1][0].file);
}

#[test]
fn given_another_content_at_the_place_of_a_file_when_asked_then_the_runs_of_the_first_are_not_told() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "1").unwrap();
    let index = Index::new(home.path().join("zest"));
    index.record(&[made_of(&file, 1, &[run(1, 0, 9, 0)])]).unwrap();

    index.record(&[made_of(&file, 2, &[run(2, 0, 9, 0)])]).unwrap();

    assert!(told(&index, 1).is_empty());
    assert_eq!(1, told(&index, 2).len());
}

#[test]
fn given_a_file_that_was_seen_twice_when_asked_then_each_run_is_told_once() {
    let home = tempfile::tempdir().unwrap();
    let (old, new) = (home.path().join("old"), home.path().join("new"));
    std::fs::write(&old, "1").unwrap();
    std::fs::write(&new, "1").unwrap();
    let index = Index::new(home.path().join("zest"));

    for path in [&old, &new] {
        index.record(&[made_of(path, 1, &[run(1, 0, 9, 0)])]).unwrap();
    }

    assert_eq!([(0, 9, 0, "new".into())], told(&index, 1)[..]);
}

#[test]
fn given_a_file_that_names_the_same_chunks_twice_when_asked_then_the_longer_run_is_told() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "1").unwrap();
    let index = Index::new(home.path().join("zest"));

    index.record(&[made_of(&file, 1, &[run(1, 3, 5, 0), run(1, 3, 9, 2), run(1, 3, 4, 8)])]).unwrap();

    assert_eq!([(3, 9, 2, "file".into())], told(&index, 1)[..]);
}

#[test]
fn given_very_many_files_of_the_same_runs_when_asked_then_a_few_are_told_of_each() {
    let home = tempfile::tempdir().unwrap();
    let index = Index::new(home.path().join("zest"));
    let file = |number: u8| {
        let path = home.path().join(number.to_string());
        std::fs::write(&path, "1").unwrap();
        made_of(&path, number, &[run(1, 0, 5, 0), run(1, 7, 9, 5)])
    };
    index.record(&(0..50).map(file).collect::<Vec<_>>()).unwrap();

    let told = told(&index, 1);

    let (front, back): (Vec<_>, Vec<_>) = told.into_iter().partition(|(start, ..)| *start == 0);
    assert_eq!((4, 4), (front.len(), back.len()));
    assert!(front.iter().all(|run| (run.1, run.2) == (5, 0)) && back.iter().all(|run| (run.1, run.2) == (9, 5)));
}
