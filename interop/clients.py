"""Clients that know nothing of zest, at a zest origin: what they publish they get back, whatever way they take.

Run by clients.sh: the stock Python client with and without Xet, its command line, its file system (hub_calls.py),
the Hub's own Rust client (hf-hub/) and curl. Prints a line for every promise kept and exits 1 at the first that is
not.
"""

import argparse
import hashlib
import json
import random
import shutil
import tempfile
from pathlib import Path

from lab import Origin, check, check_same, digests, environment, main_with_cleanup, passed, run
from meter import Meter

REPO = "lab/all"
LARGE_BYTES = 300_000_000
# Of a file that shares its half with another one, what may be sent.
HALF_SENT_MOST = 0.55
# A hundredth of the large file is changed, in one place; what may be sent for it, of the whole.
CHANGED = 0.01
CHANGED_SENT_MOST = 0.03
SECONDS_MAX = 600

SNAPSHOT = """
import json, sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], **json.loads(sys.argv[2])))
"""
FILE = """
import json, sys
from huggingface_hub import hf_hub_download
print(hf_hub_download(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3])))
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--hf", "--hf-hub"]:
        arguments.add_argument(name, required=True, type=Path)
    options = arguments.parse_args()

    with tempfile.TemporaryDirectory(prefix="zest-clients-") as work:
        work = Path(work)
        folder = made(work / "folder")
        with Origin(options.zest, work / "origin", work / "origin-home") as origin:
            with Meter(origin.url) as meter:
                uploads(options, folder, meter, work)
            downloads(options, folder, origin, work)
            without_xet(options, folder, origin, work)
            plain_http(folder, origin, work)
            told([python(options), Path(__file__).with_name("hub_calls.py")], environment(work / "calls", origin.url))
            told([options.hf_hub, work / "rust"], environment(work / "rust-home", origin.url))
        access(options, work)


def made(folder):
    """Files of every kind that a folder may hold."""
    noise = random.Random("clients")
    files = {
        "README.md": b"---\nlicense: mit\n---\n# All kinds of files\n",
        "config.json": b'{"a": 1}\n',
        "empty.txt": b"",
        "empty.safetensors": b"",
        "one.byte": b"x",
        "one-zero.byte": b"\0",
        "with space/and more/a b.txt": b"spaces",
        "unicode/\u00fc\u6a21\u578b\U0001f917.txt": "\u00fc\u6a21\u578b\U0001f917".encode(),
        "unicode/\u6a21\u578b.bin": noise.randbytes(2_000_000),
        "odd/#%25 &+;=@[x]{y}'.txt": b"odd",
        "deep/" + "/".join("abcdefghij") + "/file.txt": b"deep",
        # Python makes so many at once and no more.
        "large.safetensors": b"".join(noise.randbytes(LARGE_BYTES // 3) for _ in range(3)),
    }
    half = files["large.safetensors"][: LARGE_BYTES // 4]
    files["half.safetensors"] = half + noise.randbytes(len(half))
    for path, content in files.items():
        path = folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def told(argv, env):
    """Runs a program that prints what it has found right."""
    print(end=run(argv, env, SECONDS_MAX), flush=True)


def access(options, work):
    """The same origin with users: see hub_access.py."""
    secrets = {"alice": "write", "alice-reads": "read", "bob": "write"}
    config = ['[[users]]\nname = "alice"\norganizations = ["lab"]\n', '[[users]]\nname = "bob"\n']
    for name, scope in secrets.items():
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        user = name.partition("-")[0]
        config.append(f'[[tokens]]\nuser = "{user}"\nscope = "{scope}"\nsha256 = "{sha256}"\n')
    (work / "origin.toml").write_text("\n".join(config))
    more = ["--config", work / "origin.toml"]
    with Origin(options.zest, work / "closed", work / "closed-home", more=more) as origin:
        env = environment(work / "access", origin.url)
        told([python(options), Path(__file__).with_name("hub_access.py"), *secrets], env)


def python(options):
    return options.hf.with_name("python")


def snapshot(options, env, repo, **how):
    return Path(run([python(options), "-c", SNAPSHOT, repo, json.dumps(how)], env, SECONDS_MAX).strip())


def single(options, env, repo, path, **how):
    return Path(run([python(options), "-c", FILE, repo, path, json.dumps(how)], env, SECONDS_MAX).strip())


def uploads(options, folder, meter, work):
    def upload(home, source, repo, *more):
        env = environment(work / home, meter.url)
        printed = run([options.hf, "upload", repo, source, *more], env, SECONDS_MAX)
        check(repo in printed, f"hf upload: printed {printed!r}")
        return meter.taken()

    sizes = {name: size for name, (size, _) in digests(folder).items()}
    first = upload("upload", folder, REPO, "--exclude", "half*")
    check(first >= LARGE_BYTES, f"hf upload: only {first} xorb bytes")
    passed(f"hf upload: {len(sizes) - 1} files, {first} xorb bytes")
    large = folder / "large.safetensors"
    original = work / "original"
    shutil.copy(large, original)
    with large.open("r+b") as file:
        file.seek(LARGE_BYTES // 3)
        file.write(random.Random(1).randbytes(int(LARGE_BYTES * CHANGED)))
    edited = upload("upload-edited", folder, "lab/edited", "--exclude", "half*")
    share = edited / LARGE_BYTES
    check(0 < share <= CHANGED_SENT_MOST, f"hf upload with {CHANGED:.0%} changed: {share:.2%} sent")
    env = environment(work / "edited", meter.url)
    expected = {path: digest for path, digest in digests(folder).items() if not path.startswith("half")}
    check_same(expected, snapshot(options, env, "lab/edited"), "snapshot_download of what was edited")
    passed(f"hf upload with {CHANGED:.0%} of the large file changed: {share:.2%} of it sent; downloaded: identical")
    shutil.move(original, large)

    second = upload("upload-half", folder, REPO)
    share = second / sizes["half.safetensors"]
    check(0 < share <= HALF_SENT_MOST, f"hf upload of a file that is half known: {share:.0%} of it sent")
    passed(f"hf upload of a file that shares its half, from a fresh home: {share:.0%} of it sent")
    for home, repo in [("upload", REPO), ("upload-again", REPO), ("upload-other", "lab/other")]:
        again = upload(home, folder, repo)
        check(again == 0, f"hf upload of what is there to {repo}: {again} xorb bytes")
    passed("hf upload of what is there, again and to another repository: 0 xorb bytes")


def downloads(options, folder, origin, work):
    expected = digests(folder)
    env = environment(work / "hf-download", origin.url)
    printed = run([options.hf, "download", REPO, "--quiet"], env, SECONDS_MAX)
    check_same(expected, printed.strip().splitlines()[-1].removeprefix("path="), "hf download")
    passed("hf download: identical")
    run([options.hf, "download", REPO, "--local-dir", work / "local", "--quiet"], env, SECONDS_MAX)
    shutil.rmtree(work / "local/.cache")
    check_same(expected, work / "local", "hf download --local-dir")
    passed("hf download --local-dir: identical")

    env = environment(work / "patterns", origin.url)
    how = {"allow_patterns": ["*.txt", "unicode/*"], "ignore_patterns": ["deep/*", "*.bin"]}
    chosen = {
        path: digest
        for path, digest in expected.items()
        if (path.endswith(".txt") or path.startswith("unicode/")) and not path.startswith("deep/")
        and not path.endswith(".bin")
    }
    check(len(chosen) == 4, f"patterns: {sorted(chosen)}")
    check_same(chosen, snapshot(options, env, REPO, **how), "snapshot_download with patterns")
    passed(f"snapshot_download with patterns: {len(chosen)} files, identical")

    env = environment(work / "single", origin.url)
    for path, digest in expected.items():
        if digest[0] < LARGE_BYTES / 2:
            found = single(options, env, REPO, path).resolve()
            check(digests(found.parent)[found.name] == digest, f"hf_hub_download: {path} differs")
    passed("hf_hub_download of each file: identical")


def without_xet(options, folder, origin, work):
    expected = digests(folder)
    off = {"HF_HUB_DISABLE_XET": "1"}
    env = environment(work / "download-off", origin.url, **off)
    check_same(expected, snapshot(options, env, REPO), "snapshot_download without Xet")
    passed("snapshot_download with HF_HUB_DISABLE_XET=1: identical")

    env = environment(work / "upload-off", origin.url, **off)
    run([options.hf, "upload", "lab/lfs", folder], env, SECONDS_MAX)
    check_same(expected, snapshot(options, env, "lab/lfs"), "without Xet, what was uploaded so")
    env = environment(work / "download-on", origin.url)
    check_same(expected, snapshot(options, env, "lab/lfs"), "with Xet, what was uploaded without")
    passed("hf upload with HF_HUB_DISABLE_XET=1, through LFS: identical with and without Xet")


def plain_http(folder, origin, work):
    """What any HTTP client can do with the URL of a file."""
    large = folder / "large.safetensors"
    size, digest = digests(folder)[large.name]
    url = f"{origin.url}/{REPO}/resolve/main/{large.name}"
    env = environment(work / "curl", origin.url)

    def curl(*argv, to=None):
        argv = ["curl", "--silent", "--show-error", "--fail", "--location", *argv]
        return run([*argv, "--output", to] if to else argv, env, SECONDS_MAX)

    part = work / "part"
    part.write_bytes(large.read_bytes()[: size // 3])
    sent = origin.data_bytes()
    curl("--continue-at", "-", url, to=part)
    sent = origin.data_bytes() - sent
    check((part.stat().st_size, sha256(part)) == (size, digest), "curl -C -: the file differs")
    check(sent == size - size // 3, f"curl -C -: {sent} bytes sent, and not the rest")
    passed(f"curl -C - of a third of the large file: identical, {sent} bytes sent")

    content = large.read_bytes()
    for name, stretch in [("100-199", content[100:200]), ("-7", content[-7:]), (f"{size - 3}-", content[-3:])]:
        curl("--range", name, url, to=part)
        check(part.read_bytes() == stretch, f"curl --range {name}: other bytes")
    passed("curl --range: first, last and middle bytes")

    small = f"{origin.url}/{REPO}/resolve/main/config.json"
    for target in [small, url]:
        etag = curl("--head", "--write-out", "%header{etag}", target).splitlines()[-1]
        status = curl("--header", f"If-None-Match: {etag}", "--write-out", "%{http_code}", target, to="/dev/null")
        check(status == "304", f"If-None-Match on {target}: {status}")
    passed("If-None-Match with the etag: 304")
    pointer = curl(f"{origin.url}/{REPO}/raw/main/{large.name}")
    expected = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
    check(pointer == expected, f"raw: {pointer!r}")
    check(curl(f"{origin.url}/{REPO}/raw/main/config.json") == (folder / "config.json").read_text(), "raw: differs")
    passed("raw: a small file, and the pointer of a large one")


def sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main_with_cleanup(main)
