# SPDX-License-Identifier: Apache-2.0
"""Downloads from a real HTTP server on this machine that misbehaves on request."""

import hashlib
import http.server
import io
import re
import shutil
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest

from e2train.data import cifar, fetch, load_dataset
from e2train.errors import UserError

RECORDS = 30
NAME = "cifar-10-binary.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.body`; Range is honoured unless `server.ranges` is off."""

    def do_GET(self):
        server = self.server
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        server.starts.append(int(asked[1]) if asked else 0)
        if self.path != f"/files/{NAME}":
            self.send_error(404)
            return
        start = int(asked[1]) if asked and server.ranges else 0
        if start >= len(server.body):
            self.send_error(416)
            return
        body = server.body[start:]
        self.send_response(206 if start else 200)
        if server.send_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # Closing before the promised length is what a broken connection looks like.
        self.wfile.write(body[: server.cut_after])

    def log_message(self, *_):
        """Keep the test's output clean."""


class Server(http.server.ThreadingHTTPServer):
    """The archive, how to misbehave, and where each request asked to start."""

    daemon_threads = True

    def __init__(self, body):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.starts = body, []
        self.ranges, self.send_length, self.cut_after = True, True, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/files"


def build_archive(layout, skip=()):
    """A tar.gz like the official one, with traps: a path that climbs out, a link, a stranger."""
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:

        def add(name, content):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

        for name, records in layout.files.items():
            rows = rng.integers(0, 256, (records, layout.record_bytes), np.uint8)
            rows[:, 0] = np.arange(records) % 10
            if name not in skip:
                add(f"cifar-10-batches-bin/{name}", rows.tobytes())
        add("cifar-10-batches-bin/batches.meta.txt", b"airplane\n")
        add("../escaped.txt", b"out")
        add("/cifar-10-batches-bin/stranger.txt", b"unknown")
        link = tarfile.TarInfo("cifar-10-batches-bin/readme.html")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return stream.getvalue()


def announce(monkeypatch, body):
    """Make the checksum of `body` the expected one."""
    archive = replace(fetch.ARCHIVES["cifar10"], md5=hashlib.md5(body).hexdigest(), megabytes=1)
    monkeypatch.setitem(fetch.ARCHIVES, "cifar10", archive)


@pytest.fixture
def server(monkeypatch):
    layout = replace(cifar.LAYOUTS["cifar10"], train_records=RECORDS, test_records=RECORDS)
    monkeypatch.setitem(cifar.LAYOUTS, "cifar10", layout)
    body = build_archive(layout)
    announce(monkeypatch, body)
    with Server(body) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server, folder, progress=lambda done, total: None):
    return fetch.fetch("cifar10", folder, progress, server.url)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fetches_checks_unpacks_and_labels(server, tmp_path):
    seen = []
    folder = tmp_path / "new" / "data"
    target = get(server, folder, lambda done, total: seen.append((done, total)))
    size = len(server.body)
    assert seen[0] == (0, size)
    assert seen[-1] == (size, size)
    assert names(folder) == ["cifar-10-batches-bin"]
    expected = {*cifar.LAYOUTS["cifar10"].files, "batches.meta.txt", "LABEL.txt"}
    assert set(names(target)) == expected, "nothing but the known files"
    assert not list(tmp_path.rglob("escaped.txt"))
    dataset = load_dataset("cifar10", folder)
    assert dataset.label == "CIFAR-10"
    assert len(dataset.train_labels) == 5 * RECORDS


def test_a_complete_data_set_is_not_fetched_again(server, tmp_path):
    get(server, tmp_path)
    get(server, tmp_path)
    assert server.starts == [0]


def test_an_interrupted_download_goes_on_where_it_ended(server, tmp_path):
    server.cut_after = cut = len(server.body) // 3
    with pytest.raises(UserError, match=rf"ended after {cut:,} of {len(server.body):,} bytes"):
        get(server, tmp_path)
    assert names(tmp_path) == [f"{NAME}.part"]
    server.cut_after = None
    seen = []
    get(server, tmp_path, lambda done, total: seen.append((done, total)))
    assert server.starts == [0, cut]
    assert seen[0] == (cut, len(server.body))
    assert load_dataset("cifar10", tmp_path).label == "CIFAR-10"


def test_a_server_without_ranges_starts_from_the_beginning(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(server.body[:100])
    server.ranges = False
    get(server, tmp_path)
    assert server.starts == [100]
    assert load_dataset("cifar10", tmp_path).label == "CIFAR-10"


def test_a_server_that_does_not_tell_the_length(server, tmp_path):
    server.send_length = False
    seen = []
    get(server, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(server.body), None)


def test_a_part_that_is_complete_already_is_used(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(server.body)
    get(server, tmp_path)
    assert server.starts == [len(server.body)]


def test_a_wrong_checksum_is_said_and_the_file_removed(server, tmp_path):
    server.body = server.body[:-1] + bytes([server.body[-1] ^ 1])
    with pytest.raises(UserError, match=rf"{NAME} has MD5 [0-9a-f]{{32}}, expected [0-9a-f]{{32}}"):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_an_error_of_the_server_is_said(server, tmp_path):
    with pytest.raises(UserError, match=rf"^{server.url}/x/{NAME}: the server answers 404"):
        fetch.fetch("cifar10", tmp_path, lambda done, total: None, server.url + "/x/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/files", "nonsense"])
def test_no_server_is_said(server, tmp_path, url):
    with pytest.raises(UserError, match=f"^{url}/{NAME}: "):
        fetch.fetch("cifar10", tmp_path, lambda done, total: None, url)


def test_the_environment_names_another_server(server, tmp_path, monkeypatch):
    monkeypatch.setenv("E2TRAIN_DATA_URL", server.url)
    fetch.fetch("cifar10", tmp_path, lambda done, total: None)
    assert server.starts == [0]


def test_too_little_space_is_said_before_the_download(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"has 1 MB free, CIFAR-10 needs 2 MB"):
        get(server, tmp_path)
    assert server.starts == []


def test_a_disk_that_fills_up_is_said(server, tmp_path):
    # The kernel answers "no space left" to every write to this device.
    (tmp_path / f"{NAME}.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=f"^no space left on the disk of {tmp_path}$"):
        get(server, tmp_path)


def test_a_folder_that_cannot_be_made_is_said(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file"):
        get(server, tmp_path / "file")


def test_an_incomplete_data_set_in_the_way_is_said(server, tmp_path):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    with pytest.raises(UserError, match=r"data_batch_1\.bin is missing"):
        get(server, tmp_path)
    assert server.starts == []


def test_an_archive_without_all_files_leaves_nothing_behind(server, tmp_path, monkeypatch):
    server.body = build_archive(cifar.LAYOUTS["cifar10"], skip=("test_batch.bin",))
    announce(monkeypatch, server.body)
    with pytest.raises(UserError, match=r"test_batch\.bin is missing"):
        get(server, tmp_path)
    assert names(tmp_path) == [f"{NAME}.part"]


def test_a_broken_archive_is_said(server, tmp_path, monkeypatch):
    server.body = server.body[: len(server.body) // 2]
    announce(monkeypatch, server.body)
    with pytest.raises(UserError, match="not a complete tar archive"):
        get(server, tmp_path)
    assert names(tmp_path) == [f"{NAME}.part"]


def test_only_cifar_can_be_fetched(tmp_path):
    with pytest.raises(UserError, match="cannot fetch 'digits': expected one of cifar10, cifar100"):
        fetch.fetch("digits", tmp_path, lambda done, total: None)
