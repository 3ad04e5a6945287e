//! Content that other files on this machine hold: it is copied, not fetched.

use crate::lab::{Lab, REPO, files_below};

#[track_caller]
fn bytes(summary: &serde_json::Value, kind: &str, source: &str) -> u64 {
    summary[kind][source].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_second_version_with_5_percent_changed_when_pulled_then_at_most_8_percent_move() {
    // As uploaders store versions: what is the same is in the same xorbs.
    let first: Vec<u8> =
        (0..8_000_000_u32).flat_map(|at| (at.wrapping_mul(0x9e37_79b9) ^ (at >> 7)).to_le_bytes()).collect();
    let mut second = first.clone();
    let (start, length) = (second.len() / 3, second.len() / 20);
    second[start..start + length].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(5).wrapping_add(3));
    let lab = Lab::with(None, &[("v1.bin", &first), ("v2.bin", &second)]).await;
    lab.zest(&["pull", REPO, "--include", "v1.bin"]).await.assert_ok();

    let said = lab.zest(&["pull", REPO, "--include", "v2.bin", "--format", "json"]).await;

    let summary = said.summary();
    let pulled = std::path::Path::new(summary["path"].as_str().unwrap()).join("v2.bin");
    assert!(std::fs::read(pulled).unwrap() == second, "other bytes");
    let (total, moved) = (second.len() as u64, bytes(&summary, "wire_bytes", "cdn"));
    assert!(moved * 100 <= total * 8, "{moved} of {total}: {summary}");
    assert_eq!(total, bytes(&summary, "file_bytes", "local") + bytes(&summary, "file_bytes", "cdn"));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_the_same_content_in_another_repository_when_pulled_then_it_is_not_fetched() {
    let lab = Lab::new().await;
    lab.pull().await.assert_ok();
    let model = lab.model();
    lab.zest(&["publish", model.to_str().unwrap(), "other/name"]).await.assert_ok();

    let summary = lab.zest(&["pull", "other/name", "--format", "json"]).await.summary();

    // What is not in the CAS is fetched again: small files.
    assert!(bytes(&summary, "wire_bytes", "cdn") < 200_000, "{summary}");
    assert!(bytes(&summary, "file_bytes", "local") > 5_000_000, "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_source_that_was_changed_when_copied_from_then_no_wrong_byte_arrives() {
    let lab = Lab::new().await;
    lab.pull().await.assert_ok();
    let blobs = lab.repo_folder().join("blobs");
    for path in files_below(&lab.home().join("hf")) {
        let path = lab.home().join("hf").join(path);
        let is_blob = path.parent().is_some_and(|parent| parent != blobs) && !path.is_symlink();
        if path.starts_with(&blobs) || is_blob && path.metadata().unwrap().len() > 100_000 {
            // The same length and times, but other bytes: only their hash tells.
            let metadata = path.metadata().unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            let Some(byte) = bytes.get_mut(middle) else { continue };
            *byte ^= 1;
            let mut permissions = metadata.permissions();
            #[expect(clippy::permissions_set_readonly_false, reason = "a file of the test's own")]
            permissions.set_readonly(false);
            std::fs::set_permissions(&path, permissions).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(metadata.modified().unwrap()).unwrap();
        }
    }
    let model = lab.model();
    lab.zest(&["publish", model.to_str().unwrap(), "other/name"]).await.assert_ok();

    let said = lab.zest(&["pull", "other/name", "--format", "json"]).await;

    said.assert_ok();
    lab.assert_identical(std::path::Path::new(said.summary()["path"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_files_of_other_tools_when_seeded_then_a_pull_copies_from_them() {
    let lab = Lab::new().await;
    lab.pull().await.assert_ok();
    // What other tools leave: the cache, and nothing that zest knows of it.
    std::fs::remove_dir_all(lab.home().join("zest")).unwrap();
    lab.zest(&["seed", "--index-only"]).await.assert_ok();
    let model = lab.model();
    lab.zest(&["publish", model.to_str().unwrap(), "other/name"]).await.assert_ok();

    let local_dir = lab.home().join("elsewhere");
    let args = ["pull", "other/name", "--local-dir", local_dir.to_str().unwrap(), "--format", "json"];
    let summary = lab.zest(&args).await.summary();

    assert!(bytes(&summary, "file_bytes", "local") > 5_000_000, "{summary}");
    lab.assert_identical(&local_dir);
}
