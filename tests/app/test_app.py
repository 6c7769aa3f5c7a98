"""The web page without a browser: what visitors may give it, what it answers, and its HTTP API."""

import dataclasses
import io
import json
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from paths import ROOT
from runs import tiny
from served import Served, as_form, free_port
from stochvid import DataConfig, InputError
from stochvid.app.actions import FULL_DISK, MOST_FUTURES, Actions, branch_of, with_sentences, write_download
from stochvid.app.chosen_clips import ARRAY_BYTES, DIGITS, DRAWING, UPLOAD, UPLOAD_BYTES, choose_clip, open_upload
from stochvid.app.page import SESSIONS
from stochvid.app.server import open_port, serve
from stochvid.app.studio import Futures, Studio, SurpriseResult
from stochvid.cli import main
from stochvid.data.store import Store
from stochvid.media.clip import read_clip
from stochvid.media.video import write_gif
from stochvid.models.noise import Branch
from stochvid.prepare.preparation import prepare
from stochvid.training.train import train
from tiny import make_model, movie, narrow_prime, save_model

SEVEN = [[[0.2, 0.2], [0.8, 0.2], [0.4, 0.9]]]
NUMBERS = (3, 6, 4, 0, 1.0)  # context, horizon, futures, seed, temperature


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("app") / "tiny")


@pytest.fixture(scope="session")
def studio(model) -> Studio:
    return Studio.open(str(model), "cpu")


@pytest.fixture
def actions(studio) -> Actions:
    return Actions(studio)


def last(steps):
    """View, state and sentence (without its tags) of the last step of an action."""
    *_, (view, state, said) = with_sentences(steps)
    return view, state, re.sub(r"<[^>]+>", "", said)


# ------------------------------------------------------------------------------------------------ futures, branches


def test_futures_of_digits_are_those_of_predict(actions, studio):
    view, shown, said = last(actions.draw(DIGITS, 4, None, None, *NUMBERS))
    job = shown.job
    drawn = studio.network.predict(torch.from_numpy(job.context[None]), 6, 4, seed=0, chunk=4)
    assert torch.equal(shown.prediction.frames, (drawn.frames * 255).round().byte())
    assert torch.equal(shown.prediction.latents, drawn.latents)
    assert said == "4 futures of 6 frames, from 3 given ones."
    assert (view["known"], view["total"], len(view["tracks"])) == (3, 9, 5)
    assert np.allclose(view["curve"]["lines"], drawn.prior_std[0].mean(-1), atol=6e-4)
    assert np.allclose(view["latents"]["z"], drawn.latents[0], atol=6e-4)


def test_the_picture_holds_the_frames_that_the_tracks_name(actions):
    import base64

    from PIL import Image

    view, shown, _ = last(actions.draw(DIGITS, 4, None, None, *NUMBERS))
    page = np.asarray(Image.open(io.BytesIO(base64.b64decode(view["picture"].partition(",")[2]))))
    assert page.ndim == 2

    def frame(place):
        row, column = divmod(place, view["columns"])
        return page[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]

    truth, *futures = view["tracks"]
    assert np.array_equal(frame(truth["frames"][4]), shown.job.truth[1, 0])
    for sample, track in enumerate(futures):
        assert np.array_equal(frame(track["frames"][1]), shown.job.context[1, 0])
        assert np.array_equal(frame(track["frames"][8]), shown.prediction.frames[0, sample, 5, 0])


def test_more_like_this_one_follows_it_and_parts_and_leads_back(actions):
    _, first, _ = last(actions.draw(DIGITS, 4, None, None, *NUMBERS))
    view, second, said = last(actions.branch(first, 2, 5, *NUMBERS[1:]))
    assert said == "4 futures that follow future 3 to frame 5, and diverge after it."
    assert view["path"] == [{"future": 3, "frame": 5}]
    assert view["shared"] == 5
    for values in ("frames", "latents"):
        followed, shown = getattr(first.prediction, values), getattr(second.prediction, values)
        assert torch.equal(shown[:, :, :2], followed[:, 2:3, :2].expand_as(shown[:, :, :2]))
    assert not torch.equal(second.prediction.latents[:, 1, 2:], first.prediction.latents[:, 2, 2:])

    hot = (6, 4, 9, 1.5)  # another seed and temperature for the second branch alone
    view, third, _ = last(actions.branch(second, 0, 7, *hot))
    assert view["path"] == [{"future": 3, "frame": 5}, {"future": 1, "frame": 7}]
    assert torch.equal(third.prediction.latents[:, 0, :4], second.prediction.latents[:, 0, :4])
    _, back, _ = last(actions.go_back(third, 1))
    torch.testing.assert_close(back.prediction.latents, second.prediction.latents)
    _, root, _ = last(actions.go_back(third, 0))
    assert torch.equal(root.prediction.latents, first.prediction.latents)


def test_a_drawing_moves_by_the_rules_of_training(actions):
    _, shown, _ = last(actions.draw(DRAWING, 1, None, SEVEN, *NUMBERS))
    frames = np.concatenate([shown.job.context, shown.job.truth])
    assert frames.shape == (9, 1, 32, 32)
    assert (frames.reshape(9, -1).max(1) > 200).all()
    assert len({frame.tobytes() for frame in frames}) > 3
    assert "bounces" in shown.job.clip.tracks


def test_downloads_are_the_files_of_predict(actions, tmp_path):
    _, shown, _ = last(actions.draw(DIGITS, 4, None, None, *NUMBERS))
    for kind, begins in (("gif", b"GIF8"), ("mp4", b"\0\0\0"), ("npz", b"PK")):
        assert write_download(shown, kind, tmp_path).read_bytes().startswith(begins)
    arrays = np.load(tmp_path / "futures.npz")
    assert np.array_equal(arrays["futures"], shown.prediction.frames[0])
    assert {"context", "truth", "latents", "prior_mean", "prior_std", "seed", "temperature"} <= set(arrays)


def run_on_a_store() -> list[np.ndarray]:
    """A run in the folder `run`, of the store `data/held`; the clips that the store was made of."""
    frames = [np.random.default_rng(n).integers(0, 256, (12, 32, 32), dtype=np.uint8) for n in range(20)]
    Path("in").mkdir()
    for number, clip in enumerate(frames):
        np.save(f"in/{number:02}.npy", clip)
    prepare("in", "data/held", size=32, workers=0)
    data = DataConfig(store="data/held", stride=2, batch_size=2, val_clips=2)
    train(tiny(1, data=dataclasses.asdict(data), model={"channels": 1}), "run")
    return frames


def test_a_model_of_a_store_begins_with_its_held_out_clips(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frames = run_on_a_store()
    names, studio = Store("data/held").splits["test"].names, Studio.open("run", "cpu")
    assert studio.held_out == len(names) == 2
    held = [int(name.split(".")[0]) for name in names]
    for number, of in ((0, 0), (1, 1), (2, 0)):  # and from 0 again
        clip = choose_clip(studio, DIGITS, number, None, None, 6).read()
        assert np.array_equal(clip.frames[..., 0], frames[held[of]][::2])
    said = studio.without_paths(
        f"clip '{studio.store.path}:0', {studio.store.path}/test.npy, {studio.folder}/config.json"
    )
    assert said == f"clip 'held:0', held/test.npy, {studio.folder.name}/config.json"
    shutil.rmtree("data")
    assert "trained on clips of 'held', which are not here" in Studio.open("run", "cpu").summary
    capsys.readouterr()
    assert main(["predict", "run", "moving-mnist:1", "--samples", "1"]) == 0
    assert "data/held', not on digits" in capsys.readouterr().out


@pytest.mark.slow
def test_the_page_of_a_model_of_a_store_offers_its_clips_and_names_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_on_a_store()
    build = "from stochvid.app import page; print(page.build_page(page.Studio.open('run', 'cpu')).config)"
    built = subprocess.run([sys.executable, "-c", build], capture_output=True, text=True)  # gradio leaves loops open
    assert "Held-out clip" in built.stdout, built.stderr
    assert "0 to 1 of held'" in built.stdout
    told = built.stdout.splitlines()[-1]  # before it, what the log gets
    assert not any(path in told for path in ("data/held", str(tmp_path)))


def test_surprise_is_that_of_the_command(actions, model, tmp_path):
    view, shown, said = last(actions.watch(DIGITS, 4, None, 40))
    assert isinstance(shown, SurpriseResult)
    assert said.startswith("40 frames, ")
    assert main(["surprise", str(model), "moving-mnist:4", "--length", "40", "--out", str(tmp_path / "out")]) == 0
    mine = write_download(shown, "csv", tmp_path).read_text()
    assert mine == (tmp_path / "out" / "surprise.csv").read_text()
    assert len(view["curve"]["mean"]) == len(view["error"]["mean"]) == 39


def test_work_goes_in_steps_between_which_it_can_be_stopped(actions):
    steps = list(actions.draw(DIGITS, 4, None, None, 3, 60, 16, 0, 1.0))
    assert len(steps) >= 3
    assert all(isinstance(state, Futures | None) for _, state, _ in steps)


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 0, "The number of given frames must be a whole number from 1 to 20, got 0."),
        (1, 2.5, "The number of predicted frames must be a whole number from 1 to 100, got 2.5."),
        (2, MOST_FUTURES + 1, "The number of futures must be a whole number from 1 to 16, got 17."),
        (3, None, "The seed must be a whole number from 0 to 2,147,483,647, got None."),
        (3, float("nan"), "The seed must be a whole number"),
        (4, "hot", "The temperature must be from 0 to 2, got 'hot'."),
        (4, True, "The temperature must be from 0 to 2, got True."),
    ],
)
def test_a_number_that_is_wrong_becomes_a_sentence(actions, place, value, message):
    numbers = list(NUMBERS)
    numbers[place] = value
    view, shown, said = last(actions.draw(DIGITS, 0, None, None, *numbers))
    assert view is shown is None  # what was there stays
    assert message.replace("'", "&#x27;") in said


@pytest.mark.parametrize(
    ("kind", "strokes", "message"),
    [
        (UPLOAD, None, "No file was given."),
        (DRAWING, [], "Nothing is drawn yet."),
        (DRAWING, "M0 0L1 1", "must be a list of lines"),
        (DRAWING, [[[0.5]]], "must be a list of lines"),
        (DRAWING, [[[0.5, 7]]], "must be a list of lines"),
        (DRAWING, [[[float("nan"), 0.5]]], "must be a list of lines"),
        (DRAWING, [[[0.5, 0.5]] * 6000], "more than 5,000 points"),
        ("Camera", None, "no clip of the kind"),
    ],
)
def test_a_clip_that_is_none_becomes_a_sentence(studio, kind, strokes, message):
    with pytest.raises(InputError, match=message):
        choose_clip(studio, kind, 0, None, strokes, 9)


def test_a_dot_is_a_drawing(studio):
    assert len(choose_clip(studio, DRAWING, 0, None, [[[0.5, 0.5]]], 9).read().frames) == 9


@pytest.mark.parametrize(
    ("sample", "frame", "message"),
    [(9, 5, "no future 10"), (0, 9, "one must be left"), (0, 2, "frame must be"), (None, 5, "future must be")],
)
def test_a_branch_of_nothing_becomes_a_sentence(actions, sample, frame, message):
    _, shown, _ = last(actions.draw(DIGITS, 4, None, None, *NUMBERS))
    assert message in last(actions.branch(shown, sample, frame, *NUMBERS[1:]))[2]
    assert "Draw some first" in last(actions.branch(None, 0, 5, *NUMBERS[1:]))[2]


def test_branches_of_the_api_are_read_and_checked():
    assert branch_of([]) is branch_of(None) is None
    two = [{"sample": 1, "frames": 2}, {"seed": 4, "sample": 0, "frames": 3, "temperature": 0.5}]
    assert branch_of(two) == Branch(4, 0, 3, 0.5, Branch(0, 1, 2))
    for wrong in ({"sample": 1}, [{"sample": 1}], [{"sample": 1, "frames": 2, "x": 1}], [7], two * 26):
        with pytest.raises(InputError, match="branch"):
            branch_of(wrong)


def bomb(path: Path) -> Path:
    """An .npz of a few MB that unpacks to 1 GB."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("clip.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (1024, 1024, 1024)}
        )
        for _ in range(1024):
            file.write(bytes(1 << 20))
    return path


def endless_directory(path: Path, zip64: bool = False) -> Path:
    """An .npz that is nothing but a directory of 9 MB, 200,000 times the same entry."""
    directory = b"".join((b"PK\1\2", struct.pack("<HHHHHHIIIHHHHHII", 20, 20, *[0] * 14))) * 200_000
    size = len(directory)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF if zip64 else size, 0, 0)
    if zip64:
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 200_000, 200_000, size, 0)
        end = record + struct.pack("<4sLQL", b"PK\6\7", 0, size, 1) + end
    path.write_bytes(directory + end)
    return path


def test_good_uploads_are_taken(actions, tmp_path):
    np.save(tmp_path / "array.npy", np.zeros((12, 20, 30, 3), np.uint8))
    np.savez(tmp_path / "array.npz", clip=np.zeros((12, 20, 30), np.float32))
    write_gif(tmp_path / "loop.gif", np.random.default_rng(0).integers(0, 256, (12, 20, 30, 3), np.uint8), 10)
    movie(tmp_path / "movie.mp4")
    for name in ("array.npy", "array.npz", "loop.gif", "movie.mp4"):
        _, shown, said = last(actions.draw(UPLOAD, None, str(tmp_path / name), None, *NUMBERS))
        assert shown is not None, said
        assert shown.job.context.shape == (3, 1, 32, 32)


def test_uploads_beyond_the_limits_are_refused_by_their_headers(tmp_path):
    html = tmp_path / "page.mp4"
    html.write_text("<!doctype html><title>no video</title>")
    long = movie(tmp_path / "long.mp4", (16, 16), frames=30, fps=1 / 60)
    wide = write_gif(tmp_path / "wide.gif", np.zeros((1, 2200, 4000, 3), np.uint8), 10)
    huge = tmp_path / "huge.npy"
    with open(huge, "wb") as file:
        file.truncate(UPLOAD_BYTES + 1)
    np.save(tmp_path / "tall.npy", np.zeros((1, 4000, 3000), np.uint8))
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4 nothing more")
    (tmp_path / "notes.txt").write_text("hello")
    began = time.monotonic()
    for path, message in (
        (html, "clip 'page.mp4' cannot be decoded as video"),
        (long, "clip 'long.mp4' lasts 30 minutes; at most 10 can be taken"),
        (wide, "clip 'wide.gif' has frames of 4000×2200; at most 3840×2160"),
        (huge, "bytes; the limit is 64 MB"),
        (tmp_path / "tall.npy", "clip 'tall.npy' has frames of 3000×4000; at most 3840×2160"),
        (bomb(tmp_path / "bomb.npz"), f"unpacks to 1,024 MB; at most {ARRAY_BYTES >> 20} MB"),
        (endless_directory(tmp_path / "list.npz"), "its directory has 9,200,000 bytes"),
        (endless_directory(tmp_path / "list64.npz", zip64=True), "its directory has 9,200,000 bytes"),
        (tmp_path / "broken.npz", "clip 'broken.npz' is not a whole .npz file"),
        (tmp_path / "notes.txt", "'notes.txt' cannot be read here"),
    ):
        with pytest.raises(InputError) as error:
            open_upload(path, None)
        assert message in str(error.value)
        assert str(tmp_path) not in str(error.value)
    assert time.monotonic() - began < 60


def test_only_the_frames_that_are_used_are_decoded(actions, tmp_path):
    """What comes after them is no video, and nobody notices; whoever reads on does."""
    path = movie(tmp_path / "a.mp4", frames=200)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * (path.stat().st_size // 3))
    with pytest.raises(InputError, match=r"a\.mp4"):
        read_clip(path)
    _, shown, said = last(actions.draw(UPLOAD, None, str(path), None, *NUMBERS))
    assert shown is not None, said
    assert len(shown.job.context) + len(shown.job.truth) == 9


def test_a_clip_that_breaks_off_is_called_by_its_name(actions, tmp_path):
    path = movie(tmp_path / "cut.mp4", frames=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = last(actions.draw(UPLOAD, None, str(path), None, *NUMBERS))[2]
    assert "cut.mp4" in said
    assert str(tmp_path) not in said


def test_a_model_without_latents_draws_one_future_and_says_so(tmp_path):
    actions = Actions(Studio.open(str(save_model(tmp_path / "det", prior="none")), "cpu"))
    view, shown, said = last(actions.draw(DIGITS, 4, None, None, *NUMBERS))
    assert "curve" not in view
    assert "latents" not in view
    assert view["heats"] == []
    assert shown.prediction.frames.shape[1] == shown.settings.futures == 1
    assert [track["label"] for track in view["tracks"]] == ["What happened", "Future"]
    assert said.startswith("1 future of 6 frames")
    assert "no latents" in last(actions.watch(DIGITS, 4, None, 20))[2]


# -------------------------------------------------------------------------------------------------------- the server


@pytest.fixture(scope="session")
def server(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("temporary")
    served = Served(model, folder=folder)
    yield served
    assert served.stop() == 130
    assert list(folder.iterdir()) == []  # what it took for a while is gone
    assert "Traceback" not in served.said, served.said


@pytest.fixture(scope="session")
def client(server):
    from gradio_client import Client

    return Client(server.url, verbose=False)


def test_the_server_says_where_it_is(server):
    assert f"Open {server.url} in a browser." in server.said


def test_the_page_says_that_the_model_is_being_loaded_until_it_is(server):
    assert "The model is being loaded." in server.first
    assert "window.gradio_config" not in server.first
    text = server.get("/")[2]
    assert "window.gradio_config" in text
    assert "being loaded" not in text


def test_the_example_of_the_docs_runs(server, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    movie(tmp_path / "clip.mp4", frames=30)
    names = {}
    exec(code.replace("http://127.0.0.1:7860", server.url), names)
    assert names["futures"].shape == (6, 20, 1, 32, 32)
    assert Path(names["table"]).read_text().startswith("frame,seconds,kl")


def test_the_api_says_what_is_wrong(client, tmp_path):
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    html = tmp_path / "page.mp4"
    html.write_text("<!doctype html>")
    for arguments, message in (
        ({"futures": 99}, "The number of futures must be a whole number from 1 to 16, got 99"),
        ({"clip": handle_file(str(html))}, "clip 'page.mp4' cannot be decoded as video"),
        ({"drawing": [[[2, 2]]]}, "must be a list of lines"),
        ({"branches": [{"sample": 0}]}, "a branch must have sample and frames"),
    ):
        with pytest.raises(AppError, match=re.escape(message)):
            client.predict(**arguments, api_name="/futures")
    assert client.predict(drawing=SEVEN, futures=2, horizon=3, api_name="/futures").endswith("futures.npz")


def test_two_programs_at_once_get_their_own_futures(server, studio):
    from gradio_client import Client

    found = {}

    def ask(digits):
        one = Client(server.url, verbose=False)
        found[digits] = np.load(one.predict(digits=digits, futures=4, horizon=12, api_name="/futures"))["context"]

    threads = [threading.Thread(target=ask, args=(digits,)) for digits in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for digits in (1, 2):
        source = choose_clip(studio, DIGITS, digits, None, None, 15)
        assert np.array_equal(found[digits], source.read(3).frames.transpose(0, 3, 1, 2))


def event(server: Served, session: str, number: int, data: list, extra: dict | None = None) -> str:
    """What the server tells of an event of the page, as a browser starts it."""
    body = {"data": data, "fn_index": number, "session_hash": session, "event_data": extra, "trigger_id": None}
    status, _, text = server.get("/gradio_api/queue/join", json.dumps(body).encode())
    assert status == 200, text
    with urllib.request.urlopen(f"{server.url}/gradio_api/queue/data?session_hash={session}", timeout=60) as answer:
        for line in answer:
            text += line.decode()
            if "process_completed" in text:
                return text
    raise AssertionError(text)


def test_what_was_dropped_for_other_visitors_is_to_be_drawn_again(server):
    config = json.loads(server.get("/config")[2])
    numbers = {part["api_name"]: part["id"] for part in config["dependencies"]}
    drawn = event(server, "first", numbers["on_draw"], [DIGITS, 7, None, None, 3, 2, 1, 0, 1])
    (view,) = set(re.findall(r'"id": ?"([\w-]{16})"', drawn))
    ask = {"view": view, "kind": "npz"}
    assert "futures.npz is ready" in event(server, "first", numbers["on_download"], [None], ask)
    for visitor in range(SESSIONS):
        assert "Draw again" in event(server, f"other{visitor}", numbers["on_download"], [None], ask)
    assert "Draw again" in event(server, "first", numbers["on_download"], [None], ask)


def call(server: Served, clip: dict) -> str:
    """The events of a call of /futures that names a file by itself."""
    body = json.dumps({"data": [clip, 0, [], 3, 4, 2, 0, 1, []]}).encode()
    _, _, text = server.get("/gradio_api/call/futures", body, **{"Content-Type": "application/json"})
    return server.get(f"/gradio_api/call/futures/{json.loads(text)['event_id']}")[2]


@pytest.mark.parametrize(
    "path", ["http://127.0.0.1:1/a.mp4", "https://example.org/a.mp4", "/etc/passwd", str(ROOT / "README.md")]
)
def test_the_server_reads_nothing_that_was_not_uploaded(server, path):
    told = call(server, {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}})
    assert "error" in told
    assert "complete" not in told


@pytest.mark.parametrize("path", ["file=https://example.org/", "file=/etc/passwd", "proxy=https://example.org/"])
def test_routes_that_lead_elsewhere_are_closed(server, path):
    assert server.get(f"/gradio_api/{path}")[0] in (403, 404)


def test_the_page_may_load_nothing_from_elsewhere(server):
    status, headers, text = server.get("/")
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    fetched = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](https?:[^\"']+)", text)
    assert fetched == []


def test_what_is_too_large_is_refused_before_it_is_read(server):
    status, _, text = server.get("/gradio_api/upload", b"x", **{"Content-Length": str(UPLOAD_BYTES * 2)})
    assert (status, text) == (413, "The file is too large: at most 64 MB.")
    status, _, _ = server.get("/gradio_api/queue/join", b"[", **{"Content-Length": str(1 << 21)})
    assert status == 413
    assert server.get("/")[0] == 200


def test_a_full_disk_is_said_and_the_server_stays_up(server):
    """A limit on the size of files stands for the full disk."""
    number, (before, most) = server.process.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
    content, kind = as_form(bytes(3 << 20))
    resource.prlimit(number, resource.RLIMIT_FSIZE, (100_000, most))
    try:
        status, _, text = server.get("/gradio_api/upload", content, **{"Content-Type": kind})
    finally:
        resource.prlimit(number, resource.RLIMIT_FSIZE, (before, most))
    assert (status, text) == (507, FULL_DISK)
    assert server.get("/")[0] == 200


# ------------------------------------------------------------------------------------------------------- the command


def test_a_busy_port_is_named_and_another_offered():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} of 127.0.0.1 cannot be used: Address already in use") as e:
            open_port("127.0.0.1", port)
    offered = int(re.search(r"--port (\d+)", str(e.value))[1])
    open_port("127.0.0.1", offered).close()


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 0, "--port must be from 1"),
        ("no.such.host.invalid", 7860, "is not an address"),
        ("8.8.8.8", 7860, "8.8"),
    ],
)
def test_an_address_that_cannot_be_is_refused(host, port, message):
    with pytest.raises(InputError, match=message):
        open_port(host, port)


def test_a_missing_extra_is_named(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "gradio", None)  # it cannot be found then
    with pytest.raises(InputError, match=r"pip install 'stochvid\[app\]'"):
        serve(str(model))


def test_a_model_that_is_not_there_is_said_before_gradio_loads(capsys, tmp_path):
    assert main(["app", str(tmp_path / "none"), "--port", str(free_port())]) == 2
    assert "is neither a folder here nor a repository" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ where it is open


def heats_of(view):
    """The heats of a view by their labels, as arrays (T, h, w, 4)."""
    import base64

    from PIL import Image

    found = {}
    for one in view["heats"]:
        page = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["picture"].partition(",")[2]))))
        rows = page.reshape(-1, one["height"], one["columns"], one["width"], 4).transpose(0, 2, 1, 3, 4)
        found[one["label"]] = rows.reshape(-1, one["height"], one["width"], 4)[: one["count"]]
    return found


def test_heat_lies_where_futures_differ(actions):
    view, shown, _ = last(actions.draw(DIGITS, 4, None, None, *NUMBERS))
    heats = heats_of(view)
    assert list(heats) == ["Where futures differ"]  # latents of SVG are no maps
    assert [one["from"] for one in view["heats"]] == [view["known"] + 1]
    spread = (shown.prediction.frames[0].numpy() / 255).std(0).mean(1)
    opacity = heats["Where futures differ"][..., 3]
    np.testing.assert_allclose(opacity, 0.8 * 255 * np.sqrt(spread / spread.max()), atol=1)


def test_latents_that_are_maps_have_heat_in_every_cell(tmp_path):
    config = narrow_prime(latent_size=4, z_dim=5)
    make_model(config).float().save_pretrained(tmp_path / "prime")
    studio = Studio.open(str(tmp_path / "prime"), "cpu")
    view, shown, _ = last(Actions(studio).draw(DIGITS, 4, None, None, *NUMBERS))
    heats = heats_of(view)
    assert heats["Uncertainty σ"].shape == (6, 4, 4, 4)
    cells = shown.prediction.prior_std[0].float().mean((0, 2)).numpy()
    share = (cells - cells.min()) / (cells.max() - cells.min())
    np.testing.assert_allclose(heats["Uncertainty σ"][..., 3], 0.8 * 255 * np.sqrt(share), atol=1)
    assert np.shape(view["latents"]["z"]) == (4, 6, 64)  # of 80, those that differ most
    assert shown.prediction.latents.shape == (1, 4, 6, 5, 4, 4)
