"""What `huggingface_hub` offers besides uploads and downloads of folders, called at a zest origin.

Run by clients.py with the client's own Python, which is told by HF_ENDPOINT where the origin is. Prints a line for
every promise kept and exits 1 at the first that is not.
"""

import io
import random
import sys
import warnings
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    ModelCard,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from lab import check, main_with_cleanup, passed

KINDS = ["model", "dataset", "space"]
# Larger than what a commit takes along, so that it goes through Xet.
LARGE_BYTES = 11 * 1024 * 1024
# More than one page of the listing of repositories holds when so many are asked for.
REPOS = 7
PAGE_REPOS = 3
# Shown of an error: some hold the whole file.
TEXT_CHARACTERS_MAX = 1_000

api = HfApi()


def main():
    # That what was hidden cannot be seen again, for one.
    warnings.simplefilter("ignore", UserWarning)
    for kind in KINDS:
        repositories(kind)
        branches_and_tags(kind)
        commits(kind)
        contents(kind)
        pull_requests(kind)
        missing(kind)
    listings()
    conflicts()
    copies()
    squash()
    cards()
    file_system()


def create(name, kind="model", **more):
    sdk = {"space_sdk": "static"} if kind == "space" else {}
    return api.create_repo(f"lab/{name}", repo_type=kind, **sdk, **more).repo_id


def put(repo, kind="model", message="a commit", **files):
    """Commits files whose names have `_` for `.`."""
    operations = [CommitOperationAdd(name.replace("_", "."), content.encode()) for name, content in files.items()]
    return api.create_commit(repo, operations, commit_message=message, repo_type=kind)


def refused(error, call, *args, status=None, says="", **more):
    """The error of this very class, or of one below it, which the call must raise."""
    try:
        call(*args, **more)
    except error as raised:
        found = getattr(raised, "response", None)
        found = found.status_code if found is not None else None
        check(status in (None, found), f"{call.__name__}: status {found}, and not {status}: {raised}")
        check(says in str(raised), f"{call.__name__}: does not say {says!r}: {raised}")
        return raised
    except Exception as other:
        text = str(other)[:TEXT_CHARACTERS_MAX]
        check(False, f"{call.__name__}: {type(other).__name__}, and not {error.__name__}: {text}")
    check(False, f"{call.__name__}: no error, and not {error.__name__}")


def same(found, expected, what):
    check(found == expected, f"{what}: {found!r}, and not {expected!r}")


def repositories(kind):
    repo = create("made", kind)
    url = api.create_repo(repo, repo_type=kind, exist_ok=True, space_sdk="static")
    same((url.repo_id, url.repo_type), (repo, kind), "create_repo of what exists")
    refused(HfHubHTTPError, create, "made", kind, status=409)
    check(api.repo_exists(repo, repo_type=kind), "repo_exists: no")
    for other in KINDS:
        if other != kind:
            check(not api.repo_exists(repo, repo_type=other), f"repo_exists: also as {other}")
    api.auth_check(repo, repo_type=kind)
    put(repo, kind, a_txt="a")

    api.move_repo(repo, "lab/moved", repo_type=kind)
    same(api.repo_info("lab/moved", repo_type=kind).id, "lab/moved", "repo_info of a repository that was moved")
    same(api.repo_info(repo, repo_type=kind).id, "lab/moved", "repo_info by the old name")
    same(text(repo, "a.txt", kind), "a", "a file by the old name of its repository")
    put(repo, kind, b_txt="b")
    same(text("lab/moved", "b.txt", kind), "b", "a file that was committed by the old name")
    create("taken", kind)
    refused(HfHubHTTPError, api.move_repo, "lab/moved", "lab/taken", repo_type=kind, status=409)
    refused(RepositoryNotFoundError, api.move_repo, "lab/none", "lab/other", repo_type=kind)

    for name in ["lab/moved", "lab/taken"]:
        api.delete_repo(name, repo_type=kind)
        check(not api.repo_exists(name, repo_type=kind), f"{name} is still there")
    check(not api.repo_exists(repo, repo_type=kind), "the old name of a deleted repository is still there")
    refused(RepositoryNotFoundError, api.delete_repo, "lab/taken", repo_type=kind)
    api.delete_repo("lab/taken", repo_type=kind, missing_ok=True)
    passed(f"{kind}: create, exists, auth_check, move (the old name stays good), delete")


def text(repo, path, kind="model", revision=None):
    return Path(hf_hub_download(repo, path, repo_type=kind, revision=revision)).read_text()


def branches_and_tags(kind):
    repo = create("refs", kind)
    first = put(repo, kind, a_txt="1").oid
    second = put(repo, kind, a_txt="2").oid
    options = {"repo_type": kind}

    api.create_branch(repo, branch="dev/x", revision=first, **options)
    refused(HfHubHTTPError, api.create_branch, repo, branch="dev/x", status=409, **options)
    api.create_branch(repo, branch="dev/x", exist_ok=True, **options)
    api.create_branch(repo, branch="other", **options)
    refused(RevisionNotFoundError, api.create_branch, repo, branch="y", revision="none", **options)
    refused(HfHubHTTPError, api.create_branch, repo, branch="refs/pr/7", **options)
    api.create_tag(repo, tag="v1.0", revision=first, tag_message="one", **options)
    api.create_tag(repo, tag="latest", **options)
    refused(HfHubHTTPError, api.create_tag, repo, tag="v1.0", status=409, **options)
    api.create_tag(repo, tag="v1.0", exist_ok=True, **options)
    refused(RevisionNotFoundError, api.create_tag, repo, tag="v2", revision="none", **options)

    refs = api.list_repo_refs(repo, include_pull_requests=True, **options)
    shown = {each.ref: (each.name, each.target_commit) for each in [*refs.branches, *refs.tags]}
    expected = {
        "refs/heads/dev/x": ("dev/x", first),
        "refs/heads/main": ("main", second),
        "refs/heads/other": ("other", second),
        "refs/tags/latest": ("latest", second),
        "refs/tags/v1.0": ("v1.0", first),
    }
    same(shown, expected, "list_repo_refs")
    same((refs.converts, refs.pull_requests), ([], []), "list_repo_refs: other refs")
    same(api.list_repo_refs(repo, **options).pull_requests, None, "list_repo_refs: pull requests")

    api.upload_file(path_or_fileobj=b"3", path_in_repo="a.txt", repo_id=repo, revision="dev/x", **options)
    for revision, content in [("main", "2"), ("dev/x", "3"), ("v1.0", "1"), ("latest", "2"), (first, "1")]:
        same(text(repo, "a.txt", kind, revision), content, f"the file at {revision}")
        check(api.revision_exists(repo, revision, **options), f"revision_exists: {revision}: no")
    check(not api.revision_exists(repo, "none", **options), "revision_exists: none: yes")
    refused(HfHubHTTPError, api.upload_file, path_or_fileobj=b"4", path_in_repo="a.txt", repo_id=repo,
            revision="v1.0", **options)

    api.delete_branch(repo, branch="dev/x", **options)
    api.delete_tag(repo, tag="v1.0", **options)
    for revision in ["dev/x", "v1.0"]:
        check(not api.revision_exists(repo, revision, **options), f"{revision} is still there")
    refused(RevisionNotFoundError, api.delete_branch, repo, branch="dev/x", **options)
    refused(RevisionNotFoundError, api.delete_tag, repo, tag="v1.0", **options)
    refused(HfHubHTTPError, api.delete_branch, repo, branch="main", status=403, **options)
    same(text(repo, "a.txt", kind, first), "1", "the file at a commit whose tag is gone")
    passed(f"{kind}: branches and tags: create, list, read, commit to, delete")


def commits(kind):
    repo = create("commits", kind)
    for number in range(3):
        api.create_commit(
            repo,
            [CommitOperationAdd(f"{number}.txt", str(number).encode())],
            commit_message=f"title {number}",
            commit_description=f"body <{number}>",
            repo_type=kind,
        )
    history = api.list_repo_commits(repo, repo_type=kind, formatted=True)
    same([each.title for each in history], ["title 2", "title 1", "title 0", "initial commit"], "list_repo_commits")
    same(history[0].message, "body <2>", "a commit's message")
    check(history[0].formatted_title and "&lt;2&gt;" in history[0].formatted_message, f"formatted: {history[0]}")
    check(history[0].authors and history[0].created_at >= history[1].created_at, f"a commit: {history[0]}")
    older = api.list_repo_commits(repo, repo_type=kind, revision=history[1].commit_id)
    same([each.commit_id for each in older], [each.commit_id for each in history[1:]], "the history of a commit")
    refused(RevisionNotFoundError, api.list_repo_commits, repo, repo_type=kind, revision="none")

    operations = [
        CommitOperationDelete("0.txt"),
        CommitOperationAdd("folder/a.txt", b"a"),
        CommitOperationAdd("folder/sub/b.txt", b"b"),
        CommitOperationCopy("1.txt", "copies/1.txt"),
    ]
    api.create_commit(repo, operations, commit_message="several", repo_type=kind)
    files = api.list_repo_files(repo, repo_type=kind)
    same(sorted(files), ["1.txt", "2.txt", "copies/1.txt", "folder/a.txt", "folder/sub/b.txt"], "list_repo_files")
    api.delete_file("1.txt", repo, repo_type=kind)
    api.delete_folder("folder", repo, repo_type=kind)
    same(sorted(api.list_repo_files(repo, repo_type=kind)), ["2.txt", "copies/1.txt"], "list_repo_files after deletes")
    same(text(repo, "copies/1.txt", kind), "1", "a file that was copied")
    refused(EntryNotFoundError, api.delete_file, "none.txt", repo, repo_type=kind)
    refused(EntryNotFoundError, api.delete_folder, "none", repo, repo_type=kind)
    passed(f"{kind}: history, deletes, copies")


def contents(kind):
    repo = create("contents", kind)
    large = random.Random(kind).randbytes(LARGE_BYTES)
    put(repo, kind, "first", top_txt="top", **{"a/b_txt": "b", "a/c/d_txt": "d"})
    add = [CommitOperationAdd("a/large.bin", large)]
    commit = api.create_commit(repo, add, commit_message="second", repo_type=kind).oid
    options = {"repo_type": kind}

    info = api.repo_info(repo, files_metadata=True, **options)
    same((info.id, info.sha, info.author), (repo, commit, "lab"), "repo_info")
    same((info.private, info.disabled, info.gated), (False, False, False), "repo_info")
    check(info.created_at <= info.last_modified, f"repo_info: {info.created_at}, {info.last_modified}")
    siblings = {each.rfilename: each for each in info.siblings}
    same(sorted(siblings), ["a/b.txt", "a/c/d.txt", "a/large.bin", "top.txt"], "siblings")
    same((siblings["top.txt"].size, siblings["top.txt"].lfs), (3, None), "a small sibling")
    lfs = siblings["a/large.bin"].lfs
    check(lfs and lfs.size == LARGE_BYTES and len(lfs.sha256) == 64 and lfs.pointer_size > 100, f"a sibling: {lfs}")
    if kind != "space":
        same((info.downloads, info.likes), (0, 0), "repo_info: counts")
    plain = api.repo_info(repo, revision=commit, **options)
    same({each.size for each in plain.siblings}, {None}, "sizes that were not asked for")
    expanded = api.repo_info(repo, expand=["sha", "lastModified"], **options)
    same((expanded.sha, expanded.siblings, expanded.private), (commit, None, None), "repo_info with expand")
    used = api.repo_info(repo, expand=["usedStorage"], **options).__dict__
    check(used.get("used_storage", used.get("usedStorage")) >= LARGE_BYTES, f"usedStorage: {used}")

    tree = {each.path: each for each in api.list_repo_tree(repo, recursive=True, expand=True, **options)}
    same(sorted(tree), ["a", "a/b.txt", "a/c", "a/c/d.txt", "a/large.bin", "top.txt"], "list_repo_tree")
    titles = {path: each.last_commit.title for path, each in tree.items()}
    expected = dict.fromkeys(tree, "first") | {"a": "second", "a/large.bin": "second"}
    same(titles, expected, "last commits")
    same(tree["a/large.bin"].last_commit.oid, commit, "a last commit's name")
    flat = [each.path for each in api.list_repo_tree(repo, "a", **options)]
    same(flat, ["a/b.txt", "a/c", "a/large.bin"], "list_repo_tree of a folder")
    infos = api.get_paths_info(repo, ["a/c", "top.txt", "none", "a/large.bin"], expand=True, **options)
    found = {each.path: each.last_commit.title for each in infos}
    same(found, {"a/c": "first", "top.txt": "first", "a/large.bin": "second"}, "get_paths_info")
    check(api.get_paths_info(repo, "top.txt", **options)[0].last_commit is None, "a last commit not asked for")

    check(api.file_exists(repo, "a/large.bin", **options), "file_exists: no")
    check(not api.file_exists(repo, "a/none.bin", **options), "file_exists: yes")
    metadata = get_hf_file_metadata(hf_hub_url(repo, "a/large.bin", repo_type=kind))
    same((metadata.size, metadata.etag, metadata.commit_hash), (LARGE_BYTES, lfs.sha256, commit), "file metadata")
    check(metadata.xet_file_data is not None, f"file metadata: {metadata}")
    path = Path(hf_hub_download(repo, "a/large.bin", **options))
    same(path.read_bytes() == large, True, "the large file")
    verified = api.verify_repo_checksums(repo, **options)
    same((verified.checked_count, verified.mismatches), (1, []), "verify_repo_checksums")
    passed(f"{kind}: info, tree with last commits, paths, file metadata, checksums")


def pull_requests(kind):
    repo = create("discussed", kind)
    put(repo, kind, a_txt="1")
    options = {"repo_type": kind}

    opened = api.create_commit(repo, [CommitOperationAdd("a.txt", b"2")], commit_message="Second", create_pr=True,
                               **options)
    same((opened.pr_num, opened.pr_revision), (1, "refs/pr/1"), "a commit that opens a pull request")
    draft = api.create_pull_request(repo, title="Third", description="of three", **options)
    same((draft.num, draft.status, draft.is_pull_request), (2, "draft", True), "create_pull_request")
    check(any(getattr(event, "content", "") == "of three" for event in draft.events), f"description: {draft.events}")
    api.upload_file(path_or_fileobj=b"3", path_in_repo="b.txt", repo_id=repo, revision="refs/pr/2", **options)
    same(text(repo, "a.txt", kind, "refs/pr/1"), "2", "the file in the pull request")
    same(text(repo, "a.txt", kind), "1", "the file on main")
    talk = api.create_discussion(repo, title="Why so small?", description="Tell me.", **options)
    same((talk.num, talk.status, talk.is_pull_request), (3, "open", False), "create_discussion")

    listed = list(api.get_repo_discussions(repo, **options))
    same([(each.num, each.title) for each in listed], [(3, "Why so small?"), (2, "Third"), (1, "Second")], "discussions")
    listed = api.get_repo_discussions(repo, discussion_type="pull_request", discussion_status="open", **options)
    same([each.num for each in listed], [2, 1], "open pull requests")
    refs = api.list_repo_refs(repo, include_pull_requests=True, **options)
    same([each.ref for each in refs.pull_requests], ["refs/pr/1", "refs/pr/2"], "refs of pull requests")

    comment = api.comment_discussion(repo, 3, "Because.", **options)
    same((comment.content, comment.edited, comment.hidden), ("Because.", False, False), "comment_discussion")
    edited = api.edit_discussion_comment(repo, 3, comment.id, "Because of that.", **options)
    same((edited.content, edited.edited), ("Because of that.", True), "edit_discussion_comment")
    hidden = api.hide_discussion_comment(repo, 3, comment.id, **options)
    same(hidden.hidden, True, "hide_discussion_comment")
    renamed = api.rename_discussion(repo, 3, "Why so large?", **options)
    same((renamed.old_title, renamed.new_title), ("Why so small?", "Why so large?"), "rename_discussion")
    closed = api.change_discussion_status(repo, 3, "closed", comment="Done.", **options)
    same(closed.new_status, "closed", "change_discussion_status")
    details = api.get_discussion_details(repo, 3, **options)
    same((details.title, details.status), ("Why so large?", "closed"), "get_discussion_details")

    api.merge_pull_request(repo, 1, comment="Thanks.", **options)
    details = api.get_discussion_details(repo, 1, **options)
    same((details.status, details.target_branch), ("merged", "refs/heads/main"), "a pull request that was merged")
    check(api.revision_exists(repo, details.merge_commit_oid, **options), f"merge commit: {details.merge_commit_oid}")
    same(text(repo, "a.txt", kind), "2", "main after the merge")
    # Main has moved on since the second was opened; what it changes is another file.
    api.merge_pull_request(repo, 2, **options)
    same((text(repo, "a.txt", kind), text(repo, "b.txt", kind)), ("2", "3"), "main after the second merge")
    refused(HfHubHTTPError, api.merge_pull_request, repo, 1, **options)
    refused(HfHubHTTPError, api.merge_pull_request, repo, 3, **options)
    same(list(api.get_repo_discussions(repo, discussion_status="open", **options)), [], "open discussions")
    refused(HfHubHTTPError, api.get_discussion_details, repo, 9, status=404, **options)

    clash = api.create_commit(repo, [CommitOperationAdd("a.txt", b"4")], commit_message="Clash", create_pr=True,
                              **options)
    put(repo, kind, a_txt="5")
    same(api.get_discussion_details(repo, clash.pr_num, **options).conflicting_files, ["a.txt"], "conflicting files")
    refused(HfHubHTTPError, api.merge_pull_request, repo, clash.pr_num, status=409, **options)
    same(text(repo, "a.txt", kind), "5", "main after a merge that was refused")
    passed(f"{kind}: pull requests and discussions: open, list, talk, close, merge")


def missing(kind):
    """Each thing that is not there has its own error, whatever it is asked for."""
    repo = create("there", kind)
    put(repo, kind, a_txt="a")
    options = {"repo_type": kind}
    for call, args in [
        (api.repo_info, ()),
        (api.list_repo_commits, ()),
        (api.list_repo_refs, ()),
        (api.list_repo_files, ()),
        (api.get_paths_info, ("a",)),
        (api.auth_check, ()),
        (api.delete_repo, ()),
        (hf_hub_download, ("a.txt",)),
    ]:
        refused(RepositoryNotFoundError, call, "lab/none", *args, **options)
    for call, args in [(api.create_branch, {"branch": "b"}), (api.create_tag, {"tag": "t"}),
                       (api.delete_branch, {"branch": "b"}), (api.delete_tag, {"tag": "t"}),
                       (api.super_squash_history, {}), (api.create_pull_request, {"title": "title"}),
                       (api.update_repo_settings, {"gated": "auto"})]:
        refused(RepositoryNotFoundError, call, "lab/none", **args, **options)
    for call, args in [
        (api.repo_info, ()),
        (api.list_repo_commits, ()),
        (api.list_repo_files, ()),
        (api.get_paths_info, ("a",)),
        (hf_hub_download, ("a.txt",)),
    ]:
        refused(RevisionNotFoundError, call, repo, *args, revision="none", **options)
    refused(RevisionNotFoundError, api.super_squash_history, repo, branch="none", **options)
    refused(EntryNotFoundError, hf_hub_download, repo, "none.txt", **options)
    refused(EntryNotFoundError, lambda: list(api.list_repo_tree(repo, "none", **options)))
    refused(BadRequestError, api.create_branch, repo, branch="a..b", **options)
    passed(f"{kind}: RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError, BadRequestError")


def listings():
    names = [f"many/repo-{number}" for number in range(REPOS)]
    for kind, call in [("model", api.list_models), ("dataset", api.list_datasets), ("space", api.list_spaces)]:
        for name in reversed(names):
            api.create_repo(name, repo_type=kind, space_sdk="static", exist_ok=True)
        put("many/repo-2", kind, a_txt="a")
        found = [each.id for each in call(author="many")]
        same(sorted(found), names, f"{call.__name__} by author")
        same([each.id for each in call(search="REPO-4")], ["many/repo-4"], f"{call.__name__} with search")
        limited = [each.id for each in call(author="many", limit=PAGE_REPOS)]
        same(len(limited), PAGE_REPOS, f"{call.__name__} with limit")
        paged = pages(f"{kind}s", author="many", limit=PAGE_REPOS)
        same((len(paged), sorted(sum(paged, []))), (3, names), f"{call.__name__}, page by page")
        changed = [each.last_modified for each in call(author="many", sort="last_modified")]
        same(changed, sorted(changed, reverse=True), f"{call.__name__} sorted by change")
        full = next(iter(call(search="many/repo-2", full=True)))
        same([each.rfilename for each in full.siblings], ["a.txt"], f"{call.__name__}, full")
        same(list(call(author="nobody")), [], f"{call.__name__} of an author without any")
    passed("list_models, list_datasets, list_spaces: author, search, limit, sort, full, page by page")


def pages(kind, **params):
    from huggingface_hub.utils._pagination import _paginate_pages

    path = f"{api.endpoint}/api/{kind}"
    return [[each["id"] for each in page] for page, _ in _paginate_pages(path, params=params, headers={})]


def conflicts():
    repo = create("conflicts")
    parent = put(repo, a_txt="1").oid
    put(repo, a_txt="2")
    add = [CommitOperationAdd("a.txt", b"3")]
    refused(HfHubHTTPError, api.create_commit, repo, add, commit_message="m", parent_commit=parent, status=412)
    same(text(repo, "a.txt"), "2", "the file after a conflict")

    running = [
        api.upload_file(path_or_fileobj=b"x", path_in_repo=f"{number}.txt", repo_id=repo, run_as_future=True)
        for number in range(8)
    ]
    for future in running:
        future.result(timeout=60)
    same(len(api.list_repo_files(repo)), 9, "files after commits one after the other")
    same(len({each.commit_id for each in api.list_repo_commits(repo)}), 11, "commits")
    passed("a commit on a parent that has moved: 412; others queue up")


def copies():
    source, target = create("source"), create("target", "dataset")
    large = random.Random("copies").randbytes(LARGE_BYTES)
    add = [CommitOperationAdd("large.bin", large), CommitOperationAdd("small.txt", b"small")]
    api.create_commit(source, add, commit_message="m")
    within = [CommitOperationCopy("large.bin", "b/large.bin"), CommitOperationCopy("small.txt", "b/small.txt")]
    api.create_commit(source, within, commit_message="copies")
    across = [
        CommitOperationCopy(name, name, src_repo_id=source, src_repo_type="model") for name in ["large.bin", "small.txt"]
    ]
    api.create_commit(target, across, commit_message="copies", repo_type="dataset")
    for repo, kind, path in [(source, "model", "b/large.bin"), (target, "dataset", "large.bin")]:
        found = Path(hf_hub_download(repo, path, repo_type=kind)).read_bytes()
        same(found == large, True, f"{path} in {repo}")
    same((text(source, "b/small.txt"), text(target, "small.txt", "dataset")), ("small", "small"), "small copies")
    same(len({each.xet_hash for each in api.get_paths_info(source, ["large.bin", "b/large.bin"])}), 1, "xet hashes")
    passed("copies within a repository and into another, of small and large files")


def squash():
    repo = create("squashed")
    for number in range(3):
        put(repo, a_txt=str(number))
    api.super_squash_history(repo, commit_message="All of it")
    same([each.title for each in api.list_repo_commits(repo)], ["All of it"], "list_repo_commits after a squash")
    same(text(repo, "a.txt"), "2", "the file after a squash")
    passed("super_squash_history")


def cards():
    repo = create("card")
    ModelCard("---\nlicense: mit\ntags:\n- a\n- b\n---\n# A model\n").push_to_hub(repo)
    same(ModelCard.load(repo, ignore_metadata_errors=False).data.license, "mit", "the card that was pushed")
    for card in ["---\n- a\n- b\n---\n", "---\na: [1\n---\n", "---\na: b: c\n---\n"]:
        refused(ValueError, api._validate_yaml, card, says="Invalid metadata in README.md")
    add = [CommitOperationAdd("README.md", b"---\na: [1\n---\n")]
    refused(ValueError, api.create_commit, repo, add, commit_message="m", says="Invalid metadata in README.md")
    same(ModelCard.load(repo).data.license, "mit", "the card after one that was refused")
    passed("model cards; front matter that is no mapping is refused")


def file_system():
    repo = create("fs", "dataset")
    large = random.Random("fs").randbytes(LARGE_BYTES)
    fs = HfFileSystem()
    root = f"datasets/{repo}"
    with fs.open(f"{root}/in/a.txt", "w") as file:
        file.write("written")
    with fs.open(f"{root}/in/large.bin", "wb") as file:
        file.write(large)
    fs.invalidate_cache()

    same(fs.ls(root, detail=False), [f"{root}/in"], "ls")
    same(sorted(fs.glob(f"{root}/**/*.txt")), [f"{root}/in/a.txt"], "glob")
    same(sorted(fs.find(root)), [f"{root}/in/a.txt", f"{root}/in/large.bin"], "find")
    info = fs.info(f"{root}/in/large.bin")
    same((info["size"], info["type"]), (LARGE_BYTES, "file"), "info")
    check(fs.exists(f"{root}/in/a.txt") and not fs.exists(f"{root}/in/b.txt"), "exists")
    check(fs.isdir(f"{root}/in") and fs.isfile(f"{root}/in/a.txt"), "isdir, isfile")
    same(fs.read_text(f"{root}/in/a.txt"), "written", "read_text")
    for start, end in [(0, 10), (5_000_000, 5_000_100), (LARGE_BYTES - 10, LARGE_BYTES)]:
        found = fs.cat_file(f"{root}/in/large.bin", start=start, end=end)
        same(found == large[start:end], True, f"bytes {start} to {end}")
    with fs.open(f"{root}/in/large.bin", "rb", block_size=1 << 20) as file:
        file.seek(3_333_333)
        same(file.read(77) == large[3_333_333:3_333_410], True, "read after seek")
        file.seek(-5, io.SEEK_END)
        same(file.read() == large[-5:], True, "read at the end")
    with fs.open(f"{root}/in/large.bin", "rb", block_size=0) as file:
        same(file.read(1_000_000) == large[:1_000_000], True, "a stream")
    check(fs.modified(f"{root}/in/a.txt") is not None, "modified")
    fs.cp_file(f"{root}/in/large.bin", f"{root}/out/large.bin")
    same(fs.cat_file(f"{root}/out/large.bin", start=7, end=9) == large[7:9], True, "a copy")
    fs.mv(f"{root}/in/a.txt", f"{root}/out/a.txt")
    fs.rm(f"{root}/in", recursive=True)
    fs.invalidate_cache()
    same(sorted(fs.find(root)), [f"{root}/out/a.txt", f"{root}/out/large.bin"], "find after mv and rm")
    with fs.open(f"{root}@main/out/a.txt") as file:
        same(file.read(), b"written", "a path with a revision")
    refused(FileNotFoundError, fs.info, f"{root}/none")
    refused(FileNotFoundError, fs.ls, "datasets/lab/none")
    passed("HfFileSystem: write, ls, find, glob, info, ranges, seek, stream, cp, mv, rm")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main_with_cleanup(main)
