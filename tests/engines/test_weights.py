import hashlib
import logging
import multiprocessing
import socket
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from engines.base import EngineError, Weights
from engines.files import cache_folder
from engines.weights import fetch

CONTENT = bytes(range(256)) * 4096
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT, in the way that the path says."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/missing.onnx":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.send()

    def send(self) -> None:
        if self.path == "/cut.onnx":
            self.wfile.write(CONTENT[:1000])
        elif self.path == "/stuck.onnx":
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            self.server.released.wait(20)
        elif self.path == "/wrong.onnx":
            self.wfile.write(CONTENT[::-1])
        else:
            self.wfile.write(CONTENT)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.released = [], Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def official(server, name: str, sha256: str = SHA) -> Weights:
    return Weights(url=f"{server.url}/{name}", sha256=sha256)


def visible(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if not p.name.endswith(".lock")]


def failure(weights: Weights, cache: Path, **more) -> str:
    with pytest.raises(EngineError) as e:
        fetch(weights, cache=cache, **more)
    return str(e.value)


def by_hand(weights: Weights, cache: Path, what: str) -> str:
    name = Path(weights.url).name
    target = cache / name.replace(".onnx", f"-{weights.sha256[:8]}.onnx")
    return (
        f"cannot download {weights.url}: {what}. Put the file there by hand as {target} (sha256 {weights.sha256}), "
        "or set weights to the path of a file that you have"
    )


def test_a_path_is_given_back_with_the_home_folder_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.onnx").write_bytes(CONTENT)
    assert fetch(Weights(path="~/m.onnx")) == tmp_path / "m.onnx"


def test_a_path_with_a_sha256_is_verified(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(CONTENT)
    assert fetch(Weights(path=str(path), sha256=SHA.upper())) == path
    assert failure(Weights(path=str(path), sha256="0" * 64), tmp_path) == (
        f"weights: {path} has sha256 {SHA}, expected {'0' * 64}; get the right file"
    )


def test_a_url_is_downloaded_once(server, tmp_path):
    first, second = (fetch(official(server, "m.onnx"), cache=tmp_path / "new" / "cache") for _ in range(2))
    assert first == second == tmp_path / "new" / "cache" / f"m-{SHA[:8]}.onnx"
    assert first.read_bytes() == CONTENT
    assert server.asked == ["/m.onnx"]
    assert visible(first.parent) == [first.name]


def test_a_file_url_is_copied(tmp_path):
    (tmp_path / "m.onnx").write_bytes(CONTENT)
    weights = Weights(url=(tmp_path / "m.onnx").as_uri(), sha256=SHA)
    assert fetch(weights, cache=tmp_path / "cache").read_bytes() == CONTENT


def test_a_url_without_sha256_is_refused(server, tmp_path):
    assert failure(Weights(url=f"{server.url}/m.onnx"), tmp_path) == (
        f"{server.url}/m.onnx is given without sha256; add that of the official file"
    )
    assert server.asked == []


def test_wrong_content_is_removed_and_both_hashes_are_named(server, tmp_path):
    weights = official(server, "wrong.onnx")
    got = hashlib.sha256(CONTENT[::-1]).hexdigest()
    what = f"what came has sha256 {got}, expected {SHA}; it was removed"
    assert failure(weights, tmp_path) == by_hand(weights, tmp_path, what)
    assert visible(tmp_path) == []


def test_a_download_that_breaks_off_leaves_nothing(server, tmp_path):
    weights = official(server, "cut.onnx")
    what = f"the download ended after 1000 of {len(CONTENT)} bytes; try again"
    assert failure(weights, tmp_path) == by_hand(weights, tmp_path, what)
    assert visible(tmp_path) == []


def test_a_server_that_falls_silent_is_given_up(server, tmp_path):
    weights = official(server, "stuck.onnx")
    assert failure(weights, tmp_path, timeout_s=0.2) == by_hand(weights, tmp_path, "timed out")
    assert visible(tmp_path) == []


def test_an_answer_of_404_is_told(server, tmp_path):
    weights = official(server, "missing.onnx")
    assert failure(weights, tmp_path) == by_hand(weights, tmp_path, "the server answered 404 Not Found")


def test_offline_says_where_to_put_the_file_by_hand(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        weights = Weights(url=f"http://127.0.0.1:{taken.getsockname()[1]}/m.onnx", sha256=SHA)
        what = "[Errno 111] Connection refused"
        assert failure(weights, tmp_path).replace("Errno 61", "Errno 111") == by_hand(weights, tmp_path, what)


def test_a_file_put_there_by_hand_is_used(tmp_path):
    path = tmp_path / f"m-{SHA[:8]}.onnx"
    path.write_bytes(CONTENT)
    assert fetch(Weights(url="http://127.0.0.1:9/m.onnx", sha256=SHA), cache=tmp_path) == path


def test_a_damaged_file_in_the_cache_is_replaced(server, tmp_path, caplog):
    path = tmp_path / f"m-{SHA[:8]}.onnx"
    path.write_bytes(CONTENT[:-1])
    assert fetch(official(server, "m.onnx"), cache=tmp_path).read_bytes() == CONTENT
    assert caplog.messages == [f"{path} does not have the sha256 {SHA}; it is downloaded again"]


def test_what_a_killed_download_left_behind_is_no_model(server, tmp_path):
    (tmp_path / f".m-{SHA[:8]}.onnx.part").write_bytes(CONTENT[:500])
    assert fetch(official(server, "m.onnx"), cache=tmp_path).read_bytes() == CONTENT
    assert visible(tmp_path) == [f"m-{SHA[:8]}.onnx"]


@pytest.mark.parametrize("name", ["..", "a%2F..%2Fb.onnx", ".hidden.onnx", "", "m.onnx?x=/../y"])
def test_no_url_leads_out_of_the_cache(server, tmp_path, name):
    assert fetch(official(server, name), cache=tmp_path / "cache").parent == tmp_path / "cache"
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]


def test_progress_is_told_of_every_byte(server, tmp_path):
    told = []

    @contextmanager
    def progress(name, size):
        told.append((name, size))
        yield told.append

    fetch(official(server, "m.onnx"), cache=tmp_path, progress=progress)
    assert told[0] == (f"m-{SHA[:8]}.onnx", len(CONTENT))
    assert sum(told[1:]) == len(CONTENT)


def test_without_a_terminal_progress_is_one_line_of_log(server, tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO):
        fetch(official(server, "m.onnx"), cache=tmp_path)
    assert caplog.messages == [f"downloading m-{SHA[:8]}.onnx (1.0 MB)"]
    assert capfd.readouterr() == ("", "")


def test_a_terminal_sees_a_bar(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    fetch(official(server, "m.onnx"), cache=tmp_path)
    assert f"m-{SHA[:8]}.onnx" in capsys.readouterr().err


def test_two_processes_at_once_download_once(server, tmp_path):
    context = multiprocessing.get_context("spawn")
    weights = official(server, "m.onnx")
    processes = [context.Process(target=fetch, args=(weights,), kwargs={"cache": tmp_path}) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert server.asked == ["/m.onnx"]
    assert visible(tmp_path) == [f"m-{SHA[:8]}.onnx"]


def test_the_cache_is_where_the_system_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder("weights") == tmp_path / ".cache" / "cauce" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert cache_folder("weights") == tmp_path / "c" / "cauce" / "weights"
