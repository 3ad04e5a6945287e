"""Uploads to one origin with the stock client, and downloads from another one that mirrors it.

Run by mirror.sh. Prints a line for every promise kept and exits 1 at the first that is not.
"""

import argparse
import json
import random
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

REPO = "lab/mirrored"
# More than two calls for a reconstruction: the client asks for the first 256 MB by themselves from 512 MB on.
LARGE_BYTES = 600_000_000
MIDDLE_BYTES = 40_000_000

UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
print(api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2], commit_message=sys.argv[3]).oid)
"""

TAG = """
import sys
from huggingface_hub import HfApi
HfApi().create_tag(sys.argv[1], tag=sys.argv[2], revision=sys.argv[3])
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--python"]:
        arguments.add_argument(name, required=True, type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="zest-interop-") as work:
        interop(options, Path(work))


def interop(options, work):
    source = work / "source"
    write_model(source)

    def upload(origin, home, message, **more):
        argv = [options.python, "-c", UPLOAD, REPO, source, message]
        return run(argv, environment(work / home, origin.url, **more), timeout=600).split()[-1]

    def download(origin, home, **more):
        env = environment(work / home, origin.url, **more)
        answer = stock_download(options.python, REPO, env)
        check("path" in answer, f"{home}: {answer}")
        check_same(digests(source), answer["path"], home)

    behind = Origin(options.zest, work / "behind", work / "behind-home")
    with behind:
        first = upload(behind, "uploader", "first", HF_HUB_DISABLE_XET="1")
        stored = folder_bytes(work / "behind")
        passed(f"stock upload without Xet: {stored} bytes stored at the origin")
        download(behind, "direct", HF_HUB_DISABLE_XET="1")
        download(behind, "direct-xet")
        passed("stock download of it, without Xet and with it: identical")

        again = upload(behind, "uploader-again", "again", HF_HUB_DISABLE_XET="1")
        check(again == first, f"an upload that changes nothing made the commit {again}, not {first}")
        check(folder_bytes(work / "behind") < stored + 5_000_000, "an upload that changes nothing was stored")
        passed("stock upload without Xet, unchanged: no commit, nothing stored")

        with Origin(options.zest, work / "front", work / "front-home", more=["--mirror", behind.url]) as front:
            download(front, "first-use")
            passed("stock download through a mirror: identical")
            sent = behind.data_bytes()
            download(front, "second-use")
            download(front, "second-use-plain", HF_HUB_DISABLE_XET="1")
            check(behind.data_bytes() == sent, "what the mirror has was fetched again")
            passed("stock download again, without Xet and with it: nothing fetched from the Hub behind")

            import_check(options, work, behind, source, first, upload)

            behind.stop()
            # The mirror has the first commit; the branch has moved since, and it may or may not know.
            download_commit(options, work, front, first)
            passed("the Hub behind is gone: stock download through the mirror, identical")

        with Origin(options.zest, work / "front", work / "front-home") as front:
            download_commit(options, work, front, first)
            passed("and from the same folder without a mirror: identical")

    with Origin(options.zest, work / "behind", work / "behind-home") as behind:
        more = ["--mirror", behind.url]
        with Origin(options.zest, work / "plain-front", work / "plain-front-home", more=more) as front:
            download(front, "plain-first-use", HF_HUB_DISABLE_XET="1")
            passed("stock download without Xet through an empty mirror: identical")


def import_check(options, work, behind, source, first, upload):
    """Changes the source, tags the first commit, and imports both."""
    (source / "config.json").write_text('{"version": 2}')
    second = upload(behind, "uploader", "second")
    run([options.python, "-c", TAG, REPO, "v1", first], environment(work / "uploader", behind.url), timeout=60)
    argv = [options.zest, "origin", "import", REPO, "--from", behind.url, "--all-refs"]
    argv += ["--data", work / "copy", "--format", "json"]
    told = run(argv, environment(work / "importer"), timeout=600).splitlines()
    imported = json.loads(told[-1])
    check(imported["event"] == "imported", f"import: {imported}")
    refs = {"refs/heads/main": second, "refs/tags/v1": first}
    check(imported["refs"] == refs, f"import: {imported['refs']}, not {refs}")
    again = json.loads(run(argv, environment(work / "importer"), timeout=600).splitlines()[-1])
    check((again["commits"], again["bytes"]) == (0, 0), f"second import: {again}")
    with Origin(options.zest, work / "copy", work / "copy-home") as copy:
        env = environment(work / "from-copy", copy.url)
        answer = stock_download(options.python, REPO, env)
        check("path" in answer, f"from the copy: {answer}")
        check(answer["path"].endswith(second), f"from the copy: {answer}, not {second}")
        check_same(digests(source), answer["path"], "from the copy")
    passed(f"zest origin import: {imported['commits']} commits with their names, the second time nothing")


def download_commit(options, work, origin, commit):
    """The first commit, by its name, into an empty home: what the client that uploaded it has."""
    code = "import sys; from huggingface_hub import snapshot_download; "
    code += "print(snapshot_download(sys.argv[1], revision=sys.argv[2]))"
    with tempfile.TemporaryDirectory(dir=work) as home:
        env = environment(Path(home), origin.url)
        path = run([options.python, "-c", code, REPO, commit], env, timeout=600).splitlines()[-1]
        expected = digests(work / "source")
        expected["config.json"] = digests_of_text('{"version": 1}', work)
        found = digests(path)
        check(found == expected, f"{commit} from {origin.url}: differs from what was uploaded")


def digests_of_text(text, work):
    with tempfile.TemporaryDirectory(dir=work) as folder:
        (Path(folder) / "file").write_text(text)
        return digests(folder)["file"]


def write_model(source):
    (source / "sub folder").mkdir(parents=True)
    (source / "config.json").write_text('{"version": 1}')
    (source / "empty.txt").write_text("")
    (source / "sub folder" / "模型.txt").write_text("unicode and spaces")
    generator = random.Random(1)
    shared = generator.randbytes(MIDDLE_BYTES // 2)
    (source / "sub folder" / "middle.bin").write_bytes(shared + generator.randbytes(MIDDLE_BYTES // 2))
    with (source / "model.safetensors").open("wb") as file:
        file.write(shared)
        for _ in range((LARGE_BYTES - len(shared)) // 1_000_000):
            file.write(generator.randbytes(1_000_000))


def folder_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main_with_cleanup(main)
