//! Paths that hold the name of a repository, taken apart. Nothing from a path is used but through here.

use percent_encoding::percent_decode_str;

use super::super::refusal::Refusal;
use super::super::store::RepoKey;
use crate::RepoType;
use crate::api::check_path;

/// Longest branch, commit or ref name, bytes.
const REVISION_BYTES_MAX: usize = 240;
/// What can stand behind the name of a repository with something behind it.
const WORDS: &[&str] = &[
    "revision",
    "tree",
    "paths-info",
    "commits",
    "compare",
    "xet-read-token",
    "xet-write-token",
    "preupload",
    "commit",
    "lfs-files",
    "branch",
    "tag",
    "super-squash",
    "auth-check",
    "user-access-request",
    "discussions",
];
/// What can end a path.
const BARE_WORDS: &[&str] = &["refs", "settings", "auth-check", "discussions"];

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/api/{kind}`
    Repos { kind: RepoType },
    /// `/api/{kind}/{repo}` and `/api/{kind}/{repo}/revision/{revision}`
    Info { repo: RepoKey, revision: Option<String> },
    /// `/api/{kind}/{repo}/tree/{revision}[/{folder}]`
    Tree { repo: RepoKey, revision: String, folder: String },
    /// `/api/{kind}/{repo}/paths-info/{revision}`
    PathsInfo { repo: RepoKey, revision: String },
    /// `/api/{kind}/{repo}/commits/{revision}`
    History { repo: RepoKey, revision: String },
    /// `/api/{kind}/{repo}/compare/{from}..{to}`
    Compare { repo: RepoKey, from: String, to: String },
    /// `/api/{kind}/{repo}/xet-read-token/{revision}`
    ReadToken { repo: RepoKey, revision: String },
    /// `/api/{kind}/{repo}/xet-write-token/{revision}`: the revision need not be there.
    WriteToken { repo: RepoKey, revision: String },
    /// `/api/{kind}/{repo}/preupload/{revision}`
    Preupload { repo: RepoKey, revision: String },
    /// `/api/{kind}/{repo}/commit/{branch}`
    Commit { repo: RepoKey, branch: String },
    /// `/api/{kind}/{repo}/lfs-files/duplicate`
    Duplicate { repo: RepoKey },
    /// `/api/{kind}/{repo}/refs`
    Refs { repo: RepoKey },
    /// `/api/{kind}/{repo}/branch/{branch}`
    Branch { repo: RepoKey, branch: String },
    /// `/api/{kind}/{repo}/tag/{name}`: the tag to delete, or the revision to tag.
    Tag { repo: RepoKey, name: String },
    /// `/api/{kind}/{repo}/super-squash/{branch}`
    Squash { repo: RepoKey, branch: String },
    /// `/api/{kind}/{repo}/settings`
    Settings { repo: RepoKey },
    /// `/api/{kind}/{repo}/auth-check[/write]`
    AuthCheck { repo: RepoKey, is_write: bool },
    /// `/api/{kind}/{repo}/user-access-request/{what}`
    AccessRequests { repo: RepoKey, what: String },
    /// `/api/{kind}/{repo}/discussions`
    Discussions { repo: RepoKey },
    /// `/api/{kind}/{repo}/discussions/{number}`
    Discussion { repo: RepoKey, number: u64 },
    /// `/api/{kind}/{repo}/discussions/{number}/{step}`
    DiscussionStep { repo: RepoKey, number: u64, step: Step },
    /// `/{prefix}{repo}/resolve/{revision}/{path}`
    Resolve { repo: RepoKey, revision: String, path: String },
    /// `/{prefix}{repo}.git/info/lfs/objects/batch`
    LfsBatch { repo: RepoKey },
    /// `/{prefix}{repo}.git/info/lfs/objects/{oid}`
    LfsObject { repo: RepoKey, oid: String },
    /// `/{prefix}{repo}.git/info/lfs/verify`
    LfsVerify { repo: RepoKey },
    /// `/{prefix}{repo}/raw/{revision}/{path}`
    Raw { repo: RepoKey, revision: String, path: String },
}

/// What is done to a discussion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// `comment`
    Comment,
    /// `comment/{id}/edit`
    EditComment(String),
    /// `comment/{id}/hide`
    HideComment(String),
    /// `title`
    Title,
    /// `status`
    Status,
    /// `merge`
    Merge,
}

impl Step {
    fn parse(segments: &[&str]) -> Option<Self> {
        Some(match segments {
            ["comment"] => Self::Comment,
            ["comment", id, "edit"] => Self::EditComment((*id).to_owned()),
            ["comment", id, "hide"] => Self::HideComment((*id).to_owned()),
            ["title"] => Self::Title,
            ["status"] => Self::Status,
            ["merge"] => Self::Merge,
            _ => return None,
        })
    }
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
            ["datasets", rest @ ..] => Self::file(RepoType::Dataset, rest),
            ["spaces", rest @ ..] => Self::file(RepoType::Space, rest),
            rest => Self::file(RepoType::Model, rest),
        }
    }

    fn api(kind: RepoType, segments: &[&str]) -> Result<Self, Refusal> {
        if segments.is_empty() {
            return Ok(Self::Repos { kind });
        }
        // What has something behind it comes first: a branch can be called `refs`. A repository without an owner
        // is asked for its refs under the name that a repository `refs` of that owner would have.
        if let Some((name, word, [first, rest @ ..])) = split(segments, WORDS) {
            return Self::with_argument(repo(kind, name)?, word, first, rest);
        }
        match segments {
            [name @ .., word] if (1..=2).contains(&name.len()) && BARE_WORDS.contains(word) => {
                let repo = repo(kind, name)?;
                match *word {
                    "refs" => Ok(Self::Refs { repo }),
                    "settings" => Ok(Self::Settings { repo }),
                    "auth-check" => Ok(Self::AuthCheck { repo, is_write: false }),
                    "discussions" => Ok(Self::Discussions { repo }),
                    _ => Err(unknown()),
                }
            }
            [_] | [_, _] => Ok(Self::Info { repo: repo(kind, segments)?, revision: None }),
            _ => Err(unknown()),
        }
    }

    fn with_argument(repo: RepoKey, word: &str, first: &str, rest: &[&str]) -> Result<Self, Refusal> {
        match (word, rest) {
            ("tree", folder) => {
                let folder = folder.join("/");
                if !folder.is_empty() {
                    check_path(&folder).map_err(|_| Refusal::entry_not_found(&repo.id, &folder))?;
                }
                Ok(Self::Tree { revision: check_revision(&repo, first)?, folder, repo })
            }
            ("discussions", steps) => {
                let number = first.parse().map_err(|_| unknown())?;
                match (steps, Step::parse(steps)) {
                    ([], _) => Ok(Self::Discussion { repo, number }),
                    (_, Some(step)) => Ok(Self::DiscussionStep { repo, number, step }),
                    (_, None) => Err(unknown()),
                }
            }
            ("auth-check", []) if first == "write" => Ok(Self::AuthCheck { repo, is_write: true }),
            ("lfs-files", []) if first == "duplicate" => Ok(Self::Duplicate { repo }),
            ("user-access-request", []) => Ok(Self::AccessRequests { repo, what: first.to_owned() }),
            ("xet-write-token", []) => Ok(Self::WriteToken { repo, revision: first.to_owned() }),
            ("compare", []) => {
                let (from, to) = first
                    .split_once("..")
                    .ok_or_else(|| Refusal::bad_request("what is compared is written `from..to`"))?;
                // Three dots would begin where the two have parted; here they begin at `from` itself.
                let to = to.strip_prefix('.').unwrap_or(to);
                Ok(Self::Compare { from: check_revision(&repo, from)?, to: check_revision(&repo, to)?, repo })
            }
            (_, []) => {
                let revision = check_revision(&repo, first)?;
                match word {
                    "revision" => Ok(Self::Info { repo, revision: Some(revision) }),
                    "paths-info" => Ok(Self::PathsInfo { repo, revision }),
                    "commits" => Ok(Self::History { repo, revision }),
                    "xet-read-token" => Ok(Self::ReadToken { repo, revision }),
                    "preupload" => Ok(Self::Preupload { repo, revision }),
                    "commit" => Ok(Self::Commit { repo, branch: revision }),
                    "branch" => Ok(Self::Branch { repo, branch: revision }),
                    "tag" => Ok(Self::Tag { repo, name: revision }),
                    "super-squash" => Ok(Self::Squash { repo, branch: revision }),
                    _ => Err(unknown()),
                }
            }
            _ => Err(unknown()),
        }
    }

    /// A file in a repository.
    fn file(kind: RepoType, segments: &[&str]) -> Result<Self, Refusal> {
        if let Some((name, lfs)) = lfs(segments) {
            let repo = repo(kind, &name)?;
            return match lfs {
                ["objects", "batch"] => Ok(Self::LfsBatch { repo }),
                ["objects", oid] => Ok(Self::LfsObject { repo, oid: (*oid).to_owned() }),
                ["verify"] => Ok(Self::LfsVerify { repo }),
                _ => Err(unknown()),
            };
        }
        let Some((name, word, [revision, path @ ..])) = split(segments, &["resolve", "raw"]) else {
            return Err(unknown());
        };
        let (repo, path) = (repo(kind, name)?, path.join("/"));
        check_path(&path).map_err(|_| Refusal::entry_not_found(&repo.id, &path))?;
        let revision = check_revision(&repo, revision)?;
        Ok(if word == "raw" { Self::Raw { repo, revision, path } } else { Self::Resolve { repo, revision, path } })
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

/// A revision as a client names it, in a path or in a body.
pub(super) fn check_revision(repo: &RepoKey, revision: &str) -> Result<String, Refusal> {
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
    fn given_every_word_when_parsed_then_for_repositories_with_and_without_owner() {
        let (owned, bare) = (key(RepoType::Space, "lab/tiny"), key(RepoType::Space, "gpt2"));
        for (path, repo) in [("/api/spaces/lab/tiny", owned), ("/api/spaces/gpt2", bare)] {
            let (repo, main) = (|| repo.clone(), || "main".to_owned());
            let comment = |step| Route::DiscussionStep { repo: repo(), number: 5, step };
            for (rest, route) in [
                ("paths-info/main", Route::PathsInfo { repo: repo(), revision: main() }),
                ("commits/main", Route::History { repo: repo(), revision: main() }),
                ("compare/v1..main", Route::Compare { repo: repo(), from: "v1".into(), to: main() }),
                ("compare/v1...main", Route::Compare { repo: repo(), from: "v1".into(), to: main() }),
                ("lfs-files/duplicate", Route::Duplicate { repo: repo() }),
                ("refs", Route::Refs { repo: repo() }),
                ("branch/refs", Route::Branch { repo: repo(), branch: "refs".into() }),
                ("tag/v1.0", Route::Tag { repo: repo(), name: "v1.0".into() }),
                ("super-squash/main", Route::Squash { repo: repo(), branch: main() }),
                ("settings", Route::Settings { repo: repo() }),
                ("auth-check", Route::AuthCheck { repo: repo(), is_write: false }),
                ("auth-check/write", Route::AuthCheck { repo: repo(), is_write: true }),
                ("user-access-request/grant", Route::AccessRequests { repo: repo(), what: "grant".into() }),
                ("discussions/5/comment", comment(Step::Comment)),
                ("discussions/5/comment/0a/edit", comment(Step::EditComment("0a".into()))),
                ("discussions/5/comment/0a/hide", comment(Step::HideComment("0a".into()))),
                ("discussions/5/title", comment(Step::Title)),
                ("discussions/5/status", comment(Step::Status)),
                ("discussions/5/merge", comment(Step::Merge)),
            ] {
                assert_eq!(route, Route::parse(&format!("{path}/{rest}")).unwrap());
            }
        }
        assert_eq!(Route::Repos { kind: RepoType::Dataset }, Route::parse("/api/datasets").unwrap());
        let raw = Route::Raw { repo: key(RepoType::Model, "lab/tiny"), revision: "main".into(), path: "a/b".into() };
        assert_eq!(raw, Route::parse("/lab/tiny/raw/main/a/b").unwrap());
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
        refused("/lab/tiny/raw/main/../x", "EntryNotFound");
        refused("/lab/%2e%2e/raw/main/x", "RepoNotFound");
        refused("/api/models/lab/tiny/paths-info/%2e%2e", "RevisionNotFound");
        refused("/api/models/lab/tiny/commits/a%2F%2Fb", "RevisionNotFound");
        refused("/api/models/lab/tiny/tag/%2e%2e%2Fx", "RevisionNotFound");
        refused("/api/models/lab/tiny/branch/a%5Cb", "RevisionNotFound");
        refused("/api/models/lab/tiny/super-squash/%00", "RevisionNotFound");
        refused("/api/models/lab/tiny/compare/..%2F..main", "RevisionNotFound");
        refused("/api/models/lab/tiny/compare/main", "BadRequest");
        refused("/api/models/../tiny/refs", "RepoNotFound");
        refused("/api/models/lab/a%2Fb/settings", "RepoNotFound");
        refused("/api/models/", "RepoNotFound");
        refused("/api/models/lab/tiny/discussions/1/burn", "NotFound");
        refused("/api/models/lab/tiny/discussions/-1/merge", "NotFound");
        refused("/api/models/lab/tiny/auth-check/read", "NotFound");
        refused("/api/models/lab/tiny/lfs-files/x", "NotFound");
        refused("/api/models/lab/tiny/unknown/main", "NotFound");
        refused("/", "NotFound");
    }
}
