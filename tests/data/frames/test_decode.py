"""Every requested frame is the frame asked for: frames carry their number as a pattern of black and white blocks."""

from __future__ import annotations

import os
import pickle
import signal

import numpy as np
import pytest

from lara.data.frames.decode import PyAVReader
from lara.data.frames.encode import ImageStorage, VideoStorage, encode_video, frame_rate, join_videos
from lara.data.frames.torchcodec import TorchCodecReader, require_torchcodec
from lara.errors import ConfigError, DataError, MissingExtraError

pytest.importorskip("av")

BITS, SIZE = 8, 32


def numbered(numbers, size: int = SIZE) -> np.ndarray:
    """(n, size, size, 3) uint8: vertical stripes, one per bit."""
    bits = (np.asarray(numbers)[:, None] >> np.arange(BITS)) & 1
    stripes = np.repeat(bits * 255, size // BITS, axis=1).astype(np.uint8)
    return np.broadcast_to(stripes[:, None, :, None], (len(bits), size, size, 3)).copy()


def read_numbers(images: np.ndarray) -> list[int]:
    stripe = images.shape[2] // BITS
    middle = images[:, images.shape[1] // 2, stripe // 2 :: stripe].mean(-1) > 127
    return (middle @ (1 << np.arange(BITS))).tolist()


@pytest.fixture(params=["libsvtav1", "h264"])
def codec(request):
    return request.param


@pytest.mark.parametrize("gop", [1, 2, 10, 250])
def test_every_request_returns_exactly_its_frame(tmp_path, codec, gop):
    path, fps, n = tmp_path / "a.mp4", 30.0, 53
    encode_video(path, numbered(range(n)), fps=fps, storage=VideoStorage(codec=codec, gop=gop))
    rng = np.random.default_rng(gop)
    requests = [list(range(n)), [n - 1], [0], [7, 7, 3], list(range(n - 1, -1, -1))]
    requests += [rng.integers(0, n, rng.integers(1, 9)).tolist() for _ in range(60)]
    reader = PyAVReader()
    assert reader.count(path) == n
    for asked in requests:
        got = reader.frames(path, np.array(asked) / fps, tolerance=0.25 / fps)
        assert read_numbers(got) == asked
    reader.close()


def test_b_frames_of_a_foreign_encoder_are_exact(tmp_path):
    import av

    path, n = tmp_path / "b.mp4", 60
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "h264", rate=25, options={"g": "12", "bf": "3", "x264-params": "open-gop=1:b-adapt=0"}
        )
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for image in numbered(range(n)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.dts is not None]
        assert sorted(p.pts for p in packets) != [p.pts for p in packets], (
            "the encoder made no B-frames, so this test would prove nothing"
        )
    reader = PyAVReader()
    rng = np.random.default_rng(0)
    for _ in range(100):
        asked = rng.integers(0, n, 3).tolist()
        assert read_numbers(reader.frames(path, np.array(asked) / 25, tolerance=0.01)) == asked


@pytest.mark.parametrize("fps", [10.0, 29.97, 30.0, 80.0])
def test_joined_parts_hold_the_same_pixels_at_shifted_times(tmp_path, codec, fps):
    storage = VideoStorage(codec=codec)
    lengths, first, parts, separate = [5, 1, 12], 0, [], []
    reader = PyAVReader()
    rate = float(frame_rate(fps))
    for k, n in enumerate(lengths):
        part = tmp_path / f"{k}.mp4"
        encode_video(part, numbered(range(first, first + n)), fps=fps, storage=storage)
        separate.append(reader.frames(part, np.arange(n) / rate, tolerance=0.25 / fps))
        parts.append(part)
        first += n
    joined = tmp_path / "joined.mp4"
    join_videos(parts, joined, fps=fps, lengths=lengths)
    got = reader.frames(joined, np.arange(first) / rate, tolerance=1e-5)
    assert read_numbers(got) == list(range(first))
    np.testing.assert_array_equal(got, np.concatenate(separate))
    for n in range(first):  # and each one alone, far from any other
        assert read_numbers(PyAVReader().frames(joined, np.array([n / rate]), tolerance=1e-5)) == [n]


def test_join_refuses_a_part_of_another_length(tmp_path):
    encode_video(tmp_path / "a.mp4", numbered(range(4)), fps=10, storage=VideoStorage())
    with pytest.raises(DataError, match=r"a\.mp4: expected 5 frames, got 4"):
        join_videos([tmp_path / "a.mp4"], tmp_path / "b.mp4", fps=10, lengths=[5])


def test_times_without_a_frame_are_errors_not_neighbours(tmp_path):
    path = tmp_path / "a.mp4"
    encode_video(path, numbered(range(10)), fps=10, storage=VideoStorage())
    reader = PyAVReader()
    for times in ([0.05], [1.0], [-0.1], [0.0, 0.9, 1.4]):
        with pytest.raises(DataError, match=r"a\.mp4: no frame at"):
            reader.frames(path, np.array(times), tolerance=0.02)
    assert read_numbers(reader.frames(path, np.array([0.9]), tolerance=0.02)) == [9]


def test_every_truncation_and_absence_is_an_error(tmp_path):
    path = tmp_path / "a.mp4"
    encode_video(path, numbered(range(20)), fps=10, storage=VideoStorage())
    whole = path.read_bytes()
    end = whole.rfind(b"uuid") - 4  # of the frames; then their checksums
    for size in sorted({0, 10, 100, *np.linspace(200, end - 1, 12).astype(int).tolist(), end + 30, len(whole) - 1}):
        cut = tmp_path / f"cut{size}.mp4"
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError, match=f"cut{size}.mp4"):
            PyAVReader().count(cut)
    with pytest.raises(DataError, match="found nothing"):
        PyAVReader().count(tmp_path / "absent.mp4")


def test_open_files_are_bounded_and_pickle_and_fork_start_fresh(tmp_path):
    reader = PyAVReader(max_open=2)
    for k in range(5):
        encode_video(tmp_path / f"{k}.mp4", numbered([k, k + 1]), fps=10, storage=VideoStorage())
        assert read_numbers(reader.frames(tmp_path / f"{k}.mp4", np.array([0.1]), tolerance=0.02)) == [k + 1]
        assert len(reader._decoders) <= 2
    other = pickle.loads(pickle.dumps(reader))
    assert read_numbers(other.frames(tmp_path / "4.mp4", np.array([0.0]), tolerance=0.02)) == [4]
    child = os.fork()
    if child == 0:  # the child must not move the parent's decoder
        signal.alarm(20)
        good = read_numbers(reader.frames(tmp_path / "4.mp4", np.array([0.0]), tolerance=0.02)) == [4]
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert read_numbers(reader.frames(tmp_path / "4.mp4", np.array([0.1]), tolerance=0.02)) == [5]


def test_odd_sizes_and_bad_settings_are_refused(tmp_path):
    with pytest.raises(DataError, match="even"):
        encode_video(tmp_path / "a.mp4", np.zeros((2, 33, 32, 3), np.uint8), fps=10, storage=VideoStorage())
    with pytest.raises(ConfigError):
        VideoStorage(codec="mpeg1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        VideoStorage(gop=0)
    with pytest.raises(ConfigError):
        ImageStorage(compress_level=10)
    with pytest.raises(DataError):
        frame_rate(0)


def test_torchcodec_agrees_with_pyav(tmp_path, codec):
    try:
        require_torchcodec()
    except MissingExtraError as error:
        pytest.skip(str(error))
    path, n = tmp_path / "a.mp4", 30
    encode_video(path, numbered(range(n)), fps=30, storage=VideoStorage(codec=codec, gop=10))
    times = np.array([29, 0, 3, 3, 17]) / 30
    reader = TorchCodecReader()
    assert reader.count(path) == n
    got = reader.frames(path, times, tolerance=0.25 / 30)
    assert read_numbers(got) == [29, 0, 3, 3, 17]
    reference = PyAVReader().frames(path, times, tolerance=0.25 / 30)
    assert np.abs(got.astype(int) - reference.astype(int)).max() <= 4  # two converters from YUV to RGB
    with pytest.raises(DataError):
        reader.frames(path, np.array([1.0]), tolerance=0.25 / 30)


FOREIGN = {  # how other programs write: encoder, options, whether packets can be read without the container
    "lerobot's h264": ("libx264", {"g": "2", "crf": "30"}, True),
    "reordered": ("libx264", {"crf": "30"}, False),
    "full range": ("libx264", {"g": "2", "x264-params": "fullrange=on"}, True),
    "hevc": ("libx265", {"g": "2", "x265-params": "log-level=none"}, False),
    "vp9": ("libvpx-vp9", {"g": "2"}, True),
    "mpeg4": ("mpeg4", {"g": "5"}, False),
    "open groups": ("libx264", {"g": "5", "bf": "0", "x264-params": "open-gop=1"}, True),
}


@pytest.mark.parametrize(("codec", "options", "direct"), FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_files_give_what_ffmpeg_shows_in_one_pass(tmp_path, codec, options, direct):
    import av

    path, n = tmp_path / "a.mp4", 40
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width = stream.height = SIZE * 2
        stream.pix_fmt = "yuv420p"
        for image in numbered(range(n), SIZE * 2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        expected = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        packets = [(p.pts, p.is_keyframe) for p in container.demux(video=0) if p.dts is not None]
    reader = PyAVReader()
    index = reader.index(path)
    assert (index.packets is not None) == direct
    assert index.pts.tolist() == sorted(pts for pts, _ in packets)
    assert index.keys.tolist() == sorted(pts for pts, key in packets if key)
    rng = np.random.default_rng(0)
    for asked in [np.arange(n), *(rng.integers(0, n, 3) for _ in range(25))]:
        np.testing.assert_array_equal(reader.frames(path, index.times[asked], tolerance=1e-5), expected[asked])


def test_coming_back_to_one_of_many_files_reads_none_of_them_again(tmp_path, monkeypatch):
    import lara.data.frames.decode as module

    for k in range(12):
        encode_video(tmp_path / f"{k}.mp4", numbered([k, k + 1]), fps=10, storage=VideoStorage(codec="h264"))
    opened: list[str] = []
    real = module.read_index
    monkeypatch.setattr(module, "read_index", lambda path: opened.append(path.name) or real(path))
    reader = PyAVReader(max_open=2)
    for _ in range(3):
        for k in range(12):
            path = tmp_path / f"{k}.mp4"
            assert read_numbers(reader.frames(path, np.array([0.1]), tolerance=0.02)) == [k + 1]
    assert len(opened) == 12
    encode_video(tmp_path / "3.mp4", numbered([99, 98, 97]), fps=10, storage=VideoStorage(codec="h264"))
    assert read_numbers(reader.frames(tmp_path / "3.mp4", np.array([0.2]), tolerance=0.02)) == [97]  # replaced


@pytest.mark.parametrize("name", ["h264", "libsvtav1"])
def test_without_an_index_from_ffmpeg_the_packets_say_the_same(tmp_path, name):
    """PyAV before 16 does not show the index."""
    import av

    from lara.data.frames.index import _rows

    path = tmp_path / "a.mp4"
    encode_video(path, numbered(range(12)), fps=10, storage=VideoStorage(codec=name))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert _rows(path, stream) == _rows(path, object())


def test_copying_the_stream_drops_the_seal_and_keeps_the_frames(tmp_path):
    import av

    from lara.data.frames.mp4 import read_facts

    path, copy = tmp_path / "a.mp4", tmp_path / "b.mp4"
    encode_video(path, numbered(range(12)), fps=10, storage=VideoStorage(codec="h264"))
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert read_facts(path).seal is not None
    assert read_facts(copy).seal is None
    times = np.arange(12) / 10
    again = PyAVReader().frames(copy, times, tolerance=0.02)
    np.testing.assert_array_equal(again, PyAVReader().frames(path, times, tolerance=0.02))
