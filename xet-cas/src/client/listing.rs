//! Checks of a repository's listing. Its paths become paths on disk and its ids names of files, so
//! nothing in it is believed.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use reqwest::header::{HeaderMap, LINK};
use url::Url;

use super::config::DEFAULT_ENDPOINT;
use super::{Content, TreeFile};
use crate::api::{TreeEntryJson, check_path, shown};

/// Files in a listing at most. The Hub recommends fewer than 100,000.
const FILES_MAX: usize = 1_000_000;
/// Pages of a listing at most. The Hub sends 1,000 entries a page, so this is far beyond the number of
/// files it allows in a repository.
const PAGES_MAX: usize = 2_000;
/// Bytes of all pages of a listing at most: twice what 300,000 large files with long paths take.
const LISTING_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Largest file, bytes: 16 TiB. The Hub's own limit is 500 GB.
const FILE_BYTES_MAX: i64 = 1 << 44;

/// The pages of a listing, counted as they come.
#[derive(Debug, Default)]
pub(super) struct Pages {
    entries: Vec<TreeEntryJson>,
    pages: usize,
    bytes: usize,
}

impl Pages {
    /// Whether another page of so many bytes may be read.
    pub(super) fn admit(&mut self, page_bytes: usize) -> Result<(), String> {
        self.pages += 1;
        self.bytes += page_bytes;
        if self.pages > PAGES_MAX || self.bytes > LISTING_BYTES_MAX {
            return Err("it has no end".to_owned());
        }
        Ok(())
    }

    pub(super) fn add(&mut self, entries: Vec<TreeEntryJson>) -> Result<(), String> {
        self.entries.extend(entries);
        if self.entries.len() > FILES_MAX {
            return Err("it has no end".to_owned());
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<TreeFile>, String> {
        check(self.entries)
    }
}

/// Turns a listing into files, or says what is wrong with it.
fn check(entries: Vec<TreeEntryJson>) -> Result<Vec<TreeFile>, String> {
    let mut files = Vec::with_capacity(entries.len());
    let mut seen = HashSet::new();
    // Besides files and folders the Hub knows entries of unknown kind, which have no bytes to download.
    for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
        check_path(&entry.path)?;
        if !seen.insert(entry.path.clone()) {
            return Err(format!("`{}` is listed twice", shown(&entry.path)));
        }
        files.push(file(entry)?);
    }
    let folders: BTreeSet<&str> = files.iter().flat_map(|file| parents(&file.path)).collect();
    if let Some(file) = files.iter().find(|file| folders.contains(file.path.as_str())) {
        return Err(format!("`{}` is a file and a folder", shown(&file.path)));
    }
    Ok(files)
}

fn file(entry: TreeEntryJson) -> Result<TreeFile, String> {
    let TreeEntryJson { path, oid, size, lfs, xet_hash, .. } = entry;
    let shown = shown(&path);
    if !is_hex(&oid, 40) {
        return Err(format!("`{shown}` has no git id of 40 hexadecimal digits"));
    }
    let (size, content) = match lfs {
        None => (size, Content::Regular),
        Some(lfs) => {
            let sha256 = lfs.oid;
            if !is_hex(&sha256, 64) {
                return Err(format!("`{shown}` has no SHA-256 of 64 hexadecimal digits"));
            }
            let content = match xet_hash {
                None => Content::Lfs { sha256 },
                Some(text) => {
                    let hash = text.parse().map_err(|error| format!("`{shown}`: {error}"))?;
                    Content::Xet { sha256, hash }
                }
            };
            (lfs.size, content)
        }
    };
    if !(0..=FILE_BYTES_MAX).contains(&size) {
        return Err(format!("`{shown}` is said to have {size} bytes"));
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

/// The URL of the next page, from the `Link` header. It must be on the same origin; a link to the public
/// Hub, as mirrors hand it through, is taken as one to `endpoint`.
pub(super) fn next_page(endpoint: &Url, from: &Url, headers: &HeaderMap) -> Result<Option<Url>, String> {
    for value in headers.get_all(LINK) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let target = match next_target(&text) {
            Ok(Some(target)) => on_endpoint(target, endpoint),
            Ok(None) => continue,
            // What else a `Link` header may say does not matter here.
            Err(Unparseable) if !text.to_ascii_lowercase().contains("next") => continue,
            Err(Unparseable) => return Err("the link to the next page is not understood".into()),
        };
        let next = from.join(&target).map_err(|error| format!("the link to the next page is no URL: {error}"))?;
        if next.origin() != from.origin() {
            return Err("the link to the next page leads to another host".into());
        }
        return Ok(Some(next));
    }
    Ok(None)
}

struct Unparseable;

/// The target of `rel=next` (RFC 8288): `<target>; name=value; name="value", <target>; …`.
fn next_target(mut text: &str) -> Result<Option<&str>, Unparseable> {
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Ok(None);
        }
        let (target, rest) = text.strip_prefix('<').and_then(|text| text.split_once('>')).ok_or(Unparseable)?;
        let (mut parameters, rest) = split_unquoted(rest, ',')?;
        while !parameters.is_empty() {
            let (parameter, rest) = split_unquoted(parameters, ';')?;
            if is_rel_next(parameter) {
                return Ok(Some(target));
            }
            parameters = rest;
        }
        text = rest;
    }
}

fn is_rel_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

/// Splits at the first separator that no quotation marks hold.
fn split_unquoted(text: &str, separator: char) -> Result<(&str, &str), Unparseable> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => return Ok((&text[..at], &text[at + c.len_utf8()..])),
            _ => {}
        }
    }
    if is_quoted { Err(Unparseable) } else { Ok((text, "")) }
}

/// A link of the public Hub, as one of the endpoint.
fn on_endpoint<'t>(target: &'t str, endpoint: &Url) -> Cow<'t, str> {
    match target.strip_prefix(DEFAULT_ENDPOINT) {
        Some(path) if path.starts_with(['/', '?']) => {
            Cow::Owned(format!("{}{path}", endpoint.as_str().trim_end_matches('/')))
        }
        _ => Cow::Borrowed(target),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue, LINK};
    use url::Url;

    use super::{LISTING_BYTES_MAX, Pages, check, next_page};
    use crate::api::TreeEntryJson;

    const GIT: &str = "0123456789012345678901234567890123456789";

    fn entry(path: &str, size: i64) -> TreeEntryJson {
        TreeEntryJson {
            kind: "file".into(),
            oid: GIT.into(),
            size,
            path: path.into(),
            lfs: None,
            xet_hash: None,
            last_commit: None,
        }
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

    #[test]
    fn given_entries_of_other_kinds_when_checked_then_passed_over() {
        for kind in ["unknown", "commit", "\u{1b}[31m"] {
            let mut other = entry("what/it/is", 0);
            other.kind = kind.into();
            other.oid = String::new();

            assert_eq!(1, check(vec![other, entry("a", 1)]).unwrap().len(), "{kind:?}");
        }
    }

    #[test]
    fn given_a_path_that_hides_what_it_is_when_refused_then_shown_escaped() {
        let mut hiding = entry("a\u{202e}gpj", 1);
        hiding.oid = "no id".into();

        let reason = check(vec![hiding]).unwrap_err();

        assert!(reason.contains("\\u{202e}") && !reason.contains('\u{202e}'), "{reason:?}");
    }

    #[test]
    fn given_paths_of_git_or_of_download_tools_when_checked_then_refused() {
        refused(vec![entry("sub/.Git/config", 1)], "git's own");
        refused(vec![entry(".cache/huggingface/download/a.metadata", 1)], "keep their notes");
    }

    #[test]
    fn given_pages_without_end_when_counted_then_refused() {
        let mut pages = Pages::default();
        let page_bytes = LISTING_BYTES_MAX / 8;

        assert!((0..8).all(|_| pages.admit(page_bytes).is_ok()));
        assert!(pages.admit(page_bytes).is_err());
        let mut pages = Pages::default();
        assert!((0..10_000).any(|_| pages.admit(1).is_err()));
    }

    const ENDPOINT: &str = "http://127.0.0.1:1/hub";
    const FROM: &str = "http://127.0.0.1:1/hub/api/models/a/b/tree/c";

    fn next(link: &[u8]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(LINK, HeaderValue::from_bytes(link).unwrap());
        let next = next_page(&Url::parse(ENDPOINT).unwrap(), &Url::parse(FROM).unwrap(), &headers)?;
        Ok(next.map(|url| url.to_string()))
    }

    #[test]
    fn given_a_link_in_any_form_when_read_then_the_next_page_is_found() {
        for link in [
            r#"<http://127.0.0.1:1/x?cursor=1,2;3>; rel="next""#,
            r#"</x?cursor=1,2;3>;rel=next"#,
            r#"<http://h/y>; rel="prev", , </x?cursor=1,2;3> ; title="a, \"b; rel=first" ; REL="last Next""#,
        ] {
            let expected = "http://127.0.0.1:1/x?cursor=1,2;3".to_owned();
            assert_eq!(Ok(Some(expected)), next(link.as_bytes()), "{link}");
        }
        for link in [r#"<http://h/y>; rel="prev""#, r#"<http://h/y>; title="rel=next""#, "", "rel=preload", "<a"] {
            assert_eq!(Ok(None), next(link.as_bytes()), "{link}");
        }
    }

    #[test]
    fn given_a_link_to_the_next_page_that_is_broken_when_read_then_refused() {
        for link in [
            r#"http://127.0.0.1:1/x; rel="next""#,
            r#"<http://127.0.0.1:1/x; rel="next""#,
            r#"<http://127.0.0.1:1/x>; rel="next"#,
            r#"<http://[/x>; rel="next""#,
            "<http://127.0.0.1:2/x>; rel=next",
            "<http://\u{fc}/x>; rel=next",
        ] {
            assert!(next(link.as_bytes()).is_err(), "{link}");
        }
    }

    #[test]
    fn given_a_link_to_the_public_hub_when_read_then_it_leads_to_the_endpoint() {
        let link = |host: &str| next(format!("<{host}/api/x?cursor=1>; rel=\"next\"").as_bytes());

        assert_eq!(Ok(Some(format!("{ENDPOINT}/api/x?cursor=1"))), link("https://huggingface.co"));
        assert!(link("https://huggingface.co.example").is_err());
        assert!(link("http://huggingface.co").is_err());
    }
}
