"""One cache for zest and the stock client: what either writes the other takes, at once and after a kill.

Run by cache.sh. Prints a line for every promise kept and exits 1 at the first that is not.
"""

import argparse
import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import (
    Failure,
    Origin,
    check,
    check_same,
    digests,
    environment,
    main_with_cleanup,
    passed,
    run,
    stock_download,
)

REPO = "lab/minilm"
# The same content.
OTHER = "lab/other"
# Bytes a second: the model takes some seconds, long enough to meet a pull on its way.
SLOW = 20_000_000

def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--python", "--old-python", "--model"]:
        arguments.add_argument(name, required=True, type=Path)
    options = arguments.parse_args()
    model = digests(options.model)
    check(model, f"{options.model}: no files")
    with tempfile.TemporaryDirectory(prefix="zest-interop-") as work:
        work = Path(work)
        data, home = work / "origin", work / "origin-home"
        with Origin(options.zest, data, home) as origin:
            for repo in [REPO, OTHER]:
                publish = [options.zest, "publish", options.model, repo, "--endpoint", origin.url]
                run(publish, environment(work / "publisher"), timeout=300)
            lab = Lab(options, model, origin, work)
            written_by_zest(lab)
            written_by_stock(lab)
            no_links(lab)
        with Origin(options.zest, data, home, more=["--limit-rate", SLOW]) as origin:
            lab = Lab(options, model, origin, work)
            all_at_once(lab)
            beside_a_killed_pull(lab)


class Lab:
    def __init__(self, options, model, origin, work):
        self.options, self.model, self.origin, self.work = options, model, origin, work
        self.large = {found for path, found in model.items() if path.endswith(".safetensors")}
        check(self.large, "the model has no large file")

    def home(self, name, **more):
        return environment(self.work / name, self.origin.url, **more)

    def pull(self, env, repo=REPO):
        argv = [self.options.zest, "pull", repo, "--format", "json"]
        return json.loads(run(argv, env, timeout=300).splitlines()[-1])

    def stock(self, env, repo=REPO, python=None):
        answer = stock_download(python or self.options.python, repo, env)
        check("path" in answer, f"stock client: {answer}")
        return answer["path"]

    def hf(self, env, *arguments):
        return run([self.options.python.parent / "hf", *arguments], env, timeout=300)

    def cached(self, env):
        """Repositories and their sizes as `hf cache ls` has them, and what is odd about the cache."""
        script = (
            "import json; from huggingface_hub import scan_cache_dir as scan; i = scan();"
            "repos = {r.repo_id: r.size_on_disk for r in i.repos};"
            "print(json.dumps([repos, i.size_on_disk, [str(w) for w in i.warnings]]))"
        )
        return json.loads(run([self.options.python, "-c", script], env, timeout=60))

    def verify(self, env, repo=REPO):
        self.hf(env, "cache", "verify", repo, "--fail-on-missing-files", "--fail-on-extra-files")

    def data_bytes(self, work):
        """Bytes of file data that the origin sends meanwhile."""
        before = self.origin.data_bytes()
        work()
        return self.origin.data_bytes() - before


def hub(env):
    return Path(env["HF_HOME"]) / "hub"


def payloads(env):
    return [path for path in hub(env).glob("blobs/??/*") if len(path.name) == 64]


def written_by_zest(lab):
    env = lab.home("zest")
    total = sum(size for size, _ in lab.model.values())
    lab.pull(env)
    check(len(payloads(env)) >= len(lab.large), f"no shared payloads: {payloads(env)}")
    check(lab.stock(env | {"HF_HUB_OFFLINE": "1"}), "offline")
    sent = lab.data_bytes(lambda: check_same(lab.model, lab.stock(env), "stock client on zest's cache"))
    check(sent == 0, f"stock client fetched {sent} bytes again")
    lab.verify(env)
    repos, size, odd = lab.cached(env)
    check(list(repos) == [REPO] and not odd, f"hf cache ls: {repos}, {odd}")
    check(REPO in lab.hf(env, "cache", "ls"), "hf cache ls does not list it")
    passed("zest's cache: stock 2.4 lists and verifies it, takes it offline and online, fetches 0 bytes")

    sent = lab.data_bytes(lambda: check_same(lab.model, lab.stock(env, OTHER), "stock client, the other repository"))
    check(sent == 0, f"stock client fetched {sent} bytes that another repository has")
    both, with_both, _ = lab.cached(env)
    check(with_both < 2 * size and len(both) == 2, f"kept twice: {size}, then {with_both}")
    passed(f"stock 2.4 links to payloads that zest shared: {size} bytes for one, {with_both} for two of {total}")

    lab.hf(env, "cache", "rm", f"model/{OTHER}", "-y")
    lab.hf(env, "cache", "prune", "-y")
    lab.verify(env)
    check(len(payloads(env)) >= len(lab.large), "a payload that is still used was collected")
    lab.hf(env, "cache", "rm", f"model/{REPO}", "-y")
    check(not payloads(env), f"payloads that nobody uses are left: {payloads(env)}")
    summary = lab.pull(env)
    check_same(lab.model, summary["path"], "zest pull after `hf cache rm`")
    lab.verify(env)
    passed("hf cache rm and prune: keep what is used, collect what is not; zest pull brings it again")


def written_by_stock(lab):
    kinds = {
        "shared": {},
        "plain": {"HF_HUB_DISABLE_SHARED_BLOBS": "1"},
        "without links": {"HF_HUB_DISABLE_SYMLINKS": "1"},
    }
    for kind, more in kinds.items():
        env = lab.home(f"stock-{kind.replace(' ', '-')}") | more
        lab.stock(env)
        before = sorted(path for path in hub(env).rglob("*") if ".locks" not in path.parts)
        for which in ["at first", "again"]:
            summary = lab.pull(env)
            moved = [summary["file_bytes"]["cdn"], summary["wire_bytes"]["cdn"]]
            check(moved == [0, 0], f"{kind} cache of stock 2.4, {which}: data bytes moved: {moved}")
            check_same(lab.model, summary["path"], f"{kind} cache of stock 2.4")
        after = sorted(path for path in hub(env).rglob("*") if ".locks" not in path.parts)
        check(before == after, f"{kind}: something was written: {set(after) ^ set(before)}")
        lab.verify(env)
        passed(f"stock 2.4's cache, {kind}: zest pull fetches 0 bytes and changes nothing")

    env = lab.home("stock-shared")
    summary = lab.pull(env, OTHER)
    large = sum(size for size, _ in lab.large)
    check(summary["file_bytes"]["local"] >= large, f"what another repository has was fetched: {summary}")
    lab.hf(env, "cache", "rm", f"model/{REPO}", "-y")
    check(len(payloads(env)) >= len(lab.large), "hf cache rm took a payload that zest links to")
    lab.verify(env, OTHER)
    passed("zest links to payloads that stock 2.4 shared; hf cache rm of the one keeps the other's")


def no_links(lab):
    """A file system that refuses links, as a library that stands before the system's call."""
    library = lab.work / "no_links.so"
    source = """
        #include <errno.h>
        int symlink(const char *to, const char *at) { errno = EPERM; return -1; }
        int symlinkat(const char *to, int folder, const char *at) { errno = EPERM; return -1; }
    """
    compile = ["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"]
    subprocess.run(compile, input=source, text=True, check=True, timeout=60)
    env = lab.home("no-links", LD_PRELOAD=str(library), HF_HUB_DISABLE_SYMLINKS_WARNING="1")

    summary = lab.pull(env)
    links = [path for path in hub(env).rglob("*") if path.is_symlink()]
    check(not links, f"there are links after all: {links}")
    check_same(lab.model, summary["path"], "zest pull without links")
    check(not payloads(env), f"payloads without links to them: {payloads(env)}")
    check(lab.pull(env)["wire_bytes"]["cdn"] == 0, "zest fetched again what it had put there without links")
    sent = lab.data_bytes(lambda: check_same(lab.model, lab.stock(env), "stock client without links"))
    check(sent == 0, f"stock client without links fetched {sent} bytes again")
    lab.verify(env)
    passed("where links cannot be made: zest and stock 2.4 take the files that zest put there")


def all_at_once(lab):
    env = lab.home("at-once")
    alone = lab.pull(lab.home("alone"))["wire_bytes"]["cdn"]
    with ThreadPoolExecutor() as pool:
        pulls = [pool.submit(lab.pull, env), pool.submit(lab.pull, env)]
        stock = pool.submit(lab.stock, env)
        summaries = [pull.result() for pull in pulls]
        check_same(lab.model, stock.result(), "stock client beside two pulls")
    for summary in summaries:
        check_same(lab.model, summary["path"], "zest pull beside others")
    lab.verify(env)
    _, _, odd = lab.cached(env)
    check(not odd, f"hf cache ls: {odd}")
    left = [path.name for path in hub(env).rglob("*") if path.name.endswith((".zest", ".incomplete", ".shared"))]
    check(not left, f"left behind: {left}")
    wire = sum(summary["wire_bytes"]["cdn"] for summary in summaries)
    check(wire <= alone, f"two pulls fetched {wire} bytes, one alone fetches {alone}")
    passed(f"two pulls and stock 2.4 at once: identical; the pulls fetched {wire} bytes, one alone {alone}")


def beside_a_killed_pull(lab):
    ways = {"hf-xet": {}, "plain HTTP": {"HF_HUB_DISABLE_XET": "1"}}
    for name, python in [("1.17", lab.options.old_python), ("2.4", lab.options.python)]:
        for way, more in ways.items():
            env = lab.home(f"killed-{name}-{way.replace(' ', '-')}")
            kill_in_the_middle(lab, env)
            path = lab.stock(env | more, python=python)
            check_same(lab.model, path, f"stock {name} over {way} after a killed pull")
            summary = lab.pull(env)
            check_same(lab.model, summary["path"], "zest pull after both")
            check(summary["wire_bytes"]["cdn"] == 0, f"zest pull after both: {summary}")
            lab.verify(env)
            passed(f"stock {name} over {way} beside what a killed pull left: identical, and zest takes it")


def kill_in_the_middle(lab, env):
    """Kills a pull that has written some megabytes, with the signal that lets it clean up nothing."""
    argv = [str(lab.options.zest), "pull", REPO, "--format", "json"]
    pull = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        for line in pull.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and event["bytes"] > 4_000_000:
                break
        else:
            raise Failure("the pull ended before it could be killed")
    finally:
        pull.kill()
        pull.wait()
    left = list(hub(env).glob("models--*/blobs/*.zest"))
    check(left and any(os.stat(path).st_blocks for path in left), "the killed pull left no partial file")


if __name__ == "__main__":
    main_with_cleanup(main)
