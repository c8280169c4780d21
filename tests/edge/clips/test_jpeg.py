"""One file, one picture: what is checked is what is decoded, and everything else is refused."""

import struct
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clip_file import decode_jpeg, decode_whole_jpeg, encode_jpeg
from edge.clip_file.jpeg import MAX_IMAGE_PIXELS
from edge.contracts.errors import SchemaError

HEIGHT_PX, WIDTH_PX = 48, 80
SOI, EOI, SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"


def noise(height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (1, height_px, width_px, 3), dtype=np.uint8)


GOOD = encode_jpeg(noise()[0])


def decode(jpeg: bytes, height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX) -> np.ndarray:
    decode_whole_jpeg(jpeg, height_px=height_px, width_px=width_px)
    return decode_jpeg(jpeg, height_px=height_px, width_px=width_px)


def refused(jpeg: bytes) -> str:
    with pytest.raises(SchemaError) as refusal:
        decode(jpeg)
    return str(refusal.value)


def with_options(*options: int) -> bytes:
    return cv2.imencode(".jpg", noise()[0], list(options))[1].tobytes()


def frame_header(height_px: int, width_px: int, marker: int = 0xC0) -> bytes:
    components = b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    return struct.pack(">BBHBHH", 0xFF, marker, 17, 8, height_px, width_px) + components


# Two pictures in one file


def behind_a_comment(picture: bytes, decoy: bytes) -> bytes:
    """Hide a decoy where a reader gets to that takes a fill byte for a marker (T.81, B.1.1.2)."""
    content = bytearray(65_533)
    at = (0xFE << 8 | 65_535 >> 8) - 4  # what such a reader takes for the length
    content[at : at + len(decoy)] = decoy
    return SOI + b"\xff\xff\xfe\xff\xff" + bytes(content) + picture[2:]


def test_a_fill_byte_before_a_marker_hides_no_other_size() -> None:
    other = encode_jpeg(noise(24, WIDTH_PX)[0])
    said = refused(behind_a_comment(other, frame_header(HEIGHT_PX, WIDTH_PX)))
    assert "an image is 80x24 pixels, its camera is 80x48" in said


def test_a_fill_byte_is_no_fault() -> None:
    at = GOOD.index(b"\xff\xdb")
    filled = GOOD[:at] + b"\xff\xff\xff" + GOOD[at:-2] + b"\xff\xff" + EOI
    assert np.array_equal(decode(filled), decode(GOOD))


def test_a_huge_picture_behind_a_small_header_costs_no_memory() -> None:
    picture = cv2.imencode(".jpg", np.zeros((12_000, 12_000, 3), np.uint8))[1].tobytes()
    bomb = behind_a_comment(picture, frame_header(HEIGHT_PX, WIDTH_PX))
    tracemalloc.start()
    try:
        assert "12000x12000" in refused(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(bomb)
    finally:
        tracemalloc.stop()


def test_a_camera_larger_than_what_is_decoded_is_refused_before_its_images_are_made() -> None:
    height_px = MAX_IMAGE_PIXELS // 4096 + 1
    with pytest.raises(SchemaError, match="4096x4097 pixels is refused"):
        decode_jpeg(GOOD, height_px=height_px, width_px=4096)


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2])
def test_a_second_frame_header_is_refused(marker: int) -> None:
    at = GOOD.index(SCAN)
    for size in ((HEIGHT_PX, WIDTH_PX), (8, 8)):
        refused(GOOD[:at] + frame_header(*size, marker) + GOOD[at:])


def test_a_frame_header_behind_its_scan_is_refused() -> None:
    at, size = GOOD.index(b"\xff\xc0"), 19
    refused(GOOD[:at] + GOOD[at + size : -2] + GOOD[at : at + size] + EOI)


def test_a_height_that_follows_the_scan_is_refused() -> None:
    at = GOOD.index(b"\xff\xc0") + 5
    without = GOOD[:at] + b"\0\0" + GOOD[at + 2 : -2]
    refused(without + b"\xff\xdc\x00\x04" + struct.pack(">H", HEIGHT_PX) + EOI)


@pytest.mark.parametrize("behind", [GOOD, EOI, b"\0\0x", b"PK\x03\x04"])
def test_something_behind_the_picture_is_refused(behind: bytes) -> None:
    assert "goes on behind its scan" in refused(GOOD + behind)


def test_the_zeros_that_an_encoder_pads_with_are_no_fault() -> None:
    assert np.array_equal(decode(GOOD + bytes(30)), decode(GOOD))


# Other kinds of picture


def other_kinds() -> dict[str, bytes]:
    frame = GOOD.index(b"\xff\xc0")
    grey = cv2.imencode(".jpg", noise()[0, :, :, 0])[1].tobytes()
    return {
        "PNG": cv2.imencode(".png", noise()[0])[1].tobytes(),
        "WebP": cv2.imencode(".webp", noise()[0])[1].tobytes(),
        "BMP": cv2.imencode(".bmp", noise()[0])[1].tobytes(),
        "progressive": with_options(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "with restarts": with_options(cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        "of one component": grey,
        "of four components": GOOD[: frame + 9] + b"\x04" + GOOD[frame + 10 :],
        "of 12 bits": GOOD[: frame + 4] + b"\x0c" + GOOD[frame + 5 :],
        "lossless": GOOD[: frame + 1] + b"\xc3" + GOOD[frame + 2 :],
        "arithmetic": GOOD[: frame + 1] + b"\xc9" + GOOD[frame + 2 :],
        "of many segments": SOI + b"\xff\xfe\x00\x02" * 1000 + GOOD[2:],
    }


@pytest.mark.parametrize("kind", other_kinds())
def test_a_picture_of_another_kind_is_refused(kind: str) -> None:
    refused(other_kinds()[kind])


def test_an_orientation_in_the_metadata_turns_nothing() -> None:
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    exif = b"Exif\0\0" + tiff + bytes(4)
    turned = SOI + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + GOOD[2:]
    assert np.array_equal(decode(turned), decode(GOOD))


# Pictures that are not whole


def test_a_picture_cut_anywhere_is_refused() -> None:
    for end in range(0, len(GOOD) - 1, 41):
        refused(GOOD[:end])


def test_a_picture_without_its_scan_is_refused() -> None:
    at = GOOD.index(SCAN)
    refused(GOOD[:at])
    refused(GOOD[:at] + EOI)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_picture_that_ends_as_a_whole_one_is_refused(share: float) -> None:
    data = GOOD.index(SCAN) + 14
    cut = GOOD[: data + round(share * (len(GOOD) - 2 - data))].rstrip(b"\xff")
    assert "ends before its last pixels" in refused(cut + EOI)


@pytest.mark.parametrize("shade", [0, 127, 128, 129, 255])
def test_a_picture_of_one_shade_is_whole(shade: int) -> None:
    jpeg = encode_jpeg(np.full((HEIGHT_PX, WIDTH_PX, 3), shade, np.uint8))
    assert np.abs(decode(jpeg).astype(int) - shade).max() <= 1


def test_a_stage_that_reads_a_grey_picture_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    jpeg = encode_jpeg(np.full((HEIGHT_PX, WIDTH_PX, 3), 128, np.uint8))
    decode_jpeg(jpeg, height_px=HEIGHT_PX, width_px=WIDTH_PX)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(1, 1), (8, 16), (16, 16), (17, 33), (47, 79)])
def test_a_picture_of_any_size_and_quality_is_whole(size: tuple[int, int]) -> None:
    for quality in (1, 50, 100):
        jpeg = encode_jpeg(noise(*size)[0], quality)
        assert decode(jpeg, *size).shape == (*size, 3)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, 3))
def test_changed_bytes_are_refused_or_decode_to_the_cameras_size(
    at: int, byte: int, dropped: int
) -> None:
    try:
        image = decode(GOOD[:at] + bytes([byte]) + GOOD[at + dropped :])
    except SchemaError:
        return
    assert image.shape == (HEIGHT_PX, WIDTH_PX, 3)
