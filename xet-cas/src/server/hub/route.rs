//! Paths that hold the name of a repository, taken apart. Nothing from a path is used but through here.

use percent_encoding::percent_decode_str;

use super::super::refusal::Refusal;
use super::super::store::RepoKey;
use crate::RepoType;
use crate::api::check_path;

/// Longest branch, commit or ref name, bytes.
const REVISION_BYTES_MAX: usize = 240;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/api/{kind}/{repo}` and `/api/{kind}/{repo}/revision/{revision}`
    Info { repo: RepoKey, revision: Option<String> },
    /// `/api/{kind}/{repo}/tree/{revision}[/{folder}]`
    Tree { repo: RepoKey, revision: String, folder: String },
    /// `/api/{kind}/{repo}/xet-read-token/{revision}`
    ReadToken { repo: RepoKey, revision: String },
    /// `/api/{kind}/{repo}/xet-write-token/{revision}`: what the revision is does not matter.
    WriteToken { repo: RepoKey },
    /// `/api/{kind}/{repo}/preupload/{revision}`
    Preupload { repo: RepoKey, revision: String },
    /// `/api/{kind}/{repo}/commit/{branch}`
    Commit { repo: RepoKey, branch: String },
    /// `/api/{kind}/{repo}/branch/{branch}`
    Branch { repo: RepoKey, branch: String },
    /// `/api/{kind}/{repo}/discussions`
    Discussions { repo: RepoKey },
    /// `/api/{kind}/{repo}/discussions/{number}`
    Discussion { repo: RepoKey, number: u64 },
    /// `/{prefix}{repo}/resolve/{revision}/{path}`
    Resolve { repo: RepoKey, revision: String, path: String },
    /// `/{prefix}{repo}.git/info/lfs/objects/batch`
    LfsBatch { repo: RepoKey },
    /// `/{prefix}{repo}.git/info/lfs/objects/{oid}`
    LfsObject { repo: RepoKey, oid: String },
    /// `/{prefix}{repo}.git/info/lfs/verify`
    LfsVerify { repo: RepoKey },
}

impl Route {
    /// Takes the path of a URL apart, each segment decoded by itself: a revision is one segment, whatever
    /// slashes are in it.
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        let segments = path.strip_prefix('/').unwrap_or(path).split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["api", "models", rest @ ..] => Self::api(RepoType::Model, rest),
            ["api", "datasets", rest @ ..] => Self::api(RepoType::Dataset, rest),
            ["api", "spaces", rest @ ..] => Self::api(RepoType::Space, rest),
            ["api" | "cas", ..] => Err(unknown()),
            ["datasets", rest @ ..] => Self::resolve(RepoType::Dataset, rest),
            ["spaces", rest @ ..] => Self::resolve(RepoType::Space, rest),
            rest => Self::resolve(RepoType::Model, rest),
        }
    }

    fn api(kind: RepoType, segments: &[&str]) -> Result<Self, Refusal> {
        const WORDS: &[&str] =
            &["revision", "tree", "xet-read-token", "xet-write-token", "preupload", "commit", "branch"];
        let Some((name, word, [revision, rest @ ..])) = split(segments, WORDS) else {
            return match segments {
                [name @ .., "discussions"] if (1..=2).contains(&name.len()) => {
                    Ok(Self::Discussions { repo: repo(kind, name)? })
                }
                [name @ .., "discussions", number] if (1..=2).contains(&name.len()) => {
                    let number = number.parse().map_err(|_| unknown())?;
                    Ok(Self::Discussion { repo: repo(kind, name)?, number })
                }
                [_] | [_, _] => Ok(Self::Info { repo: repo(kind, segments)?, revision: None }),
                _ => Err(unknown()),
            };
        };
        let repo = repo(kind, name)?;
        if word == "tree" {
            let folder = rest.join("/");
            if !folder.is_empty() {
                check_path(&folder).map_err(|_| Refusal::entry_not_found(&repo.id, &folder))?;
            }
            return Ok(Self::Tree { revision: check_revision(&repo, revision)?, folder, repo });
        }
        if !rest.is_empty() {
            return Err(unknown());
        }
        if word == "xet-write-token" {
            return Ok(Self::WriteToken { repo });
        }
        let revision = check_revision(&repo, revision)?;
        match word {
            "revision" => Ok(Self::Info { repo, revision: Some(revision) }),
            "xet-read-token" => Ok(Self::ReadToken { repo, revision }),
            "preupload" => Ok(Self::Preupload { repo, revision }),
            "commit" => Ok(Self::Commit { repo, branch: revision }),
            "branch" => Ok(Self::Branch { repo, branch: revision }),
            _ => Err(unknown()),
        }
    }

    fn resolve(kind: RepoType, segments: &[&str]) -> Result<Self, Refusal> {
        if let Some((name, lfs)) = lfs(segments) {
            let repo = repo(kind, &name)?;
            return match lfs {
                ["objects", "batch"] => Ok(Self::LfsBatch { repo }),
                ["objects", oid] => Ok(Self::LfsObject { repo, oid: (*oid).to_owned() }),
                ["verify"] => Ok(Self::LfsVerify { repo }),
                _ => Err(unknown()),
            };
        }
        let Some((name, _, [revision, path @ ..])) = split(segments, &["resolve"]) else { return Err(unknown()) };
        let (repo, path) = (repo(kind, name)?, path.join("/"));
        check_path(&path).map_err(|_| Refusal::entry_not_found(&repo.id, &path))?;
        Ok(Self::Resolve { revision: check_revision(&repo, revision)?, path, repo })
    }
}

/// Finds the word behind a name of two parts or one, with something behind it.
fn split<'s, 'p>(segments: &'s [&'p str], words: &[&str]) -> Option<(&'s [&'p str], &'p str, &'s [&'p str])> {
    [2, 1].into_iter().find_map(|parts| {
        let (name, rest) = segments.split_at_checked(parts)?;
        let (word, rest) = rest.split_first()?;
        (words.contains(word) && !rest.is_empty()).then_some((name, *word, rest))
    })
}

/// The name of a repository that is addressed as one of git, and what is asked of its git-lfs.
fn lfs<'s, 'p>(segments: &'s [&'p str]) -> Option<(Vec<&'p str>, &'s [&'p str])> {
    [2, 1].into_iter().find_map(|parts| {
        let (name, rest) = segments.split_at_checked(parts)?;
        let (last, owner) = name.split_last()?;
        let name = [owner, &[last.strip_suffix(".git")?]].concat();
        match rest {
            ["info", "lfs", lfs @ ..] => Some((name, lfs)),
            _ => None,
        }
    })
}

fn repo(kind: RepoType, name: &[&str]) -> Result<RepoKey, Refusal> {
    let name = name.join("/");
    let id = name.parse().map_err(|_| Refusal::repo_not_found(&name))?;
    Ok(RepoKey { kind, id })
}

fn check_revision(repo: &RepoKey, revision: &str) -> Result<String, Refusal> {
    if revision.len() > REVISION_BYTES_MAX || check_path(revision).is_err() {
        return Err(Refusal::revision_not_found(&repo.id, revision));
    }
    Ok(revision.to_owned())
}

fn decode(segment: &str) -> Result<String, Refusal> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| Refusal::bad_request("the path is not UTF-8"))
}

fn unknown() -> Refusal {
    Refusal::not_found("this origin has no such route")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: RepoType, name: &str) -> RepoKey {
        RepoKey { kind, id: name.parse().unwrap() }
    }

    fn refused(path: &str, code: &str) {
        assert_eq!(code, Route::parse(path).unwrap_err().code, "{path}");
    }

    #[test]
    fn given_names_with_and_without_owner_when_parsed_then_told_apart() {
        let (owned, bare) = (key(RepoType::Model, "lab/tiny"), key(RepoType::Model, "gpt2"));
        let revision = || "main".to_owned();

        for (path, repo) in [("/api/models/lab/tiny", &owned), ("/api/models/gpt2", &bare)] {
            assert_eq!(Route::Info { repo: repo.clone(), revision: None }, Route::parse(path).unwrap());
            let tree = Route::Tree { repo: repo.clone(), revision: revision(), folder: "a/b".into() };
            assert_eq!(tree, Route::parse(&format!("{path}/tree/main/a/b")).unwrap());
            let commit = Route::Commit { repo: repo.clone(), branch: revision() };
            assert_eq!(commit, Route::parse(&format!("{path}/commit/main")).unwrap());
        }
        let named_tree = Route::Info { repo: bare, revision: Some("tree".into()) };
        assert_eq!(named_tree, Route::parse("/api/models/gpt2/revision/tree").unwrap());
    }

    #[test]
    fn given_anything_called_discussions_when_parsed_then_only_those_of_a_repository_are_meant() {
        let (owned, bare) = (key(RepoType::Model, "lab/tiny"), key(RepoType::Model, "gpt2"));
        for (path, repo) in [("/api/models/lab/tiny", owned), ("/api/models/gpt2", bare)] {
            let (revision, folder) = ("main".to_owned(), "discussions".to_owned());
            let tree = Route::Tree { repo: repo.clone(), revision, folder };
            assert_eq!(tree, Route::parse(&format!("{path}/tree/main/discussions")).unwrap());
            let branch = Route::Branch { repo: repo.clone(), branch: "discussions".into() };
            assert_eq!(branch, Route::parse(&format!("{path}/branch/discussions")).unwrap());
            let discussions = Route::Discussions { repo: repo.clone() };
            assert_eq!(discussions, Route::parse(&format!("{path}/discussions")).unwrap());
            let discussion = Route::Discussion { repo: repo.clone(), number: 5 };
            assert_eq!(discussion, Route::parse(&format!("{path}/discussions/5")).unwrap());
        }
    }

    #[test]
    fn given_a_repository_of_git_when_parsed_then_its_lfs_is_meant() {
        for (path, repo) in [
            ("/lab/tiny.git", key(RepoType::Model, "lab/tiny")),
            ("/gpt2.git", key(RepoType::Model, "gpt2")),
            ("/datasets/lab/tiny.git", key(RepoType::Dataset, "lab/tiny")),
        ] {
            let batch = Route::parse(&format!("{path}/info/lfs/objects/batch")).unwrap();
            assert_eq!(Route::LfsBatch { repo: repo.clone() }, batch);
            let object = Route::parse(&format!("{path}/info/lfs/objects/abc")).unwrap();
            assert_eq!(Route::LfsObject { repo: repo.clone(), oid: "abc".into() }, object);
            assert_eq!(Route::LfsVerify { repo }, Route::parse(&format!("{path}/info/lfs/verify")).unwrap());
            refused(&format!("{path}/info/lfs/locks"), "NotFound");
            refused(&format!("{path}/info/refs"), "NotFound");
        }
        refused("/lab/.git/info/lfs/objects/batch", "RepoNotFound");
    }

    #[test]
    fn given_escapes_when_parsed_then_decoded_after_splitting() {
        let repo = key(RepoType::Dataset, "lab/tiny");

        let resolve = Route::parse("/datasets/lab/tiny/resolve/refs%2Fpr%2F1/a%20b/%E6%A8%A1.txt").unwrap();

        assert_eq!(Route::Resolve { repo, revision: "refs/pr/1".into(), path: "a b/模.txt".into() }, resolve);
    }

    #[test]
    fn given_paths_that_lead_elsewhere_when_parsed_then_refused() {
        refused("/api/models/../x/tree/main", "RepoNotFound");
        refused("/api/models/%2e%2e/tree/main", "RepoNotFound");
        refused("/api/models/lab/a%2Fb/revision/main", "RepoNotFound");
        refused("/api/models/lab/tiny/revision/..", "RevisionNotFound");
        refused("/api/models/lab/tiny/revision/%2e%2e%2f%2e%2e%2fmain", "RevisionNotFound");
        refused("/api/models/lab/tiny/revision/a%00b", "RevisionNotFound");
        refused(&format!("/api/models/lab/tiny/revision/{}", "x".repeat(241)), "RevisionNotFound");
        refused("/lab/tiny/resolve/main/../../etc/passwd", "EntryNotFound");
        refused("/lab/tiny/resolve/main/%2Fetc%2Fpasswd", "EntryNotFound");
        refused("/lab/tiny/resolve/main/a%5Cb", "EntryNotFound");
        refused("/lab/tiny/resolve/main//a", "EntryNotFound");
        refused("/lab/tiny/resolve/main/%ff", "BadRequest");
        refused("/api/models/lab/tiny/unknown/main", "NotFound");
        refused("/", "NotFound");
    }
}
