import io
import struct
import tracemalloc
import zlib
from dataclasses import replace

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from mcap_protobuf.decoder import DecoderFactory

from edge.clip_file import (
    ClipFrame,
    decode_clip,
    decode_jpeg,
    encode_clip,
    encode_clip_manifest,
    encode_jpeg,
    read_clip,
    write_clip,
)
from edge.contracts.clean import by_reading
from edge.contracts.errors import SchemaError
from edge.contracts.sensors import ULTRASONIC_MAX_RANGE_M, Reading

FOOTER_BYTES = 29 + 8


def assert_same(frame: ClipFrame, other: ClipFrame) -> None:
    for name in ("sensed", "perception", "plan"):
        assert getattr(frame, name) == getattr(other, name), name


@pytest.fixture(scope="module")
def frames(make_frame):
    return [make_frame(index, missing=(index % 8,)) for index in range(0, 12, 3)]


@pytest.fixture(scope="module")
def content(frames, make_manifest):
    return encode_clip(make_manifest(frames), frames)


def resealed(content: bytes, old: bytes = b"", new: bytes = b"") -> bytes:
    """Replace a byte string by one of equal length and make every checksum right again."""
    assert len(old) == len(new) and old in content
    content = content.replace(old, new)
    footer_at = len(content) - FOOTER_BYTES
    summary_at = struct.unpack_from("<Q", content, footer_at + 9)[0]
    data = content[: summary_at - 13]
    data_end = content[summary_at - 13 : summary_at - 4] + struct.pack("<I", zlib.crc32(data))
    summary = content[summary_at : footer_at + 25]
    return data + data_end + summary + struct.pack("<I", zlib.crc32(summary)) + content[-8:]


# Round trip


@given(seed=st.integers(0, 2**32), count=st.integers(0, 6), gone=st.sets(st.integers(0, 7)))
def test_frames_come_back_exactly(make_frame, make_manifest, seed, count, gone):
    frames = [make_frame(3 * k, seed, tuple(gone)) for k in range(count + 1)]
    manifest = make_manifest(frames, recorded_hz=12.0)
    clip = decode_clip(encode_clip(manifest, frames))
    assert clip.manifest == manifest
    assert clip.manifest_bytes == encode_clip_manifest(manifest)
    assert len(clip.frames) == len(frames)
    for frame, other in zip(clip.frames, frames, strict=True):
        assert_same(frame, other)


def test_same_input_gives_the_same_bytes_and_a_second_generation_too(
    frames, make_manifest, content
):
    assert encode_clip(make_manifest(frames), frames) == content
    clip = decode_clip(content)
    assert encode_clip(clip.manifest, clip.frames) == content


def test_file_is_written_whole_and_read_back(tmp_path, frames, make_manifest, content):
    blob_id = write_clip(tmp_path / "clip.mcap", make_manifest(frames), frames)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mcap"]
    assert (tmp_path / "clip.mcap").read_bytes() == content
    assert len(blob_id) == 64
    assert len(read_clip(tmp_path / "clip.mcap").frames) == 4


def test_field_of_a_newer_writer_is_passed_over(content, frames, make_manifest):
    manifest = msgspec.msgpack.decode(encode_clip_manifest(make_manifest(frames)))
    newer = msgspec.msgpack.encode(manifest | {"mood": "calm"})
    assert len(decode_clip(resealed_manifest(content, newer)).frames) == 4


def resealed_manifest(content: bytes, manifest: bytes) -> bytes:
    """Put another manifest in, so that offsets move but every checksum is right."""
    at = content.index(b"application/msgpack") + len(b"application/msgpack")
    (old_bytes,) = struct.unpack_from("<Q", content, at)
    grown = len(manifest) - old_bytes
    record_at = content.rindex(b"\x09", 0, at - 40)
    (record_bytes,) = struct.unpack_from("<Q", content, record_at + 1)
    content = (
        content[: record_at + 1]
        + struct.pack("<Q", record_bytes + grown)
        + content[record_at + 9 : at]
        + struct.pack("<Q", len(manifest))
        + manifest
        + content[at + 8 + old_bytes :]
    )
    footer_at = len(content) - FOOTER_BYTES
    (summary_at,) = struct.unpack_from("<Q", content, footer_at + 9)
    return resealed(
        content[: footer_at + 9] + struct.pack("<Q", summary_at + grown) + content[footer_at + 17 :]
    )


# What viewers need


def test_file_is_valid_mcap_with_foxglove_schemas_on_every_viewable_topic(content):
    reader = make_reader(io.BytesIO(content), validate_crcs=True)
    summary = reader.get_summary()
    schemas = {
        channel.topic: summary.schemas[channel.schema_id].name
        for channel in summary.channels.values()
    }
    assert schemas["/camera/rear/image"] == "foxglove.CompressedImage"
    assert schemas["/camera/front_main/calibration"] == "foxglove.CameraCalibration"
    assert schemas["/radar"] == "foxglove.PointCloud"
    assert schemas["/scene"] == "foxglove.SceneUpdate"
    assert schemas["/tf"] == "foxglove.FrameTransform"
    assert schemas["/perception"] == "ringroad.Perception"
    assert reader.get_header().library == "ringroad"
    assert next(iter(reader.iter_attachments())).name == "manifest"


def test_viewer_sees_boxes_plan_points_and_a_tree_of_frames(content, frames):
    reader = make_reader(io.BytesIO(content), decoder_factories=[DecoderFactory()])
    topics = ["/scene", "/radar", "/tf", "/camera/front_main/image", "/camera/rear/calibration"]
    seen = {}
    for _schema, channel, _message, decoded in reader.iter_decoded_messages(topics=topics):
        seen.setdefault(channel.topic, []).append(decoded)
    first = frames[0].perception
    boxes, plan = seen["/scene"][0].entities
    assert boxes.cubes[0].pose.position.x == first.boxes[0].x_m
    assert boxes.texts[0].text == "car 0.75" and len(plan.lines[0].points) == 1
    cloud = seen["/radar"][1]
    assert len(cloud.data) == cloud.point_stride * len(frames[1].sensed.radar_points)
    assert {(t.parent_frame_id, t.child_frame_id) for t in seen["/tf"]} >= {
        ("world", "ego"), ("ego", "front_main"), ("ego", "rear"),
    }  # fmt: skip
    assert seen["/camera/front_main/image"][0].timestamp.ToNanoseconds() == frames[1].stamp_ns
    # The centre of a 16-pixel row lies at 7.5 when the first pixel's centre is 0.
    assert seen["/camera/rear/calibration"][0].K[2] == 7.5


# Refusals


@given(data=st.data())
def test_any_changed_byte_is_refused(content, data):
    at = data.draw(st.integers(0, len(content) - 1))
    bits = data.draw(st.integers(1, 255))
    changed = content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :]
    with pytest.raises(SchemaError):
        decode_clip(changed)


@given(data=st.data())
def test_file_cut_anywhere_is_refused(content, data):
    with pytest.raises(SchemaError):
        decode_clip(content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content, noise):
    for junk in (noise, content[:8] + noise + content[-FOOTER_BYTES:], content + noise + b"!"):
        with pytest.raises(SchemaError):
            decode_clip(junk)


@given(data=st.data())
def test_change_under_right_checksums_is_refused_or_harmless_and_never_costs_memory(content, data):
    """A hostile sender computes its checksums; then only bounds stand between it and us."""
    at = data.draw(st.integers(8, len(content) - FOOTER_BYTES - 1))
    new = data.draw(st.binary(min_size=1, max_size=8))
    changed = resealed((content[:at] + new + content[at + len(new) :])[: len(content)])
    tracemalloc.start()
    try:
        decode_clip(changed)
    except SchemaError:
        pass
    finally:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_bytes < 20 * len(content)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b"/tick", b"/tock", "which it does not follow"),
        (b"jpeg", b"webp", "encoded as 'webp'"),
        (b"manifest", b"manifold", "no manifest"),
        (b"rcs_dbsm", b"rcs_watt", "columns"),
        (b"\xff\xd8", b"\xff\xd9", "no JPEG header"),
    ],
)
def test_content_that_is_not_a_clip_is_refused_with_its_reason(content, old, new, complaint):
    with pytest.raises(SchemaError, match=complaint):
        decode_clip(resealed(content, old, new))


def test_compressed_chunk_is_refused_and_not_inflated():
    buffer = io.BytesIO()
    writer = Writer(buffer, compression=CompressionType.LZ4, enable_data_crcs=True)
    writer.start()
    channel = writer.register_channel("/tick", "msgpack", schema_id=0)
    writer.add_message(channel, log_time=0, data=bytes(1000), publish_time=0)
    writer.finish()
    with pytest.raises(SchemaError, match="compressed with 'lz4'"):
        decode_clip(buffer.getvalue())


def test_manifest_that_counts_other_frames_is_refused(frames, make_manifest):
    with pytest.raises(SchemaError, match="holds 4 frames, its manifest says 5"):
        encode_clip(make_manifest(frames, frame_count=5), frames)


def test_frame_outside_the_span_of_its_clip_is_refused(frames, make_manifest):
    with pytest.raises(SchemaError, match="outside its clip"):
        encode_clip(make_manifest(frames, end_ns=frames[-1].stamp_ns - 1), frames)


def test_frames_out_of_order_are_refused(frames, make_manifest):
    with pytest.raises(SchemaError, match="does not follow"):
        encode_clip(make_manifest(frames), [frames[1], frames[0], *frames[2:]])


def test_radar_point_that_is_not_finite_is_not_written(make_frame, make_manifest):
    frame = sensing(make_frame(3), radar=np.full((1, 4), np.nan, np.float32).tobytes())
    with pytest.raises(SchemaError, match="not finite"):
        encode_clip(make_manifest([frame]), [frame])


def sensing(frame: ClipFrame, **changes: bytes) -> ClipFrame:
    """Let a frame have sensed something else."""
    return replace(frame, sensed=msgspec.structs.replace(frame.sensed, **changes))


def foreign(content: bytes, old: object, new: object) -> bytes:
    """Seal another number of the same size into a clip, as a recorder that cleans nothing would."""
    return resealed(content, old.tobytes(), new.tobytes())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 4e2])
def test_radar_point_that_makes_no_sense_is_left_out_in_reading(make_frame, make_manifest, value):
    points = np.array([[7.25, 1.5, 0.5, 3.0], [9.0, 2.0, 0.0, 4.0]], np.float32)
    frame = sensing(make_frame(3), radar=points.tobytes())
    content = encode_clip(make_manifest([frame]), [frame])
    clip = decode_clip(foreign(content, points[0, 0], np.float32(value)))
    np.testing.assert_array_equal(clip.frames[0].sensed.radar_points, points[1:])
    assert by_reading(clip.frames[0].sensed.dropped) == {Reading.RADAR_POINT: 1}


@pytest.mark.parametrize("count", [0, 5, 14])
def test_a_clip_of_another_number_of_ultrasonics_reads_as_its_rig_says(
    make_frame, make_manifest, count
):
    ranges_m = np.full(count, 2.5, np.float32)
    frame = sensing(make_frame(3), ultrasonics=ranges_m.tobytes())
    (read,) = decode_clip(encode_clip(make_manifest([frame]), [frame])).frames
    expected_m = [*ranges_m.tolist(), *[ULTRASONIC_MAX_RANGE_M] * 12][:12]
    assert read.sensed.ranges_m.tolist() == expected_m


@pytest.mark.parametrize("value", ["1e300", "-1", "5.00001"])
def test_ultrasonic_that_makes_no_sense_is_no_echo_in_reading(make_frame, make_manifest, value):
    ranges_m = np.array([1.23456789] + [2.5] * 11, np.float32)
    frame = sensing(make_frame(3), ultrasonics=ranges_m.tobytes())
    content = encode_clip(make_manifest([frame]), [frame])
    old = repr(float(ranges_m[0])).encode()
    (read,) = decode_clip(resealed(content, old, value.encode().ljust(len(old)))).frames
    assert read.sensed.ranges_m.tolist() == [ULTRASONIC_MAX_RANGE_M] + [2.5] * 11
    assert by_reading(read.sensed.dropped) == {Reading.ULTRASONIC: 1}


def test_clip_of_a_recorder_that_counted_no_dropped_readings_still_reads(
    content, frames, make_manifest
):
    manifest = msgspec.msgpack.decode(encode_clip_manifest(make_manifest(frames)))
    older = {k: v for k, v in manifest.items() if k not in ("dropped", "time_base")}
    clip = decode_clip(resealed_manifest(content, msgspec.msgpack.encode(older)))
    assert (clip.manifest.dropped, clip.manifest.time_base) == ((), 0)


def test_file_larger_than_any_clip_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.clip_file.read.MAX_CLIP_BYTES", 10)
    (tmp_path / "huge.mcap").write_bytes(bytes(11))
    with pytest.raises(SchemaError, match="at most 10"):
        read_clip(tmp_path / "huge.mcap")


# JPEG


def test_jpeg_keeps_red_red():
    images = np.zeros((1, 16, 16, 3), np.uint8)
    images[..., 0] = 255
    decoded = decode_jpeg(encode_jpeg(images[0]), height_px=16, width_px=16)
    assert np.abs(decoded.astype(int) - images).max() < 4


def test_jpeg_that_claims_another_size_is_refused_before_it_is_decoded():
    jpeg = encode_jpeg(np.zeros((8, 16, 3), np.uint8))
    at = jpeg.index(b"\xff\xc0") + 5
    bomb = jpeg[:at] + struct.pack(">HH", 65_500, 65_500) + jpeg[at + 4 :]
    with pytest.raises(SchemaError, match="65500x65500 pixels, its camera is 16x8"):
        decode_jpeg(bomb, height_px=8, width_px=16)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_jpeg_are_refused(noise):
    for junk in (noise, b"\xff\xd8" + noise, cv2.imencode(".png", np.zeros((8, 16)))[1].tobytes()):
        with pytest.raises(SchemaError):
            decode_jpeg(junk, height_px=8, width_px=16)
