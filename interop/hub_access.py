"""What `huggingface_hub` says to users of a zest origin who may do something, and to those who may not.

Run by clients.py with the client's own Python, which is told by HF_ENDPOINT where the origin is, and by arguments the
tokens of alice, who owns the namespace `lab`, hers for reading only, and that of bob. Prints a line for every promise
kept and exits 1 at the first that is not.
"""

import os
import random
import sys
import warnings
from pathlib import Path

from hub_calls import refused, same
from huggingface_hub import CommitOperationAdd, HfApi, get_token, hf_hub_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from lab import check, main_with_cleanup, passed

LARGE_BYTES = 11 * 1024 * 1024


def main():
    warnings.simplefilter("ignore", UserWarning)
    alice, reader, bob = [HfApi(token=token) for token in sys.argv[1:]]
    nobody = HfApi(token=False)
    check(get_token() is None, "a token from elsewhere")
    identities(alice, reader, bob, nobody)
    for kind in ["model", "dataset", "space"]:
        private(kind, alice, bob, nobody)
        gated(kind, alice, bob, nobody)
    writing(alice, reader, bob, nobody)


def create(api, repo, kind="model", **more):
    sdk = {"space_sdk": "static"} if kind == "space" else {}
    api.create_repo(repo, repo_type=kind, **sdk, **more)
    large = random.Random(repo + kind).randbytes(LARGE_BYTES)
    files = [CommitOperationAdd("a.txt", b"a"), CommitOperationAdd("large.bin", large)]
    api.create_commit(repo, files, commit_message="files", repo_type=kind)
    return large


def download(api, repo, path, kind):
    # What is in a user's cache already is given to them whatever they may do.
    cache = Path(os.environ["HF_HOME"]) / f"of-{api.token}"
    return Path(hf_hub_download(repo, path, repo_type=kind, token=api.token, cache_dir=cache)).read_bytes()


def listed(api, kind):
    call = {"model": api.list_models, "dataset": api.list_datasets, "space": api.list_spaces}[kind]
    return [each.id for each in call(author="lab")]


def identities(alice, reader, bob, nobody):
    told = alice.whoami()
    same((told["name"], told["type"], [each["name"] for each in told["orgs"]]), ("alice", "user", ["lab"]), "whoami")
    roles = [api.whoami()["auth"]["accessToken"]["role"] for api in [alice, reader]]
    same(roles, ["write", "read"], "whoami: roles")
    same(bob.whoami()["name"], "bob", "whoami")
    wrong = HfApi(token="hf_wrong")
    refused(HfHubHTTPError, wrong.whoami, status=401, says="Invalid user token")
    refused(HfHubHTTPError, wrong.model_info, "lab/none", status=401)
    same(alice.create_repo("own").repo_id, "alice/own", "create_repo without a namespace")
    alice.delete_repo("alice/own")
    passed("whoami, wrong tokens, the namespace of a token's user")


def private(kind, alice, bob, nobody):
    large = create(alice, "lab/private", kind, private=True)
    options = {"repo_type": kind}
    check(alice.repo_info("lab/private", **options).private, "repo_info: not private")
    same(download(alice, "lab/private", "large.bin", kind) == large, True, "a private file")
    for api in [bob, nobody]:
        check(not api.repo_exists("lab/private", **options), "a private repository is there for others")
        for call, args in [(api.repo_info, ()), (api.list_repo_files, ()), (api.auth_check, ()),
                           (api.list_repo_refs, ()), (api.list_repo_commits, ()), (api.get_paths_info, ("a.txt",)),
                           (api.get_discussion_details, (1,)), (api.delete_repo, ())]:
            refused(RepositoryNotFoundError, call, "lab/private", *args, **options)
        for path in ["a.txt", "large.bin", "none.txt"]:
            refused(RepositoryNotFoundError, download, api, "lab/private", path, kind)
        check("lab/private" not in listed(api, kind), "a private repository is listed for others")
    check("lab/private" in listed(alice, kind), "a private repository is not listed for its owner")

    alice.update_repo_settings("lab/private", private=False, **options)
    for api in [bob, nobody]:
        same(download(api, "lab/private", "large.bin", kind) == large, True, "a file that is private no more")
        check("lab/private" in listed(api, kind), "what is private no more is not listed")
    alice.update_repo_settings("lab/private", visibility="private", **options)
    refused(RepositoryNotFoundError, bob.repo_info, "lab/private", **options)
    passed(f"{kind}: what is private is not there for others, until it is private no more")


def gated(kind, alice, bob, nobody):
    large = create(alice, "lab/gated", kind)
    options = {"repo_type": kind}
    alice.update_repo_settings("lab/gated", gated="manual", **options)
    for api in [alice, bob, nobody]:
        info = api.repo_info("lab/gated", **options)
        same((info.gated, len(info.siblings)), ("manual", 2), "a gated repository")
        same(len(api.list_repo_files("lab/gated", **options)), 2, "files of a gated repository")
    for api in [bob, nobody]:
        for path in ["a.txt", "large.bin"]:
            refused(GatedRepoError, download, api, "lab/gated", path, kind)
        refused(GatedRepoError, api.auth_check, "lab/gated", **options)
        refused(HfHubHTTPError, api.grant_access, "lab/gated", "bob", **options)
    same(download(alice, "lab/gated", "large.bin", kind) == large, True, "a gated file for its owner")

    alice.grant_access("lab/gated", "bob", **options)
    same([each.username for each in alice.list_accepted_access_requests("lab/gated", **options)], ["bob"], "let in")
    same(download(bob, "lab/gated", "large.bin", kind) == large, True, "a gated file for one who was let in")
    bob.auth_check("lab/gated", **options)
    refused(GatedRepoError, nobody.auth_check, "lab/gated", **options)
    alice.reject_access_request("lab/gated", "bob", rejection_reason=None, **options)
    refused(GatedRepoError, bob.auth_check, "lab/gated", **options)
    alice.update_repo_settings("lab/gated", gated=False, **options)
    same(download(nobody, "lab/gated", "large.bin", kind) == large, True, "a file that is gated no more")
    passed(f"{kind}: GatedRepoError until one is let in")


def writing(alice, reader, bob, nobody):
    create(alice, "lab/public")
    add = [CommitOperationAdd("b.txt", b"b")]
    proposed = [CommitOperationAdd("b.txt", b"b")]
    for api, status in [(reader, 403), (bob, 403), (nobody, 401)]:
        refused(HfHubHTTPError, api.create_commit, "lab/public", add, commit_message="m", status=status)
        refused(HfHubHTTPError, api.create_branch, "lab/public", branch="dev", status=status)
        refused(HfHubHTTPError, api.create_tag, "lab/public", tag="v1", status=status)
        refused(HfHubHTTPError, api.delete_repo, "lab/public", status=status)
        refused(HfHubHTTPError, api.move_repo, "lab/public", "bob/public", status=status)
        refused(HfHubHTTPError, api.update_repo_settings, "lab/public", private=True, status=status)
        refused(HfHubHTTPError, api.super_squash_history, "lab/public", status=status)
        refused(HfHubHTTPError, api.create_repo, "lab/other", status=status)
        refused(HfHubHTTPError, api.auth_check, "lab/public", write=True, status=status)
        api.auth_check("lab/public")
    alice.auth_check("lab/public", write=True)
    refused(HfHubHTTPError, alice.move_repo, "lab/public", "bob/public", status=403)

    opened = bob.create_commit("lab/public", proposed, commit_message="From outside", create_pr=True)
    refused(HfHubHTTPError, bob.merge_pull_request, "lab/public", opened.pr_num, status=403)
    bob.comment_discussion("lab/public", opened.pr_num, "Please take it.")
    large = random.Random("bob").randbytes(LARGE_BYTES)
    more = [CommitOperationAdd("bob.bin", large)]
    bob.create_commit("lab/public", more, commit_message="More", revision=opened.pr_revision)
    refused(HfHubHTTPError, nobody.create_commit, "lab/public", add, commit_message="m", revision=opened.pr_revision,
            status=401)
    own = alice.create_commit("lab/public", [CommitOperationAdd("c.txt", b"c")], commit_message="Hers", create_pr=True)
    refused(HfHubHTTPError, bob.create_commit, "lab/public", add, commit_message="m", revision=own.pr_revision,
            status=403)
    refused(HfHubHTTPError, bob.change_discussion_status, "lab/public", own.pr_num, "closed", status=403)
    same(alice.get_discussion_details("lab/public", opened.pr_num).author, "bob", "author of a pull request")
    alice.merge_pull_request("lab/public", opened.pr_num)
    last = alice.list_repo_commits("lab/public")[0]
    same((last.title, last.authors), (f"From outside (#{opened.pr_num})", ["alice"]), "the merge")
    same(alice.get_paths_info("lab/public", "b.txt")[0].size, 1, "what was merged")
    same(download(nobody, "lab/public", "bob.bin", "model") == large, True, "a large file that was merged")
    passed("only owners write; others open pull requests")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main_with_cleanup(main)
