"""High-water marks never fall but with the keys of a newer root; the clock floor never outruns signatures."""

from hypothesis import given
from hypothesis import strategies as st

from edge.ota.marks import (
    ROLES,
    Marks,
    RepositoryMarks,
    RoleMark,
    older_than_marked,
    with_floor,
    with_root,
    with_versions,
)

versions = st.integers(1, 6)
keys = st.sampled_from(["a" * 64, "b" * 64])
role_marks = st.builds(RoleMark, version=versions, keys_sha256=keys)
seen_marks = st.builds(
    RepositoryMarks, root=versions, roles=st.fixed_dictionaries(dict.fromkeys(ROLES, role_marks))
)


def seen(version, root=1, key="a"):
    role = RoleMark(version=version, keys_sha256=key * 64)
    return RepositoryMarks(root=root, roles=dict.fromkeys(ROLES, role))


def test_nothing_is_older_than_no_marks():
    assert older_than_marked(Marks(), "image", seen(1)) is None


def test_marks_of_one_repository_say_nothing_about_the_other():
    marks = with_versions(Marks(), "image", seen(9))
    assert older_than_marked(marks, "director", seen(1)) is None
    assert "timestamp version 8 is older than trusted 9" in older_than_marked(
        marks, "image", seen(8)
    )


def test_older_root_is_older_whatever_else_is_new():
    marks = with_versions(Marks(), "image", seen(1, root=3))
    assert "root version 2" in older_than_marked(marks, "image", seen(9, root=2, key="b"))


def test_new_keys_under_a_newer_root_start_counting_again():
    marks = with_versions(Marks(), "image", seen(1_000_000))
    assert older_than_marked(marks, "image", seen(2, root=2, key="b")) is None
    assert older_than_marked(marks, "image", seen(2, root=1, key="b")) is not None
    assert older_than_marked(marks, "image", seen(2, root=2, key="a")) is not None


def test_new_snapshot_keys_let_the_targets_count_again_and_not_the_timestamp():
    marks = with_versions(Marks(), "image", seen(1_000_000))
    rotated = seen(1_000_000, root=2)
    snapshot = RoleMark(version=1, keys_sha256="b" * 64)
    targets = RoleMark(version=2, keys_sha256="a" * 64)
    rotated.roles.update(snapshot=snapshot, targets=targets)
    assert older_than_marked(marks, "image", rotated) is None
    rotated.roles.update(timestamp=targets)
    assert "timestamp version 2" in older_than_marked(marks, "image", rotated)


def test_root_that_was_verified_before_the_rest_failed_is_never_gone_behind():
    marks = with_root(with_versions(Marks(), "image", seen(5)), "image", 2)
    assert "root version 1 is older than trusted 2" in older_than_marked(marks, "image", seen(9))
    assert older_than_marked(marks, "image", seen(5, root=2)) is None
    assert older_than_marked(marks, "image", seen(1, root=2, key="b")) is None, "keys of root 2"
    assert "root version 1" in older_than_marked(with_root(Marks(), "image", 2), "image", seen(9))


@given(seen_marks, seen_marks)
def test_accepted_metadata_raises_or_keeps_every_mark_of_unchanged_keys(before, after):
    marks = with_versions(Marks(), "image", before)
    if older_than_marked(marks, "image", after) is not None:
        return
    assert after.root >= before.root
    for role in ROLES:
        old, new = before.roles[role], after.roles[role]
        vouchers = {role, "snapshot"} if role == "targets" else {role}
        has_new_keys = any(
            after.roles[voucher].keys_sha256 != before.roles[voucher].keys_sha256
            for voucher in vouchers
        )
        assert new.version >= old.version or has_new_keys


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=10))
def test_floor_never_falls_and_never_outruns_clock_or_signatures(looks):
    marks = Marks()
    for now_ns, expires_ns in looks:
        raised = with_floor(marks, now_ns, expires_ns)
        assert raised.floor_ns >= marks.floor_ns
        assert raised.floor_ns <= max(marks.floor_ns, now_ns)
        assert raised.floor_ns <= max(marks.floor_ns, expires_ns)
        marks = raised
