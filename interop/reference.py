"""Holds zest and the stock client against each other, at Hugging Face's reference CAS and at a zest origin.

Run by reference.sh. What one of them publishes the other must get, byte for byte, and what is there already must not be
sent again. Prints a line for every promise kept and exits 1 at the first that is not.
"""

import argparse
import json
import random
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lab import Origin, check, check_same, digests, environment, main_with_cleanup, passed, run, stock_download
from meter import Meter
from standin import Hub, ReferenceCas

# A hundredth of the largest file is changed, in one place; what may be sent for it, of the whole.
CHANGED = 0.01
SENT_MOST = 0.03
SECONDS_MAX = 600

STOCK_FILE = """
import sys
from huggingface_hub import hf_hub_download
print(hf_hub_download(sys.argv[1], sys.argv[2]))
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--hf", "--reference-cas", "--model"]:
        arguments.add_argument(name, required=True, type=Path)
    options = arguments.parse_args()
    check(digests(options.model), f"{options.model}: no files")

    with tempfile.TemporaryDirectory(prefix="zest-interop-") as work:
        work = Path(work)
        changed = changed_copy(options.model, work / "changed")
        with ExitStack() as running:
            cas = running.enter_context(ReferenceCas(options.reference_cas, work / "cas", work / "cas-home"))
            meter = running.enter_context(Meter(cas.url))
            hub = running.enter_context(Hub(meter.url, cas.shards))
            interop("the reference CAS", options, changed, hub.url, meter, work / "at-reference")
        with (
            Origin(options.zest, work / "origin", work / "origin-home") as origin,
            Meter(origin.url) as meter,
        ):
            interop("zest origin", options, changed, meter.url, meter, work / "at-origin")
            pull_request(options, changed, origin.url, work / "pull-request")


def interop(where, options, changed, endpoint, meter, work):
    model = digests(options.model)
    model_bytes = sum(size for size, _ in model.values())
    largest = max(model, key=model.get)

    def zest(home, *argv):
        env = environment(work / home, endpoint)
        return run([options.zest, *argv], env, SECONDS_MAX)

    def hf_upload(home, folder, repo):
        run([options.hf, "upload", repo, folder], environment(work / home, endpoint), SECONDS_MAX)
        return meter.taken()

    def zest_publish(home, folder, repo):
        zest(home, "publish", folder, repo)
        return meter.taken()

    def check_stock(home, repo, expected):
        env = environment(work / home, endpoint)
        answer = stock_download(python(options), repo, env)
        check("path" in answer, f"stock client: {answer}")
        check_same(expected, answer["path"], f"stock client, {repo} at {where}")

    def check_zest(home, repo, expected):
        summary = json.loads(zest(home, "pull", repo, "--format", "json").splitlines()[-1])
        check_same(expected, summary["path"], f"zest pull, {repo} at {where}")

    sent = zest_publish("zest", options.model, "lab/zest")
    check(sent > 0, "zest publish: no xorb went through the meter")
    check_stock("stock-snapshot", "lab/zest", model)
    passed(f"{where}: zest publish, {sent} xorb bytes; stock snapshot_download: identical")
    env = environment(work / "stock-file", endpoint)
    path = Path(run([python(options), "-c", STOCK_FILE, "lab/zest", largest], env, SECONDS_MAX).strip())
    check(digests(path.resolve().parent)[path.resolve().name] == model[largest], f"hf_hub_download: {largest} differs")
    passed(f"{where}: stock hf_hub_download of {largest}: identical")
    check_zest("zest-pull", "lab/zest", model)
    passed(f"{where}: zest pull of what zest published: identical")

    sent = hf_upload("stock", changed, "lab/stock")
    share = sent / model_bytes
    check(0 < share <= SENT_MOST, f"hf upload of a model known but for 1 %: {sent} of {model_bytes} bytes sent")
    passed(f"{where}: hf upload of the model with {CHANGED:.0%} changed, by one who never saw it: "
           f"{share:.2%} of it in xorbs")
    check_zest("zest-pull", "lab/stock", digests(changed))
    passed(f"{where}: zest pull of what hf uploaded: identical")
    sent = hf_upload("stock-again", changed, "lab/stock-again")
    check(sent == 0, f"hf upload of what is there: {sent} xorb bytes sent")
    passed(f"{where}: hf upload of what is there to another repository, by one who never saw it: 0 xorb bytes")

    for home in ["zest", "zest-again"]:
        # Another repository: nothing can be left out of the commit.
        sent = zest_publish(home, options.model, f"lab/{home}-again")
        check(sent == 0, f"zest publish of what is there, from {home}: {sent} xorb bytes sent")
    passed(f"{where}: zest publish of what is there to another repository, with and without a memory of it: 0 xorb bytes")
    again = changed_copy(options.model, work / "changed-again", seed=2)
    sent = zest_publish("zest-changed", again, "lab/zest")
    share = sent / model_bytes
    check(0 < share <= SENT_MOST, f"zest publish with 1 % changed: {sent} of {model_bytes} bytes sent")
    check_stock("stock-changed", "lab/zest", digests(again))
    passed(f"{where}: zest publish with {CHANGED:.0%} changed: {share:.2%} of it in xorbs; stock client: identical")


def pull_request(options, changed, endpoint, work):
    """The stand-in has none."""
    env = environment(work, endpoint)

    def zest_pull(*revision):
        argv = [options.zest, "pull", "lab/pull-request", *revision, "--format", "json"]
        return json.loads(run(argv, env, SECONDS_MAX).splitlines()[-1])["path"]

    run([options.hf, "upload", "lab/pull-request", options.model], env, SECONDS_MAX)
    run([options.hf, "upload", "lab/pull-request", changed, "--create-pr"], env, SECONDS_MAX)
    argv = [options.hf, "download", "lab/pull-request", "--revision", "refs/pr/1", "--quiet"]
    path = run(argv, env, SECONDS_MAX).strip().splitlines()[-1].removeprefix("path=")
    check_same(digests(changed), path, "hf download of a pull request")
    passed("zest origin: hf upload --create-pr, hf download of refs/pr/1: identical")
    check_same(digests(changed), zest_pull("--revision", "refs/pr/1"), "zest pull of a pull request")
    check_same(digests(options.model), zest_pull(), "zest pull of main beside a pull request")
    passed("zest origin: zest pull of refs/pr/1, and of main, which did not move: identical")


def python(options):
    return options.hf.with_name("python")


def changed_copy(folder, copy, seed=1):
    """The folder with other bytes in the middle of its largest file."""
    shutil.copytree(folder, copy)
    largest = max((path for path in copy.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    size = largest.stat().st_size
    with largest.open("r+b") as file:
        file.seek(size // (seed + 1))
        file.write(random.Random(seed).randbytes(int(size * CHANGED)))
    return copy


if __name__ == "__main__":
    main_with_cleanup(main)
