//! Checks of a repository's listing. Its paths become paths on disk and its ids names of files, so
//! nothing in it is believed.

use std::collections::{BTreeSet, HashSet};

use reqwest::header::{HeaderMap, LINK};
use url::Url;

use super::{Content, TreeFile};
use crate::api::{TreeEntryJson, check_path};

/// Files in a listing at most. The Hub recommends fewer than 100,000.
pub(super) const FILES_MAX: usize = 1_000_000;
/// Largest file, bytes: 16 TiB. The Hub's own limit is 500 GB.
const FILE_BYTES_MAX: i64 = 1 << 44;

/// Turns a listing into files, or says what is wrong with it.
pub(super) fn check(entries: Vec<TreeEntryJson>) -> Result<Vec<TreeFile>, String> {
    let mut files = Vec::with_capacity(entries.len());
    let mut seen = HashSet::new();
    for entry in entries {
        check_path(&entry.path)?;
        match entry.kind.as_str() {
            "file" => {}
            "directory" => continue,
            other => return Err(format!("`{}` is of unknown kind `{other}`", entry.path)),
        }
        if !seen.insert(entry.path.clone()) {
            return Err(format!("`{}` is listed twice", entry.path));
        }
        files.push(file(entry)?);
    }
    let folders: BTreeSet<&str> = files.iter().flat_map(|file| parents(&file.path)).collect();
    if let Some(file) = files.iter().find(|file| folders.contains(file.path.as_str())) {
        return Err(format!("`{}` is a file and a folder", file.path));
    }
    Ok(files)
}

fn file(entry: TreeEntryJson) -> Result<TreeFile, String> {
    let TreeEntryJson { path, oid, size, lfs, xet_hash, .. } = entry;
    if !is_hex(&oid, 40) {
        return Err(format!("`{path}` has no git id of 40 hexadecimal digits"));
    }
    let (size, content) = match lfs {
        None => (size, Content::Regular),
        Some(lfs) => {
            let sha256 = lfs.oid;
            if !is_hex(&sha256, 64) {
                return Err(format!("`{path}` has no SHA-256 of 64 hexadecimal digits"));
            }
            let content = match xet_hash {
                None => Content::Lfs { sha256 },
                Some(text) => {
                    let hash = text.parse().map_err(|error| format!("`{path}`: {error}"))?;
                    Content::Xet { sha256, hash }
                }
            };
            (lfs.size, content)
        }
    };
    if !(0..=FILE_BYTES_MAX).contains(&size) {
        return Err(format!("`{path}` is said to have {size} bytes"));
    }
    Ok(TreeFile { path, size: size as u64, blob_id: oid, content })
}

/// The folders above a path.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Whether the text is exactly `digits` lowercase hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The URL of the next page, from the `Link` header. It must be on the same origin.
pub(super) fn next_page(from: &Url, headers: &HeaderMap) -> Result<Option<Url>, String> {
    for value in headers.get_all(LINK) {
        let Ok(text) = value.to_str() else { continue };
        for link in text.split(',') {
            let Some((target, parameters)) = link.split_once('>') else { continue };
            let is_next = parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
            let Some(target) = target.trim().strip_prefix('<').filter(|_| is_next) else { continue };
            let next = from.join(target).map_err(|error| format!("the link to the next page is no URL: {error}"))?;
            if next.origin() != from.origin() {
                return Err("the link to the next page leads to another host".into());
            }
            return Ok(Some(next));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::TreeEntryJson;

    const GIT: &str = "0123456789012345678901234567890123456789";

    fn entry(path: &str, size: i64) -> TreeEntryJson {
        TreeEntryJson { kind: "file".into(), oid: GIT.into(), size, path: path.into(), lfs: None, xet_hash: None }
    }

    fn refused(entries: Vec<TreeEntryJson>, expected: &str) {
        let reason = check(entries).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }

    #[test]
    fn given_a_path_that_leaves_the_folder_when_checked_then_refused() {
        refused(vec![entry("a/../../b", 1)], "leaves the repository");
    }

    #[test]
    fn given_a_duplicate_or_a_file_that_is_a_folder_when_checked_then_refused() {
        refused(vec![entry("a", 1), entry("a", 1)], "twice");
        refused(vec![entry("a", 1), entry("a/b", 1)], "a file and a folder");
    }

    #[test]
    fn given_an_impossible_size_or_id_when_checked_then_refused() {
        refused(vec![entry("a", -1)], "-1 bytes");
        refused(vec![entry("a", i64::MAX)], "bytes");
        let mut escaping = entry("a", 1);
        escaping.oid = "../../x".into();
        refused(vec![escaping], "git id");
    }

    #[test]
    fn given_folders_and_odd_names_when_checked_then_only_files_remain() {
        let mut folder = entry("sub", 0);
        folder.kind = "directory".into();

        let files = check(vec![folder, entry("sub/a b ü.txt", 3)]).unwrap();

        assert_eq!(["sub/a b ü.txt"], files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>()[..]);
    }
}
