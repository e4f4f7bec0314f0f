"""A drawn video is its source with boxes: the same frames at the same times, upright, with its sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fake_engines import FakeEngines
from fakes import fake_pipeline
from media import damage_packet, frame_pixels, number_of, write_video
from sounding import sound_of, write_sounding_video

from selsa_server.errors import ParameterError, VideoError
from selsa_server.render.drawing import class_colour
from selsa_server.render.video import DrawnVideo, open_drawn_video
from selsa_server.schema.detect import Box, Detection, DetectParams, FrameRecord, TrackedDetection
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

VARYING = [0, 40, 100, 130, 400, 401, 700, 1500]


def record(index, *boxes, class_id=0):
    detections = tuple(
        Detection(box=Box(x1=x1, y1=y1, x2=x2, y2=y2), score=0.9, class_id=class_id, class_name="giant panda")
        for x1, y1, x2, y2 in boxes
    )
    return FrameRecord(index=index, pts=None, time=None, detections=detections)


def drawn(source: Path, records, **params) -> Path:
    out = source.with_name(f"{source.name}-drawn.mp4")
    with open_drawn_video(source, out, DetectParams(**params)) as write:
        for each in records:
            write(each)
    return out


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def frames_of(path: Path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_constant_rate_stays_frame_by_frame(tmp_path):
    source = write_video(tmp_path / "a.mp4", 60)
    out = drawn(source, [record(i) for i in range(60)])
    assert times_of(out) == times_of(source)
    assert [number_of(each) for each in frames_of(out)] == list(range(60))
    with av.open(str(out)) as container, av.open(str(source)) as original:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 48)
        assert stream.average_rate == original.streams.video[0].average_rate
        assert container.duration == original.duration


@pytest.mark.parametrize("first", [0, 2000], ids=["from zero", "late"])
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_varying_rate_keeps_every_time_stamp_and_the_length(tmp_path, suffix, first):
    source = write_video(tmp_path / f"a.{suffix}", len(VARYING), pts=[first + t for t in VARYING])
    out = drawn(source, [record(i) for i in range(len(VARYING))])
    assert times_of(out) == times_of(source) == [Fraction(first + t, 1000) for t in VARYING]
    assert [number_of(each) for each in frames_of(out)] == list(range(len(VARYING)))
    with av.open(str(out)) as container:
        track = container.streams.video[0]
        # A player ends where the track says; the last frame must lie before that.
        assert (track.duration + (track.start_time or 0)) * track.time_base > (first + VARYING[-1]) / 1000


def test_b_frames_and_a_long_gop_in_the_source_change_nothing(tmp_path):
    source = write_video(tmp_path / "a.mkv", 50, options={"bf": "3", "g": "200"})
    assert times_of(drawn(source, [record(i) for i in range(50)])) == times_of(source)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_is_upright_and_boxes_lie_as_displayed(tmp_path, rotation):
    def picture(_):
        pixels = np.full((240, 320, 3), 60, np.uint8)
        pixels[:40, :40] = (250, 250, 250)  # the corner at the top left, as stored
        return pixels

    source = write_video(tmp_path / "a.mp4", 3, size=(320, 240), rotation=rotation, picture=picture)
    width, height = (320, 240) if rotation == 180 else (240, 320)
    box = (60, 80, 160, 200)
    found = frames_of(drawn(source, [record(i, box) for i in range(3)]))
    assert {each.shape for each in found} == {(height, width, 3)}
    last = found[-1].astype(int)
    corner = {90: (slice(5, 35), slice(-35, -5)), 180: (slice(-35, -5), slice(-35, -5))}
    assert last[corner.get(rotation, (slice(-35, -5), slice(5, 35)))].min() > 200
    red = np.array(class_colour(0))
    assert np.abs(last[140, 58:64] - red).sum(axis=1).min() < 160
    assert np.abs(last[140, 100] - 60).max() < 20


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "libopus"), ("mkv", "aac")])
def test_sound_is_copied_packet_by_packet(tmp_path, suffix, codec):
    source = write_sounding_video(tmp_path / f"a.{suffix}", 50, codec)
    out = drawn(source, [record(i) for i in range(50)])
    before, after = sound_of(source), sound_of(out)
    assert [data for _, data in after] == [data for _, data in before]
    assert all(abs(a - b) < Fraction(2, 1000) for (a, _), (b, _) in zip(after, before, strict=True))
    assert times_of(out) == times_of(source)


def test_a_transport_stream_begins_at_zero_and_its_sound_goes_along(tmp_path):
    source = write_sounding_video(tmp_path / "a.ts", 50, "aac")
    out = drawn(source, [record(i) for i in range(50)])
    before, after = times_of(source), times_of(out)
    assert before[0] > 0
    assert after == [time - before[0] for time in before]
    sound_before, sound_after = sound_of(source), sound_of(out)
    # MP4 has AAC without the head of 7 bytes that each packet of a transport stream begins with.
    assert [data for _, data in sound_after] == [data[7:] for _, data in sound_before]
    assert sound_after[9][0] - after[0] == pytest.approx(sound_before[9][0] - before[0], abs=1e-3)


def test_sound_that_mp4_cannot_hold_is_left_out(tmp_path):
    source = write_sounding_video(tmp_path / "a.mkv", 10, "pcm_s16le")
    out = drawn(source, [record(i) for i in range(10)])
    assert sound_of(out) == []
    assert len(times_of(out)) == 10


def test_a_part_begins_at_zero_with_the_sound_that_belongs_to_it(tmp_path):
    source = write_sounding_video(tmp_path / "a.mp4", 100, "aac")
    out = drawn(source, [record(i) for i in range(50, 75)], start=2, end=3)
    assert times_of(out) == [Fraction(i, 25) for i in range(25)]
    assert [number_of(each) for each in frames_of(out)] == list(range(50, 75))
    heard = sound_of(out)
    assert heard[0][0] < 0.03
    assert 0.95 < heard[-1][0] < 1
    everything = [data for _, data in sound_of(source)]
    begin = everything.index(heard[0][1])
    assert begin == pytest.approx(2 * 48000 / 1024, abs=2)


def test_with_a_stride_each_detected_frame_is_there_at_its_time(tmp_path):
    source = write_video(tmp_path / "a.mp4", 30)
    out = drawn(source, [record(i) for i in range(0, 30, 5)], stride=5)
    assert times_of(out) == [Fraction(i, 25) for i in range(0, 30, 5)]


def test_a_damaged_frame_is_not_there_and_the_others_keep_their_times(tmp_path):
    source = write_video(tmp_path / "a.mkv", 12, codec="ffv1", options={"slicecrc": "1", "level": "3"})
    damage_packet(source, 5)
    left = [i for i in range(12) if i != 5]
    out = drawn(source, [record(i) for i in left], decode="tolerant")
    assert times_of(out) == [time for i, time in enumerate(times_of_index(source)) if i != 5]


def times_of_index(source: Path) -> list[Fraction]:
    index = index_video(source, VideoLimits())
    return [int(pts) * index.time_base for pts in index.pts]


def test_odd_sides_are_padded_by_one_and_nothing_is_lost(tmp_path):
    source = write_video(tmp_path / "a.mkv", 3, size=(67, 43), codec="ffv1", pix_fmt="bgr0")
    found = frames_of(drawn(source, [record(i) for i in range(3)]))
    assert found[0].shape == (44, 68, 3)
    error = np.abs(found[1][:43, :67].astype(int) - frame_pixels(1, 67, 43))
    assert error.mean() < 8


@pytest.mark.parametrize("colorspace", [2, 1, 5, 9])
def test_colours_stay_whatever_their_matrix(tmp_path, colorspace):
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = colorspace
        for number in range(3):
            pixels = np.full((48, 64, 3), (210, 40, 60), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    def planes(path):
        with av.open(str(path)) as opened:
            frame = next(opened.decode(video=0))
            return frame.to_ndarray().astype(int), frame.colorspace

    before, kind = planes(source)
    after, kept = planes(drawn(source, [record(i) for i in range(3)]))
    assert kept == kind == colorspace
    assert np.abs(before - after).max() <= 3


def test_the_index_is_in_front_so_that_a_browser_can_begin_at_once(tmp_path):
    source = write_video(tmp_path / "a.mp4", 12)
    data = drawn(source, [record(i) for i in range(12)]).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_frames_that_change_their_size_on_the_way_are_scaled_to_the_first(tmp_path):
    streams = [write_video(tmp_path / f"{w}.h264", 5, size=(w, 48)) for w in (64, 96)]
    source = tmp_path / "both.h264"
    source.write_bytes(b"".join(path.read_bytes() for path in streams))
    count = len(index_video(source, VideoLimits()))
    found = frames_of(drawn(source, [record(i, (0, 0, 9, 9)) for i in range(count)]))
    assert count == 10
    assert {each.shape for each in found} == {(48, 64, 3)}


def test_records_of_another_video_are_an_error_that_says_so(tmp_path):
    source = write_video(tmp_path / "a.mkv", 12, codec="ffv1", options={"slicecrc": "1", "level": "3"})
    damage_packet(source, 5)
    with pytest.raises(VideoError, match=r"Frame 5 of 12.*changed"):
        drawn(source, [record(i) for i in range(12)])


def test_what_selects_no_frame_or_is_no_video_is_refused(tmp_path):
    source = write_video(tmp_path / "a.mp4", 3)
    with pytest.raises(ParameterError):
        drawn(source, [], start=60)
    (tmp_path / "no.mp4").write_text("no video at all")
    with pytest.raises(VideoError):
        drawn(tmp_path / "no.mp4", [])
    with pytest.raises(VideoError, match="no frame"):
        drawn(source, [])


def test_a_file_that_becomes_too_large_is_given_up(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (10, 48, 64, 3), np.uint8)
    source = write_video(tmp_path / "a.mkv", 10, codec="ffv1", pix_fmt="bgr0", picture=lambda i: noise[i])
    index = index_video(source, VideoLimits())
    video = DrawnVideo(source, tmp_path / "o.mp4", index, DetectParams(), max_bytes=2000)
    with pytest.raises(VideoError, match="larger than 2000 bytes"), video:
        for i in range(10):
            video.write(record(i))


def test_an_alias_of_the_summary_gives_all_frames_of_an_object_one_colour(tmp_path):
    source = write_video(tmp_path / "a.mkv", 6, size=(320, 240), codec="ffv1", pix_fmt="bgr0")
    video, *_, summary = fake_pipeline(FakeEngines()).run(source, DetectParams(tracks=True))
    summary = summary.model_copy(update={"aliases": {2: 1}})
    box = Box(x1=60, y1=80, x2=160, y2=200)
    frames = [
        FrameRecord(
            index=i,
            pts=None,
            time=None,
            detections=(
                TrackedDetection(box=box, score=0.9, class_id=0, class_name="dog", track_id=1 + (i > 2)),
            ),
        )
        for i in range(6)
    ]
    red = np.array(class_colour(1))
    for each in frames_of(drawn(source, [video, *frames, summary])):
        assert np.abs(each.astype(int)[140, 59:64] - red).sum(axis=1).min() < 160
    # Without a summary, as where detection failed midway, the frames are drawn as they are.
    other = frames_of(drawn(source, [video, *frames]))
    assert np.abs(other[5].astype(int)[140, 59:64] - red).sum(axis=1).min() > 160
