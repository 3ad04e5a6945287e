//! The Hub's own Rust client at the origin that `HF_ENDPOINT` names: creates, uploads, looks at, downloads and removes.
//!
//! The one argument is a folder to work in. Prints a line for every promise kept and panics at the first that is not.

use std::error::Error;
use std::path::{Path, PathBuf};

use hf_hub::repository::{AddSource, CommitOperation, GatedApprovalMode, GitStatus, RepoTreeEntry, RepoTypeModel};
use hf_hub::{HFClient, HFClientSync, HFError};

type Outcome = Result<(), Box<dyn Error>>;

/// Larger than what a commit takes along, so that it goes through Xet.
const LARGE_BYTES: usize = 12 * 1024 * 1024;
const OWNER: &str = "rust";

fn main() -> Outcome {
    let work = PathBuf::from(std::env::args_os().nth(1).ok_or("give it a folder to work in")?);
    std::fs::create_dir_all(&work)?;
    let client = HFClient::builder().cache_dir(work.join("cache")).build_sync()?;
    files(&client, &work)?;
    revisions(&client)?;
    repositories(&client)
}

fn passed(what: &str) {
    println!("PASS hf-hub 1.0 (Rust): {what}");
}

/// Bytes that do not compress and repeat nowhere.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn files(client: &HFClientSync, work: &Path) -> Outcome {
    client.create_repository().repo_id("rust/files").repo_type(RepoTypeModel).send()?;
    client.create_repository().repo_id("rust/files").repo_type(RepoTypeModel).exist_ok(true).send()?;
    let repo = client.model(OWNER, "files");
    let (large, small) = (noise(LARGE_BYTES, 1), b"{}\n".to_vec());
    let folder = work.join("folder");
    std::fs::create_dir_all(folder.join("sub"))?;
    std::fs::write(folder.join("sub/large.bin"), &large)?;
    std::fs::write(folder.join("a b.json"), &small)?;

    let commit = repo.upload_folder().folder_path(folder).commit_message("a folder").send()?;
    assert!(commit.commit_oid.is_some(), "{commit:?}");
    let source = AddSource::bytes(&b"one more"[..]);
    repo.upload_file().source(source).path_in_repo("more.txt").send()?;
    assert!(repo.file_exists().filename("sub/large.bin").send()?);
    assert!(!repo.file_exists().filename("none.bin").send()?);
    passed("upload_folder, upload_file");

    assert_eq!(large, repo.download_file_to_bytes().filename("sub/large.bin").send()?);
    let range = repo.download_file_to_bytes().filename("sub/large.bin").range(1_000..2_000).send()?;
    assert_eq!(large[1_000..2_000], range);
    let snapshot = repo.snapshot_download().send()?;
    assert_eq!(large, std::fs::read(snapshot.join("sub/large.bin"))?);
    assert_eq!(small, std::fs::read(snapshot.join("a b.json"))?);
    let file = repo.download_file().filename("more.txt").local_dir(work.join("local")).send()?;
    assert_eq!("one more", std::fs::read_to_string(file)?);
    passed("download_file, a range, snapshot_download: identical");

    let info = repo.info().send()?;
    assert_eq!(("rust/files", Some("rust")), (info.id.as_str(), info.author.as_deref()));
    assert_eq!(3, info.siblings.map_or(0, |siblings| siblings.len()));
    let tree = repo.list_tree().recursive(true).expand(true).send()?;
    let last = tree.iter().map(|entry| match entry {
        RepoTreeEntry::File { path, last_commit, .. } | RepoTreeEntry::Directory { path, last_commit, .. } => {
            (path.as_str(), last_commit.as_ref().and_then(|commit| commit.title.as_deref()).is_some())
        }
    });
    let expected = [("a b.json", true), ("more.txt", true), ("sub", true), ("sub/large.bin", true)];
    assert_eq!(expected.to_vec(), last.collect::<Vec<_>>());
    let paths = repo.get_paths_info().paths(vec!["sub".into(), "more.txt".into(), "none".into()]).send()?;
    assert_eq!(2, paths.len(), "{paths:?}");
    let metadata = repo.get_file_metadata().filepath("sub/large.bin").send()?;
    assert_eq!(LARGE_BYTES as u64, metadata.file_size);
    assert!(metadata.xet_hash.is_some());
    passed("info, list_tree, get_paths_info, get_file_metadata");

    repo.delete_file().path_in_repo("more.txt").send()?;
    repo.delete_folder().path_in_repo("sub").send()?;
    assert_eq!(1, repo.list_tree().send()?.len());
    let error = repo.download_file_to_bytes().filename("more.txt").send().unwrap_err();
    assert!(matches!(error, HFError::EntryNotFound { .. }), "{error:?}");
    passed("delete_file, delete_folder");
    Ok(())
}

fn revisions(client: &HFClientSync) -> Outcome {
    client.create_repository().repo_id("rust/revisions").repo_type(RepoTypeModel).send()?;
    let repo = client.model(OWNER, "revisions");
    let add = |path: &str, text: &'static str| CommitOperation::add_bytes(path, text.as_bytes());
    let commit = |operations, message: &str| repo.create_commit().operations(operations).commit_message(message).send();
    let first = commit(vec![add("a.txt", "1"), add("b.txt", "1")], "first")?.commit_oid.ok_or("no commit")?;
    let second = vec![add("a.txt", "22"), add("c.txt", "1"), CommitOperation::delete("b.txt")];
    let second = commit(second, "second")?.commit_oid.ok_or("no commit")?;
    let stale = repo.create_commit().operations(vec![add("a.txt", "3")]).commit_message("third");
    let error = stale.parent_commit(first.clone()).send().unwrap_err();
    assert!(matches!(&error, HFError::Http { context } if context.status.as_u16() == 412), "{error:?}");

    let history = repo.list_commits().send()?;
    let titles: Vec<_> = history.iter().map(|commit| commit.title.as_str()).collect();
    assert_eq!(vec!["second", "first", "initial commit"], titles);
    repo.create_branch().branch("dev/x").revision(first.clone()).send()?;
    repo.create_tag().tag("v1").revision(first.as_str()).message("one").send()?;
    let pull_request = vec![add("d.txt", "1")];
    repo.create_commit().operations(pull_request).commit_message("larger").create_pr(true).send()?;
    let refs = repo.list_refs().include_pull_requests(true).send()?;
    let names = |refs: &[hf_hub::repository::GitRefInfo]| -> Vec<String> {
        refs.iter().map(|each| format!("{} {}", each.git_ref, each.target_commit)).collect()
    };
    let branches = vec![format!("refs/heads/dev/x {first}"), format!("refs/heads/main {second}")];
    assert_eq!(branches, names(&refs.branches));
    assert_eq!(vec![format!("refs/tags/v1 {first}")], names(&refs.tags));
    assert_eq!(1, refs.pull_requests.len());
    let at = |revision: &str| repo.download_file_to_bytes().filename("a.txt").revision(revision).send();
    assert_eq!(["1", "1", "22"], [at("v1")?, at("dev/x")?, at("main")?]);

    let diff = repo.get_raw_diff_stream().compare(format!("{first}..{second}")).send()?;
    let changes: Vec<_> = diff.iter().map(|file| (&file.status, file.file_path.as_str(), file.new_file_size)).collect();
    let expected = vec![
        (&GitStatus::Modification, "a.txt", 2),
        (&GitStatus::Deletion, "b.txt", 0),
        (&GitStatus::Addition, "c.txt", 1),
    ];
    assert_eq!(expected, changes);
    repo.delete_branch().branch("dev/x").send()?;
    repo.delete_tag().tag("v1").send()?;
    assert!(!repo.revision_exists().revision("v1").send()?);
    let error = at("v1").unwrap_err();
    assert!(matches!(error, HFError::RevisionNotFound { .. } | HFError::EntryNotFound { .. }), "{error:?}");
    passed("commits, history, branches, tags, pull request, diff");
    Ok(())
}

fn repositories(client: &HFClientSync) -> Outcome {
    let listed = |search: &str| -> Result<Vec<String>, HFError> {
        Ok(client.list_models().author(OWNER).search(search).send()?.into_iter().map(|model| model.id).collect())
    };
    assert_eq!(vec!["rust/files"], listed("files")?);
    let moved = client.move_repository().from_id("rust/files").to_id("rust/moved").repo_type(RepoTypeModel).send()?;
    assert!(moved.url.ends_with("/rust/moved"), "{moved:?}");
    assert_eq!("rust/moved", client.model(OWNER, "files").info().send()?.id);
    let repo = client.model(OWNER, "moved");
    repo.update_settings().gated(GatedApprovalMode::Disabled).send()?;
    // Whoever is to be kept out would have to be known.
    let error = repo.update_settings().gated(GatedApprovalMode::Auto).send().unwrap_err();
    assert!(matches!(error, HFError::Forbidden { .. }), "{error:?}");
    client.delete_repository().repo_id("rust/moved").repo_type(RepoTypeModel).send()?;
    assert!(!repo.exists().send()?);
    client.delete_repository().repo_id("rust/moved").repo_type(RepoTypeModel).missing_ok(true).send()?;
    let error = repo.info().send().unwrap_err();
    assert!(matches!(error, HFError::RepoNotFound { .. }), "{error:?}");
    passed("list_models, move, settings, delete");
    Ok(())
}
