//! The data folder: whose it is, and that it outlives the process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use xet_cas::server::{Access, Config, Error, Origin};

use super::lab::{Lab, file_line};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn refused(folder: &Path) -> Error {
    Origin::bind(Config::new(folder), ANY).await.unwrap_err()
}

#[tokio::test]
async fn given_everything_uploaded_when_restarted_then_everything_is_there_and_leftovers_are_gone() {
    let mut lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, 100_000));
    let commit = upload.publish(&lab, REPO, "model.bin").await;
    lab.stop().await;
    fs::write(lab.folder.path().join("incoming/left-by-a-crash"), b"half").unwrap();

    let lab = lab.restart_with(|_| {}).await;

    assert_eq!(commit, lab.json("/api/models/lab/tiny/revision/main").await["sha"]);
    let location = lab.head("/lab/tiny/resolve/main/model.bin").send().await.header("location").to_owned();
    assert!(upload.content == lab.get(&location).send().await.ok().body);
    assert_eq!(0, fs::read_dir(lab.folder.path().join("incoming")).unwrap().count());
}

#[tokio::test]
async fn given_a_folder_in_use_when_opened_again_then_refused_until_it_is_free() {
    let mut lab = Lab::start().await;

    assert!(matches!(refused(lab.folder.path()).await, Error::InUse { .. }));

    lab.stop().await;
    Origin::bind(Config::new(lab.folder.path()), ANY).await.unwrap();
}

#[tokio::test]
async fn given_a_folder_with_something_else_when_opened_then_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), b"years of work").unwrap();

    assert!(matches!(refused(folder.path()).await, Error::Foreign { .. }));

    assert_eq!(1, fs::read_dir(folder.path()).unwrap().count());
}

#[tokio::test]
async fn given_data_of_another_version_when_opened_then_refused_by_name() {
    for (content, named) in [(r#"{"format":3}"#, "3"), ("nonsense", "unknown"), ("{}", "unknown")] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("origin.json"), content).unwrap();

        let error = refused(folder.path()).await;

        assert!(matches!(&error, Error::Format { found, supported: 2, .. } if found == named), "{error}");
    }
}

#[tokio::test]
async fn given_settings_that_make_no_sense_when_bound_then_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path().join("data"));
    config.limit_rate = Some(0);

    let error = Origin::bind(config, ANY).await.unwrap_err();

    assert_eq!("limit_rate is 0, it must be at least 1", error.to_string());
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn given_an_address_that_is_taken_when_bound_then_the_error_names_it() {
    let lab = Lab::start().await;
    let folder = tempfile::tempdir().unwrap();

    let error = Origin::bind(Config::new(folder.path()), lab.address).await.unwrap_err();

    assert!(error.to_string().contains(&lab.address.to_string()), "{error}");
}

#[tokio::test]
async fn given_a_stored_xorb_that_rots_when_its_file_is_read_then_the_answer_breaks_off() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, 3_000_000));
    upload.publish(&lab, REPO, "model.bin").await;
    let name = upload.xorb.hash().to_string();
    let path = lab.folder.path().join("xorbs").join(&name[..2]).join(&name);
    let mut stored = fs::read(&path).unwrap();
    stored[2_000_000] ^= 1;
    fs::write(&path, stored).unwrap();
    let location = lab.head("/lab/tiny/resolve/main/model.bin").send().await.header("location").to_owned();

    let answer = lab.get(&location).send().await;

    assert!(!answer.is_complete);
}

#[tokio::test]
async fn given_damage_in_the_folder_when_met_then_500_without_its_paths() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    lab.commit(REPO, &[file_line("a.txt", b"text")]).await.ok();
    fs::remove_dir_all(lab.folder.path().join("objects")).unwrap();

    let answer = lab.get("/lab/tiny/resolve/main/a.txt").send().await.refused(500, "InternalError");

    assert!(!answer.json().to_string().contains("objects"));
    lab.get("/api/models/lab/tiny/tree/main").send().await.ok();
}

/// Made by `zest publish` at an origin that wrote format 1: three commits, a pull request, a branch `side/one`, and a
/// private repository.
const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/origin-format-1");

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test]
async fn given_data_of_format_1_when_opened_then_everything_is_there_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(FORMAT_1), folder.path());
    let mut lab = Lab::over(folder, |config| config.access = Access::one_token("secret")).await;
    for _ in 0..2 {
        let get = |target: &str| lab.get(target).header("authorization", "Bearer secret").send();

        let shas =
            ["main", "side%2Fone", "refs%2Fpr%2F1"].map(|revision| format!("/api/models/lab/tiny/revision/{revision}"));
        let [main, side, pull] = shas.each_ref().map(|sha| get(sha));
        let (main, side, pull) = (main.await.ok().json(), side.await.ok().json(), pull.await.ok().json());
        assert_eq!(
            ("1667c12051513444c675139094e0b001030b1692", false),
            (main["sha"].as_str().unwrap(), main["private"] == true)
        );
        assert_eq!((&main["sha"], 4), (&side["sha"], pull["siblings"].as_array().unwrap().len()));
        assert_eq!(true, get("/api/models/lab/secret").await.ok().json()["private"]);
        assert_eq!(1, get("/api/models/lab/tiny/discussions/1").await.ok().json()["num"]);
        let location = get("/lab/tiny/resolve/main/model.bin").await.header("location").to_owned();
        assert_eq!(60_000, get(&location).await.ok().body.len());
        assert_eq!(b"{\"x\":1}", &get("/lab/tiny/resolve/main/config.json").await.ok().body[..]);

        for old in ["repos", "files", "sha256", "chunks"] {
            assert!(!lab.folder.path().join(old).exists(), "{old}");
        }
        lab = lab.restart_with(|config| config.access = Access::one_token("secret")).await;
    }
}

#[tokio::test]
async fn given_a_migration_that_was_killed_when_opened_again_then_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(FORMAT_1), folder.path());
    fs::write(folder.path().join("metadata.redb.new"), b"half").unwrap();
    let mut lab = Lab::over(folder, |config| config.access = Access::one_token("secret")).await;
    lab.stop().await;
    // Killed between the format and the end of the clean-up.
    copy(&Path::new(FORMAT_1).join("files"), &lab.folder.path().join("files"));

    let lab = lab.restart_with(|config| config.access = Access::one_token("secret")).await;

    assert!(!lab.folder.path().join("files").exists());
    lab.get("/api/models/lab/tiny/tree/main").header("authorization", "Bearer secret").send().await.ok();
}
