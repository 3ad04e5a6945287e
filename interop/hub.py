"""Publishes a real model, pulls it with zest, and holds the stock client against both.

Run by hub.sh. Prints a line for every promise kept and exits 1 at the first that is not.
"""

import argparse
import json
import tempfile
from pathlib import Path

from lab import (
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

def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--python", "--model"]:
        arguments.add_argument(name, required=True, type=Path)
    options = arguments.parse_args()
    model = digests(options.model)
    check(model, f"{options.model}: no files")

    with tempfile.TemporaryDirectory(prefix="zest-interop-") as work:
        work = Path(work)
        with Origin(options.zest, work / "origin", work / "origin-home") as origin:
            interop(options, model, origin, work)
        demo(options, model, work)


def interop(options, model, origin, work):
    model_bytes = sum(size for size, _ in model.values())
    ours = environment(work / "zest", origin.url)
    theirs = environment(work / "stock", origin.url)

    def pull():
        argv = [options.zest, "pull", REPO, "--endpoint", origin.url, "--format", "json"]
        events = [json.loads(line) for line in run(argv, ours, timeout=300).splitlines()]
        check(events and events[-1]["event"] == "summary", "pull: the last event is no summary")
        odd = [event for event in events if event["event"] in ("warning", "checking", "retry")]
        check(not odd, f"pull: it was not smooth: {odd}")
        return events[-1]

    def stock(env):
        return stock_download(options.python, REPO, env)

    publish = [options.zest, "publish", options.model, REPO, "--endpoint", origin.url]
    run(publish, ours, timeout=300)
    passed(f"zest publish: {len(model)} files, {model_bytes} bytes")

    sent = origin.data_bytes()
    summary = pull()
    snapshot = Path(summary["path"])
    check_same(model, snapshot, "zest pull")
    check_summary(summary, model, work)
    check(summary["file_bytes"]["cdn"] > 0, f"pull: nothing came from the origin: {summary}")
    check(origin.data_bytes() > sent, "pull: the origin counted no data bytes")
    passed(f"zest pull: identical, {summary['wire_bytes']['cdn']} bytes, {summary['seconds']} s")

    sent = origin.data_bytes()
    again = pull()
    check_summary(again, model, work)
    check(again["path"] == summary["path"], f"second pull: another path: {again['path']}")
    moved = [again["file_bytes"]["cdn"], again["wire_bytes"]["cdn"], origin.data_bytes() - sent]
    check(moved == [0, 0, 0], f"second pull: data bytes moved (file, wire, origin): {moved}")
    passed("second zest pull: 0 data bytes")

    sent = origin.data_bytes()
    answer = stock(theirs)
    check("path" in answer, f"stock client: {answer}")
    check_same(model, answer["path"], "stock client")
    sent = origin.data_bytes() - sent
    largest = max(size for size, _ in model.values())
    check(sent > largest / 2, f"stock client: the origin sent only {sent} data bytes")
    passed(f"stock snapshot_download from the origin: identical, {sent} data bytes")

    offline = ours | {"HF_HUB_OFFLINE": "1"}
    answer = stock(offline)
    check(answer.get("path") == str(snapshot), f"offline: {answer}, and not {snapshot}")
    check_same(model, answer["path"], "offline")
    passed("stock snapshot_download, offline: finds what zest pulled")

    link = snapshot / max(model, key=model.get)
    check(link.is_symlink(), f"{link}: not a symbolic link")
    link.unlink()
    answer = stock(offline)
    check(answer.get("error") == "IncompleteSnapshotError", f"offline, a link removed: {answer}")
    passed("stock snapshot_download, offline, a link removed: IncompleteSnapshotError")

    sent = origin.data_bytes()
    pull()
    check_same(model, snapshot, "zest pull after a link was removed")
    check(origin.data_bytes() == sent, "zest pull fetched data again for a missing link")
    passed("zest pull after a link was removed: complete again, 0 data bytes")

    sent = origin.data_bytes()
    stopped = origin.stop()
    check(stopped["data_bytes"] == sent, f"zest origin: {stopped} at the end, {sent} before")
    passed(f"zest origin: SIGTERM, {sent} data bytes in all")


def demo(options, model, work):
    """Two machines, the second of which gets all file data from the first."""
    stage = work / "demo"
    argv = [options.zest, "demo", "--from", options.model, "--keep", stage, "--format", "json"]
    told = json.loads(run(argv, environment(work / "demo-home", "http://127.0.0.1:9"), timeout=300).splitlines()[-1])
    check(told["event"] == "demo", f"demo: {told}")
    check(told["origin_data_bytes"] == 0, f"demo: the origin sent file data to the second machine: {told}")
    large = sum(size for path, (size, _) in model.items() if path.endswith(".safetensors"))
    check(told["file_bytes"]["lan"] >= large, f"demo: not all large files came from the peer: {told}")
    check_same(model, told["path"], "demo")
    passed(f"zest demo: {told['file_bytes']['lan']} bytes from the peer, 0 of file data from the origin, identical")

    second = environment(stage / "second-machine", "http://127.0.0.1:9") | {"HF_HUB_OFFLINE": "1"}
    second["HF_HOME"] = str(stage / "second-machine/hf")
    answer = stock_download(options.python, "demo/model", second)
    check(answer.get("path") == told["path"], f"offline on the second machine: {answer}")
    check_same(model, answer["path"], "offline on the second machine")
    passed("stock snapshot_download, offline: finds what came from the peer")


def check_summary(summary, model, work):
    expected = {"repo": REPO, "files": len(model)}
    found = {name: summary[name] for name in expected}
    check(found == expected, f"summary: {found}, and not {expected}")
    check(len(summary["commit"]) == 40, f"summary: commit {summary['commit']!r}")
    hub = work / "zest/hf/hub" / f"models--{REPO.replace('/', '--')}"
    check(summary["path"] == f"{hub}/snapshots/{summary['commit']}", f"path: {summary['path']}")
    model_bytes = sum(size for size, _ in model.values())
    attributed = sum(summary["file_bytes"].values())
    check(attributed == model_bytes, f"summary: {attributed} of {model_bytes} bytes attributed")
    check(summary["seconds"] >= 0 and summary["peak_rss_bytes"] > 0, f"summary: {summary}")


if __name__ == "__main__":
    main_with_cleanup(main)
