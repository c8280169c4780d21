"""One contract, every store: what holds for a folder holds for S3, and the other way round."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from edge.contracts.errors import HashMismatchError, OperatorError, StoreUnavailableError
from fleet.store import (
    BlobStore,
    FolderStore,
    S3Store,
    StoreSettings,
    blob_key,
    open_store,
    prove_store,
)

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


def put_object(store: S3Store, blob_id: str, content: bytes) -> None:
    key = store.prefix + blob_key(blob_id)
    store._client.put_object(Bucket=BUCKET, Key=key, Body=content)


@pytest.fixture
def lie(tmp_path: Path) -> Callable[[BlobStore, str, bytes], None]:
    """Put other bytes under a blob's name, as an interrupted copy or a decaying disk does."""

    def put(store: BlobStore, blob_id: str, content: bytes) -> None:
        if isinstance(store, S3Store):
            put_object(store, blob_id, content)
            return
        path = tmp_path / "store" / blob_key(blob_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return put


def test_what_was_put_comes_back(store: BlobStore) -> None:
    assert store.put_if_absent(sha(b"clip"), b"clip")
    assert store.get(sha(b"clip")) == b"clip"
    assert store.head(sha(b"clip")) == 4


@pytest.mark.parametrize("is_file", [False, True])
def test_content_is_put_under_its_own_hash_once(
    store: BlobStore, tmp_path: Path, is_file: bool
) -> None:
    (tmp_path / "c").write_bytes(b"clip")
    content = tmp_path / "c" if is_file else b"clip"
    assert [store.put(content), store.put(content)] == [sha(b"clip")] * 2
    assert store.get(sha(b"clip")) == b"clip"
    assert list(store.list()) == [sha(b"clip")]


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


@pytest.mark.parametrize("wrong", [b"", b"cl", b"clap", b"clip and more"])
def test_wrong_bytes_under_a_blobs_name_are_replaced(
    store: BlobStore, lie: Callable[[BlobStore, str, bytes], None], wrong: bytes
) -> None:
    lie(store, sha(b"clip"), wrong)
    assert store.put_if_absent(sha(b"clip"), b"clip")
    assert store.get(sha(b"clip")) == b"clip"
    assert not store.put_if_absent(sha(b"clip"), b"clip")


def test_a_replaced_blob_is_logged_and_a_whole_one_is_not(
    store: BlobStore,
    lie: Callable[[BlobStore, str, bytes], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.put_if_absent(sha(b"clip"), b"clip")
    store.put_if_absent(sha(b"clip"), b"clip")
    assert caplog.records == []
    lie(store, sha(b"clip"), b"cl")
    store.put_if_absent(sha(b"clip"), b"clip")
    (record,) = caplog.records
    assert record.message == "blob_replaced"
    assert (record.__dict__["blob_id"], record.__dict__["found_bytes"]) == (sha(b"clip"), 2)


def test_a_link_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    store, blob_id = FolderStore(tmp_path / "store"), sha(b"blob")
    target = store.root / blob_key(blob_id)
    target.parent.mkdir(parents=True)
    target.symlink_to(tmp_path / "nothing")
    assert store.put_if_absent(blob_id, b"blob")
    assert store.get(blob_id) == b"blob" and not (tmp_path / "nothing").exists()


def test_a_cut_file_is_replaced_from_a_file(
    store: BlobStore, lie: Callable[[BlobStore, str, bytes], None], tmp_path: Path
) -> None:
    source, content = tmp_path / "clip.mcap", b"x" * 3_000_000
    source.write_bytes(content)
    lie(store, sha(content), content[:1000])
    assert store.put_if_absent(sha(content), source)
    assert store.get(sha(content)) == content


def test_a_large_object_is_believed_by_its_size(
    s3_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.store.s3._HASHED_BYTES", 3)
    store = S3Store(BUCKET, "", s3_client)
    put_object(store, sha(b"clip"), b"clap")
    assert not store.put_if_absent(sha(b"clip"), b"clip")
    put_object(store, sha(b"clip"), b"cla")
    assert store.put_if_absent(sha(b"clip"), b"clip")
    assert store.get(sha(b"clip")) == b"clip"


class ElsewhereWritten:
    """A client of a bucket into which another process writes between our look and our put."""

    def __init__(self, client: Any, times: int) -> None:
        self._client, self._times = client, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def head_object(self, **where: Any) -> Any:
        found = self._client.head_object(**where)
        if self._times:
            self._times -= 1
            self._client.put_object(**where, Body=b"x" * self._times)
        return found


@pytest.mark.parametrize(("times", "is_put"), [(1, True), (9, False)])
def test_a_wrong_object_that_changes_meanwhile_is_looked_at_again(
    s3_client: Any, times: int, is_put: bool
) -> None:
    store = S3Store(BUCKET, "", ElsewhereWritten(s3_client, times))
    put_object(store, sha(b"clip"), b"cl")
    if is_put:
        assert store.put_if_absent(sha(b"clip"), b"clip")
        assert store.get(sha(b"clip")) == b"clip"
        return
    with pytest.raises(StoreUnavailableError, match="others write it"):
        store.put_if_absent(sha(b"clip"), b"clip")


class WithoutIfMatch:
    """A client of a server that does not implement ``If-Match`` on PUT, as some do not."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **words: Any) -> Any:
        if "IfMatch" in words:
            answer: Any = {"ResponseMetadata": {"HTTPStatusCode": 501}, "Error": {}}
            raise ClientError(answer, "PutObject")
        return self._client.put_object(**words)


def test_a_server_without_if_match_has_its_wrong_object_replaced_all_the_same(
    s3_client: Any,
) -> None:
    store = S3Store(BUCKET, "", WithoutIfMatch(s3_client))
    put_object(store, sha(b"clip"), b"cl")
    assert store.put_if_absent(sha(b"clip"), b"clip")
    assert store.get(sha(b"clip")) == b"clip"


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


def test_a_store_that_works_is_proved_again_and_again(store: BlobStore) -> None:
    prove_store(store)
    prove_store(store)
    assert len(list(store.list())) == 1


class Overwriting(FolderStore):
    """Takes a blob that it has, as an S3 does that ignores If-None-Match."""

    def put_if_absent(self, blob_id: str, source: Path | bytes) -> bool:
        super().put_if_absent(blob_id, source)
        return True


def test_a_store_that_overwrites_is_not_proved(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="expected one that honours If-None-Match"):
        prove_store(Overwriting(tmp_path))


class Forgetful(FolderStore):
    """Has none of what it took."""

    def head(self, blob_id: str) -> int | None:
        return None


def test_a_store_that_loses_what_it_took_is_not_proved(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="does not have it"):
        prove_store(Forgetful(tmp_path))


@pytest.mark.parametrize("url", ["localhost:9000", "http://", "minio"])
def test_an_endpoint_that_is_no_url_is_refused_by_name(tmp_path: Path, url: str) -> None:
    settings = StoreSettings(kind="s3", bucket=BUCKET, endpoint_url=url)
    with pytest.raises(OperatorError, match=f"endpoint_url '{url}': expected http"):
        open_store(settings, tmp_path)


def test_settings_open_the_store_they_name(tmp_path: Path, s3_client: Any) -> None:
    default = open_store(StoreSettings(), tmp_path / "default")
    named = open_store(StoreSettings(root=str(tmp_path / "named")), tmp_path / "default")
    assert isinstance(default, FolderStore) and default.root == tmp_path / "default"
    assert isinstance(named, FolderStore) and named.root == tmp_path / "named"
    bucket = open_store(StoreSettings(kind="s3", bucket=BUCKET), tmp_path)
    assert bucket.put_if_absent(sha(b"clip"), b"clip")


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("s3", "s3 has no bucket; name one with store.bucket"),
        ("tape", "no store 'tape'; there are folder, s3"),
    ],
)
def test_settings_that_name_no_store_are_refused(kind: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=complaint):
        open_store(StoreSettings(kind=kind), tmp_path)
