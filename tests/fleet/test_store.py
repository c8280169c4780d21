"""One contract, every store: what holds for a folder holds for S3, and the other way round."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from edge.contracts.errors import HashMismatchError, OperatorError, StoreUnavailableError
from fleet.store import BlobStore, FolderStore, S3Store, StoreSettings, blob_key, open_store

BUCKET = "ringroad-test"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of a pretended S3; making one takes as long as twenty tests."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield boto3.client("s3")


@pytest.fixture
def s3_client(s3: Any) -> Iterator[Any]:
    """The client and one empty bucket, which ends with the test."""
    s3.create_bucket(Bucket=BUCKET)
    yield s3
    for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["folder", "s3", "s3 with prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    prefix = "fleet-a/" if request.param == "s3 with prefix" else ""
    return S3Store(BUCKET, prefix, request.getfixturevalue("s3_client"))


def test_what_was_put_comes_back(store: BlobStore) -> None:
    assert store.put_if_absent(sha(b"clip"), b"clip")
    assert store.get(sha(b"clip")) == b"clip"
    assert store.head(sha(b"clip")) == 4


def test_a_file_can_be_put_as_it_is(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "clip.mcap"
    source.write_bytes(b"x" * 3_000_000)
    assert store.put_if_absent(sha(b"x" * 3_000_000), source)
    assert store.head(sha(b"x" * 3_000_000)) == 3_000_000
    assert source.exists()


def test_the_second_put_of_a_blob_says_so(store: BlobStore) -> None:
    assert store.put_if_absent(sha(b"clip"), b"clip")
    assert not store.put_if_absent(sha(b"clip"), b"clip")
    assert list(store.list()) == [sha(b"clip")]


def test_of_many_writers_one_is_first(store: BlobStore) -> None:
    answers: list[bool] = []
    writers = [
        threading.Thread(target=lambda: answers.append(store.put_if_absent(sha(b"clip"), b"clip")))
        for _ in range(6)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(answers) == [False] * 5 + [True]


@pytest.mark.parametrize("is_file", [False, True])
def test_content_that_is_not_its_id_is_refused(
    store: BlobStore, tmp_path: Path, is_file: bool
) -> None:
    source = tmp_path / "clip.mcap"
    source.write_bytes(b"forged")
    with pytest.raises(HashMismatchError, match=sha(b"forged")):
        store.put_if_absent(sha(b"clip"), source if is_file else b"forged")
    assert store.head(sha(b"clip")) is None


def test_a_missing_blob_has_no_size_and_cannot_be_read(store: BlobStore) -> None:
    assert store.head(sha(b"nothing")) is None
    with pytest.raises(OperatorError, match="is not in"):
        store.get(sha(b"nothing"))


def test_ids_are_listed_in_order_and_by_prefix(store: BlobStore) -> None:
    ids = sorted(sha(bytes([n])) for n in range(40))
    for n in range(40):
        store.put_if_absent(sha(bytes([n])), bytes([n]))
    assert list(store.list()) == ids
    for prefix in (ids[0][:1], ids[0][:2], ids[0][:5], ids[0]):
        assert list(store.list(prefix)) == [i for i in ids if i.startswith(prefix)]


@pytest.mark.parametrize("bad", ["", "abc", "../../../etc/passwd", "A" * 64])
def test_an_id_that_is_no_hash_is_refused(store: BlobStore, bad: str) -> None:
    with pytest.raises(OperatorError, match="64 hex digits"):
        store.head(bad)


def test_bytes_that_changed_in_the_folder_are_not_given_out(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put_if_absent(sha(b"clip"), b"clip")
    (tmp_path / blob_key(sha(b"clip"))).write_bytes(b"clap")
    with pytest.raises(HashMismatchError):
        store.get(sha(b"clip"))


def test_bytes_that_changed_in_the_bucket_are_not_given_out(s3_client: Any) -> None:
    store = S3Store(BUCKET, "", s3_client)
    store.put_if_absent(sha(b"clip"), b"clip")
    s3_client.put_object(Bucket=BUCKET, Key=blob_key(sha(b"clip")), Body=b"clap")
    with pytest.raises(HashMismatchError):
        store.get(sha(b"clip"))


def test_a_bucket_that_does_not_exist_is_a_link_error(s3_client: Any) -> None:
    store = S3Store("no-such-bucket", "", s3_client)
    with pytest.raises(StoreUnavailableError, match="no-such-bucket"):
        store.put_if_absent(sha(b"clip"), b"clip")


def test_a_full_or_unwritable_folder_is_a_link_error(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    blocked = tmp_path / "blobs" / "sha256" / sha(b"clip")[:2]
    blocked.write_bytes(b"a file where a folder should be")
    with pytest.raises(StoreUnavailableError):
        store.put_if_absent(sha(b"clip"), b"clip")
    assert not list((tmp_path / "incoming").iterdir())


def test_an_unfinished_write_is_swept_and_never_listed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    leftover = tmp_path / "incoming" / "cut-short"
    leftover.write_bytes(b"half")
    born_s = leftover.stat().st_mtime
    assert list(store.list()) == []
    assert store.sweep(before_s=born_s) == 0
    assert store.sweep(before_s=born_s + 1.0) == 1
    assert not leftover.exists()


def test_settings_open_the_store_they_name(tmp_path: Path, s3_client: Any) -> None:
    default = open_store(StoreSettings(), tmp_path / "default")
    named = open_store(StoreSettings(root=str(tmp_path / "named")), tmp_path / "default")
    assert isinstance(default, FolderStore) and default.root == tmp_path / "default"
    assert isinstance(named, FolderStore) and named.root == tmp_path / "named"
    bucket = open_store(StoreSettings(kind="s3", bucket=BUCKET), tmp_path)
    assert bucket.put_if_absent(sha(b"clip"), b"clip")


@pytest.mark.parametrize("settings", [StoreSettings(kind="s3"), StoreSettings(kind="tape")])
def test_settings_that_name_no_store_are_refused(settings: StoreSettings, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="expected 'folder'"):
        open_store(settings, tmp_path)
