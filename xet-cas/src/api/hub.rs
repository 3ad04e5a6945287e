//! JSON and headers of the Hub.

use serde::{Deserialize, Serialize};

/// Says which kind of error a 4xx answer is.
pub(crate) const ERROR_CODE_HEADER: &str = "x-error-code";
/// Human form of the error.
pub(crate) const ERROR_MESSAGE_HEADER: &str = "x-error-message";
/// The commit that a resolved file belongs to.
pub(crate) const REPO_COMMIT_HEADER: &str = "x-repo-commit";

/// Values of [`ERROR_CODE_HEADER`].
pub(crate) mod error_code {
    pub(crate) const REPO_NOT_FOUND: &str = "RepoNotFound";
    pub(crate) const REVISION_NOT_FOUND: &str = "RevisionNotFound";
    pub(crate) const ENTRY_NOT_FOUND: &str = "EntryNotFound";
    pub(crate) const GATED_REPO: &str = "GatedRepo";
}

/// Answer of `GET /api/{type}/{repo}/revision/{rev}`, as far as it is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RevisionAnswer {
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) sha: String,
}

/// The same answer, for who wants to know who may read the repository.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RepoStateAnswer {
    pub(crate) sha: String,
    #[serde(default)]
    pub(crate) private: bool,
    #[serde(default)]
    pub(crate) gated: GatedJson,
}

/// `false`, `"auto"` or `"manual"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum GatedJson {
    Flag(bool),
    Kind(String),
}

impl Default for GatedJson {
    fn default() -> Self {
        Self::Flag(false)
    }
}

/// Answer of `GET /api/{type}/{repo}/refs`, as far as it is used.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RefsAnswer {
    #[serde(default)]
    pub(crate) branches: Vec<RefJson>,
    #[serde(default)]
    pub(crate) tags: Vec<RefJson>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RefJson {
    #[serde(rename = "ref")]
    pub(crate) full_name: String,
    #[serde(rename = "targetCommit")]
    pub(crate) sha: String,
}

/// One element of `GET /api/{type}/{repo}/commits/{rev}`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CommitJson {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) authors: Vec<CommitAuthorJson>,
    #[serde(default)]
    pub(crate) date: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CommitAuthorJson {
    #[serde(default)]
    pub(crate) user: String,
}

/// One element of `GET /api/{type}/{repo}/tree/{rev}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TreeEntryJson {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) oid: String,
    #[serde(default)]
    pub(crate) size: i64,
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lfs: Option<LfsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) xet_hash: Option<String>,
    /// What changed it last, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_commit: Option<LastCommitJson>,
}

/// A commit, as a listing of files tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastCommitJson {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) date: String,
}

/// What the tree says of a large file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LfsJson {
    /// SHA-256, hex.
    pub(crate) oid: String,
    pub(crate) size: i64,
    #[serde(default)]
    pub(crate) pointer_size: i64,
}

/// Body of `POST /api/{type}/{repo}/preupload/{rev}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PreuploadRequest {
    pub(crate) files: Vec<PreuploadFile>,
    /// Content of a `.gitattributes` that is uploaded along, so that it counts at once.
    #[serde(rename = "gitAttributes", default, skip_serializing_if = "Option::is_none")]
    pub(crate) git_attributes: Option<String>,
    /// Content of a `.gitignore` that is uploaded along.
    #[serde(rename = "gitIgnore", default, skip_serializing_if = "Option::is_none")]
    pub(crate) git_ignore: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PreuploadFile {
    pub(crate) path: String,
    /// First 512 bytes, base64.
    pub(crate) sample: String,
    pub(crate) size: u64,
}

/// Answer of preupload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PreuploadAnswer {
    pub(crate) files: Vec<PreuploadMode>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PreuploadMode {
    pub(crate) path: String,
    pub(crate) upload_mode: UploadMode,
    #[serde(default)]
    pub(crate) should_ignore: bool,
    /// What the repository has at this path: SHA-256 or git SHA-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oid: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UploadMode {
    /// In the commit itself.
    Regular,
    /// Through Xet.
    Lfs,
}

/// One line of `POST /api/{type}/{repo}/commit/{rev}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
pub(crate) enum CommitLine {
    #[serde(rename_all = "camelCase")]
    Header {
        summary: String,
        #[serde(default)]
        description: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_commit: Option<String>,
    },
    File {
        content: String,
        path: String,
        encoding: String,
    },
    LfsFile {
        path: String,
        algo: String,
        oid: String,
        /// Not stated by clients that copy a file.
        #[serde(default)]
        size: u64,
    },
    DeletedFile {
        path: String,
    },
    DeletedFolder {
        path: String,
    },
}

/// Answer of a commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommitAnswer {
    pub(crate) success: bool,
    pub(crate) commit_oid: String,
    #[serde(default)]
    pub(crate) commit_url: String,
    /// The page of the pull request that was opened, if one was asked for; its number stands at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pull_request_url: Option<String>,
}

/// Body of `POST /api/repos/create`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CreateRepoRequest {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) organization: Option<String>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// Not said: as the owner has it by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) private: Option<bool>,
    /// The newer form of `private`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) visibility: Option<String>,
    /// What a space is made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sdk: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CreateRepoAnswer {
    pub(crate) url: String,
}
