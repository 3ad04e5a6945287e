//! The store by itself, with its bytes in a folder and in a bucket.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;
use crate::server::Config;
use crate::shard::ShardFile;
use crate::xorb::{Builder, Serialized};
use crate::{ChunkRange, CompressionPolicy, FileHash, Leaf, RepoType, Term, chunks};

struct Lab {
    store: Store,
    folder: TempDir,
    #[cfg(feature = "s3")]
    _runtime: tokio::runtime::Runtime,
}

/// The same for each place that bytes can be in.
fn labs() -> Vec<Lab> {
    let lab = || {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Config::new(folder.path())).unwrap();
        Lab {
            store,
            folder,
            #[cfg(feature = "s3")]
            _runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
        }
    };
    #[cfg(feature = "s3")]
    {
        let mut in_bucket = lab();
        let memory = std::sync::Arc::new(object_store::memory::InMemory::new());
        let runtime = in_bucket._runtime.handle().clone();
        in_bucket.store.blobs = Blobs::Bucket(blobs::Bucket::new(memory, "some/where", runtime));
        vec![lab(), in_bucket]
    }
    #[cfg(not(feature = "s3"))]
    vec![lab()]
}

fn repo(name: &str) -> RepoKey {
    RepoKey { kind: RepoType::Model, id: name.parse().unwrap() }
}

/// A file of noise in one xorb.
struct Noise {
    content: Vec<u8>,
    xorb: Serialized,
    file: ShardFile,
}

impl Noise {
    fn new(seed: u64) -> Self {
        let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let content: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(300_000)
        .collect();
        let mut builder = Builder::new(CompressionPolicy::Auto);
        let leaves: Vec<Leaf> = chunks(&content).map(Leaf::of).collect();
        for (leaf, chunk) in leaves.iter().zip(chunks(&content)) {
            builder.push(*leaf, chunk).unwrap();
        }
        let xorb = builder.finish();
        let chunks = ChunkRange { start: 0, end: leaves.len() as u32 };
        let term = Term { xorb: xorb.hash(), chunks, unpacked_length: content.len() as u32 };
        let file = ShardFile {
            hash: Leaf::file_hash(&leaves),
            terms: vec![term],
            verification: None,
            sha256: Some(Sha256::digest(&content).into()),
        };
        Self { content, xorb, file }
    }

    fn put(&self, store: &Store) {
        store.put_built_xorb(&self.xorb).unwrap();
        store.put_ingested(std::slice::from_ref(&self.file)).unwrap();
    }

    fn entry(&self) -> Entry {
        let sha256 = files::hex(&self.file.sha256.unwrap());
        Entry::xet(sha256, self.file.hash, self.content.len() as u64)
    }
}

/// Commits a large file and a regular one.
fn commit(store: &Store, repo: &RepoKey, noise: &Noise, text: &str) -> String {
    let mut objects = store.new_objects();
    let oid = objects.add(text.as_bytes()).unwrap();
    objects.finish().unwrap();
    let put = |path: &str, entry| Operation::Put { path: path.to_owned(), entry };
    let operations = vec![put("model.bin", noise.entry()), put("a.txt", Entry::regular(oid, text.len() as u64))];
    store.change(repo, Change { branch: MAIN.into(), operations, ..Change::default() }).unwrap()
}

fn is_readable(store: &Store, noise: &Noise) -> bool {
    let Some(terms) = store.file(noise.file.hash).unwrap() else { return false };
    let mut reader = crate::server::plain::PlainReader::whole(terms);
    let mut content = Vec::new();
    while let Some(piece) = reader.next(store, 100_000).unwrap() {
        content.extend_from_slice(&piece);
    }
    content == noise.content
}

fn checked(store: &Store) -> CheckReport {
    store.check(CheckOptions { deep: true, repair: false }).unwrap()
}

fn assert_sound(store: &Store) {
    let report = checked(store);
    assert_eq!((0, 0), (report.damage_count, report.orphans_count), "{report:?}");
    assert_eq!(report.bytes, store.usage().unwrap().bytes);
}

const NOW: Duration = Duration::ZERO;

#[test]
fn given_a_deleted_repository_when_collected_then_what_it_had_alone_is_gone_and_the_rest_stays() {
    for Lab { store, .. } in labs() {
        let (alone, shared) = (Noise::new(1), Noise::new(2));
        for (name, text) in [("lab/one", "one"), ("lab/two", "shared")] {
            store.create_repo(&repo(name), RepoRecord::default()).unwrap();
            shared.put(&store);
            commit(&store, &repo(name), &shared, "shared");
            if name == "lab/one" {
                alone.put(&store);
                commit(&store, &repo(name), &alone, text);
            }
        }
        assert_eq!(Collected::default(), store.collect_garbage(NOW).unwrap());
        assert!(store.delete_repo(&repo("lab/one")).unwrap());
        assert!(!store.delete_repo(&repo("lab/one")).unwrap());

        assert_eq!(Collected::default(), store.collect_garbage(Duration::from_secs(3_600)).unwrap());
        let Collected { files, xorbs, objects, bytes, .. } = store.collect_garbage(NOW).unwrap();

        assert_eq!((1, 1, 1), (files, xorbs, objects));
        assert!(bytes > 300_000);
        assert!(is_readable(&store, &shared) && !is_readable(&store, &alone));
        assert!(!store.has_xorb(alone.xorb.hash()).unwrap());
        assert_eq!(None, store.file_of_sha256(&files::hex(&alone.file.sha256.unwrap())).unwrap());
        assert_sound(&store);

        // It can come again.
        store.create_repo(&repo("lab/one"), RepoRecord::default()).unwrap();
        alone.put(&store);
        commit(&store, &repo("lab/one"), &alone, "one");
        assert!(is_readable(&store, &alone));
        assert_sound(&store);
    }
}

#[test]
fn given_a_branch_that_is_deleted_when_collected_then_its_commits_are_gone_and_shared_history_stays() {
    for Lab { store, .. } in labs() {
        let (first, side) = (Noise::new(1), Noise::new(2));
        let repo = repo("lab/one");
        store.create_repo(&repo, RepoRecord::default()).unwrap();
        first.put(&store);
        side.put(&store);
        let main = commit(&store, &repo, &first, "one");
        assert!(store.create_ref(&repo, "refs/heads/side", &main).unwrap());
        let operations = vec![Operation::Put { path: "side.bin".into(), entry: side.entry() }];
        let on_side = store.change(&repo, Change { branch: "side".into(), operations, ..Change::default() }).unwrap();
        assert!(store.file_is_in(&repo, side.file.hash).unwrap());
        assert_eq!(Collected::default(), store.collect_garbage(NOW).unwrap());

        assert!(store.delete_ref(&repo, "refs/heads/side").unwrap());
        let collected = store.collect_garbage(NOW).unwrap();

        assert_eq!((1, 1, 1, 0), (collected.commits, collected.files, collected.xorbs, collected.objects));
        assert_eq!(None, store.resolve(&repo, &on_side).unwrap());
        assert_eq!(Some(main.clone()), store.resolve(&repo, &main).unwrap());
        assert!(!store.file_is_in(&repo, side.file.hash).unwrap() && store.file_is_in(&repo, first.file.hash).unwrap());
        assert_sound(&store);
    }
}

#[test]
fn given_uploads_that_nothing_refers_to_yet_when_collected_then_they_have_their_grace() {
    for Lab { store, .. } in labs() {
        let noise = Noise::new(1);
        store.put_built_xorb(&noise.xorb).unwrap();

        assert_eq!(Collected::default(), store.collect_garbage(Duration::from_secs(3_600)).unwrap());
        assert_eq!(1, store.collect_garbage(NOW).unwrap().xorbs);

        // The shard comes too late: refused, and nothing is kept of it.
        let late = store.put_ingested(std::slice::from_ref(&noise.file));
        assert!(matches!(late, Err(StoreError::MissingXorb { .. })), "{late:?}");
        assert_eq!(None, store.file(noise.file.hash).unwrap());
        assert_sound(&store);
    }
}

#[test]
fn given_bytes_that_nothing_names_when_checked_then_found_and_removed_if_asked_for() {
    for Lab { store, .. } in labs() {
        let noise = Noise::new(1);
        let name = noise.xorb.hash().to_string();
        store.put_built_xorb(&Noise::new(2).xorb).unwrap();
        let left = store.filled(&noise.xorb.records).unwrap();
        store.blobs.put(blobs::Kind::Xorb, vec![(name.clone(), left)]).unwrap();

        let report = checked(&store);
        assert_eq!((vec![name], 1, 0), (report.orphans, report.orphans_count, report.damage_count));
        store.check(CheckOptions { deep: false, repair: true }).unwrap();

        assert_sound(&store);
        noise.put(&store);
        assert!(is_readable(&store, &noise));
    }
}

#[test]
fn given_damage_when_checked_then_each_kind_is_named() {
    for damage in ["missing", "short", "flipped", "object"] {
        // In the folder alone: there it can be done.
        let Lab { store, folder, .. } = labs().remove(0);
        let noise = Noise::new(1);
        store.create_repo(&repo("lab/one"), RepoRecord::default()).unwrap();
        noise.put(&store);
        commit(&store, &repo("lab/one"), &noise, "text");
        assert_sound(&store);
        let path = |kind: &str, name: &str| -> PathBuf { folder.path().join(kind).join(&name[..2]).join(name) };
        let xorb = path("xorbs", &noise.xorb.hash().to_string());
        let oid = store.commit(&repo("lab/one"), &store.resolve(&repo("lab/one"), MAIN).unwrap().unwrap()).unwrap();
        let object = path("objects", &oid.files["a.txt"].oid);
        let mut stored = fs::read(&xorb).unwrap();
        match damage {
            "missing" => fs::remove_file(&xorb).unwrap(),
            "short" => fs::write(&xorb, &stored[..1_000]).unwrap(),
            "flipped" => {
                stored[100_000] ^= 1;
                fs::write(&xorb, &stored).unwrap();
            }
            _ => fs::write(&object, "TEXT").unwrap(),
        }

        let report = checked(&store);

        assert!(report.damage_count > 0 && !report.damage.is_empty(), "{damage}: {report:?}");
        let shallow = store.check(CheckOptions::default()).unwrap();
        assert_eq!(matches!(damage, "missing" | "short"), shallow.damage_count > 0, "{damage}: {shallow:?}");

        // Forgotten, it can come again.
        store.check(CheckOptions { deep: true, repair: true }).unwrap();
        assert_eq!(store.has_object(&oid.files["a.txt"].oid).unwrap(), damage != "object");
        assert_eq!(store.has_file(noise.file.hash).unwrap(), !matches!(damage, "missing" | "short" | "flipped"));
        noise.put(&store);
        let mut objects = store.new_objects();
        objects.add(b"text").unwrap();
        objects.finish().unwrap();
        assert_sound(&store);
        assert!(is_readable(&store, &noise), "{damage}");
    }
}

#[test]
fn given_a_quota_when_it_is_used_up_then_uploads_are_refused_until_something_is_collected() {
    for mut lab in labs() {
        lab.store.quota = Some(700_000);
        let store = &lab.store;
        let noises = [Noise::new(1), Noise::new(2), Noise::new(3)];
        store.put_built_xorb(&noises[0].xorb).unwrap();
        store.put_built_xorb(&noises[1].xorb).unwrap();

        let refused = store.put_built_xorb(&noises[2].xorb);

        assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
        // What is there takes no more room.
        assert!(!store.put_built_xorb(&noises[1].xorb).unwrap());
        assert_eq!(2, store.collect_garbage(NOW).unwrap().xorbs);
        assert!(store.put_built_xorb(&noises[2].xorb).unwrap());
        assert_sound(store);
    }
}

#[test]
fn given_names_of_repositories_when_moved_then_the_old_one_leads_to_it_until_it_is_taken() {
    let Lab { store, folder: _folder, .. } = labs().remove(0);
    let (old, new) = (repo("lab/old"), repo("lab/new"));
    store.create_repo(&old, RepoRecord::default()).unwrap();
    let noise = Noise::new(1);
    noise.put(&store);
    let sha = commit(&store, &old, &noise, "text");

    assert_eq!(Moved::Missing, store.move_repo(&new, &old).unwrap());
    assert_eq!(Moved::Done, store.move_repo(&old, &new).unwrap());

    assert_eq!(new, store.current_name(old.clone()).unwrap());
    for name in [&old, &new] {
        assert_eq!(Some(sha.clone()), store.resolve(name, MAIN).unwrap());
        assert_eq!(2, store.commit(name, &sha).unwrap().files.len());
    }
    assert_eq!(vec![new.id.clone()], names(&store));
    assert!(store.create_repo(&old, RepoRecord::default()).unwrap());
    assert_eq!(old, store.current_name(old.clone()).unwrap());
    assert_ne!(Some(sha), store.resolve(&old, MAIN).unwrap());
    assert_eq!(Moved::Taken, store.move_repo(&old, &new).unwrap());
    assert!(store.delete_repo(&new).unwrap());
    assert_eq!(vec![old.id], names(&store));
    assert_sound(&store);
}

fn names(store: &Store) -> Vec<crate::RepoId> {
    store.repos(RepoType::Model, None, 100).unwrap().into_iter().map(|(id, _)| id).collect()
}

#[test]
fn given_repositories_when_listed_then_in_order_by_kind_and_page() {
    let Lab { store, folder: _folder, .. } = labs().remove(0);
    for name in ["b/x", "a/x", "gpt2", "a/y"] {
        store.create_repo(&repo(name), RepoRecord::default()).unwrap();
    }
    let dataset = RepoKey { kind: RepoType::Dataset, id: "a/x".parse().unwrap() };
    store.create_repo(&dataset, RepoRecord::default()).unwrap();

    let page = |after: Option<&str>| -> Vec<String> {
        let after = after.map(|name| name.parse().unwrap());
        let page = store.repos(RepoType::Model, after.as_ref(), 2).unwrap();
        page.into_iter().map(|(id, _)| id.to_string()).collect()
    };
    assert_eq!(["a/x", "a/y"], page(None)[..]);
    assert_eq!(["b/x", "gpt2"], page(Some("a/y"))[..]);
    assert!(page(Some("gpt2")).is_empty());
    assert_eq!(1, store.repos(RepoType::Dataset, None, 10).unwrap().len());
}

#[test]
fn given_a_commit_from_elsewhere_when_imported_then_under_its_name_and_not_without_its_files() {
    let Lab { store, folder: _folder, .. } = labs().remove(0);
    let (there, noise) = (repo("lab/there"), Noise::new(1));
    store.create_empty_repo(&there, &RepoRecord::default()).unwrap();
    let sha = "0123456789012345678901234567890123456789";
    let files = [("model.bin".to_owned(), noise.entry())].into();
    let commit = Commit { summary: "first".into(), files, ..Commit::default() };

    let early = store.import_commit(&there, sha, &commit);
    assert!(matches!(early, Err(StoreError::UnknownSha256 { .. })), "{early:?}");
    assert!(store.import_commit(&there, "main", &commit).is_err());
    noise.put(&store);
    store.import_commit(&there, sha, &commit).unwrap();
    store.set_ref(&there, "refs/heads/main", sha).unwrap();

    assert_eq!(Some(sha.to_owned()), store.resolve(&there, MAIN).unwrap());
    assert_eq!(commit, *store.commit(&there, sha).unwrap());
    assert!(store.file_is_in(&there, noise.file.hash).unwrap());
    assert!(!store.file_is_in(&there, FileHash::from_bytes([1; 32])).unwrap());
    assert_sound(&store);
}

#[test]
fn given_a_mirrored_repository_when_collected_then_its_commits_stay_and_files_that_are_elsewhere_are_no_damage() {
    let Lab { store, folder: _folder, .. } = labs().remove(0);
    let (there, noise, found) = (repo("lab/there"), Noise::new(1), Noise::new(2));
    let record = RepoRecord { mirrored: Some(1), ..RepoRecord::default() };
    store.create_empty_repo(&there, &record).unwrap();
    let lfs = |noise: &Noise| Entry {
        content: Content::Lfs { sha256: files::hex(&noise.file.sha256.unwrap()) },
        ..noise.entry()
    };
    let sha = "0123456789012345678901234567890123456789";
    let files = [
        ("a.bin".to_owned(), noise.entry()),
        ("b.bin".to_owned(), lfs(&found)),
        ("c.bin".to_owned(), lfs(&Noise::new(3))),
        ("d.txt".to_owned(), Entry::regular(sha.to_owned(), 7)),
    ];
    let commit = Commit { summary: "first".into(), files: files.into(), ..Commit::default() };

    // No ref leads to it.
    store.follow_commit(&there, sha, &commit).unwrap();
    found.put(&store);
    store.hold_file(&there, found.file.hash).unwrap();
    Noise::new(4).put(&store);
    let collected = store.collect_garbage(Duration::ZERO).unwrap();

    assert_eq!((0, 1, 1), (collected.commits, collected.files, collected.xorbs));
    assert_eq!(commit, *store.commit(&there, sha).unwrap());
    assert!(is_readable(&store, &found) && !is_readable(&store, &noise));
    assert_sound(&store);
    noise.put(&store);
    store.collect_garbage(Duration::ZERO).unwrap();
    assert!(is_readable(&store, &noise));
}

#[cfg(feature = "s3")]
#[test]
fn given_a_bucket_of_which_nothing_is_known_when_repaired_then_nothing_is_removed() {
    let Lab { store, folder: _folder, _runtime } = labs().remove(1);
    let noise = Noise::new(1);
    let name = noise.xorb.hash().to_string();
    store.blobs.put(blobs::Kind::Xorb, vec![(name.clone(), store.filled(&noise.xorb.records).unwrap())]).unwrap();

    let report = store.check(CheckOptions { deep: false, repair: true }).unwrap();

    assert_eq!((1, 1), (report.orphans_count, report.damage_count), "{report:?}");
    assert!(store.blobs.open(blobs::Kind::Xorb, &name).unwrap().is_some());
}
