"""Listing raw trees, on disk and in archives, and reaching one file of them."""

import contextlib
import gzip
import io
import os
import pathlib
import tarfile

import pytest

from data_prep import archives, places, tree
from talkface_jax.errors import MediaError, RecordError


def _paths(scanned):
    return [entry.path for entry in scanned.entries]


def _tar(path, members):
    """An archive of (name, bytes or a letter for the kind of member), names as given."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content.encode(), "elsewhere"
                tar.addfile(info)


def test_scan_lists_every_visible_file_once(tmp_path, write_files):
    write_files(
        tmp_path / "raw",
        {
            "b/c/x.mp4": b"123",
            "b/y.MOV": b"",
            "a 'quoted' \"name\" ü.mp4": b"1",
            ".hidden.mp4": b"",
            ".parts/x.mp4": b"",
            "b/.DS_Store": b"",
        },
    )
    os.utime(tmp_path / "raw" / "b" / "c" / "x.mp4", ns=(5, 1_234_567_890))
    os.mkfifo(tmp_path / "raw" / "pipe.mp4")
    scanned = tree.scan(tmp_path / "raw")
    assert _paths(scanned) == ["a 'quoted' \"name\" ü.mp4", "b/c/x.mp4", "b/y.MOV"]
    assert scanned.entry("b/c/x.mp4") == tree.Entry("b/c/x.mp4", 3, 1_234_567_890)
    assert [e.path for e in scanned.with_suffix({".mov"})] == ["b/y.MOV"]
    assert "b" not in scanned
    assert scanned.name == "raw"
    with pytest.raises(MediaError, match=r"has no file b/z\.mp4"):
        scanned.entry("b/z.mp4")


def test_links_are_followed_and_loops_end(tmp_path, write_files):
    root = write_files(tmp_path / "raw", {"own/x.mp4": b"1"})
    write_files(tmp_path / "disk2", {"deep/y.mp4": b"22"})
    (root / "a_loop").symlink_to(root)
    (root / "a_twin").symlink_to(root / "own")  # sorts before the folder it leads to,
    (root / "z_twin").symlink_to(root / "own")  # and this one after it
    (root / "linked").symlink_to(tmp_path / "disk2")
    (tmp_path / "disk2" / "back").symlink_to(root)
    (root / "lost.mp4").symlink_to(tmp_path / "gone.mp4")
    (root / "self.mp4").symlink_to(root / "self.mp4")
    (root / "z.mp4").symlink_to(tmp_path / "disk2" / "deep" / "y.mp4")
    scanned = tree.scan(root)
    assert _paths(scanned) == [
        "linked/deep/y.mp4",
        "lost.mp4",
        "own/x.mp4",
        "self.mp4",
        "z.mp4",
    ]
    assert [entry.size for entry in scanned.entries] == [2, 0, 1, 0, 2]
    with (
        pytest.raises(MediaError, match=r"lost\.mp4: no such file; restore it"),
        tree.local_file(root, "lost.mp4"),
    ):
        pass


def test_unreadable_folder_is_named(tmp_path, write_files, monkeypatch):
    root = write_files(tmp_path, {"fine/x.mp4": b"", "locked/y.mp4": b""})
    real = os.scandir

    def refuses(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(MediaError, match=r"/locked cannot be listed \(Permission denied\); give"):
        tree.scan(root)


def test_roots_that_are_none(tmp_path):
    with pytest.raises(MediaError, match="none is no folder"):
        tree.scan(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="file is no folder"):
        tree.scan(tmp_path / "file")
    assert tree.scan(tmp_path).name == tmp_path.name


def test_names_that_are_not_utf8_are_problems(tmp_path):
    for name in (b"caf\xe9.mp4", b"caf\xe9.txt", b"caf\xe9/x.mp4"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "wb").close()
    scanned = tree.scan(tmp_path)
    assert scanned.entries == ()
    assert [p.clip for p in scanned.problems_of({".mp4"})] == ["caf\\xe9/", "caf\\xe9.mp4"]
    assert all("not UTF-8; rename" in p.reason for p in scanned.problems)
    assert len(scanned.problems) == 3


def test_scan_lists_a_folder_once_and_asks_for_a_file_once(tmp_path, monkeypatch):
    names = [f"{k // 50:03d}/{k:05d}.mp4" for k in range(1000)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    real, listed, asked = os.scandir, [], []

    class Item:
        def __init__(self, item):
            self.item, self.name, self.path = item, item.name, item.path
            self.is_dir, self.is_symlink = item.is_dir, item.is_symlink

        def stat(self):
            asked.append(self.path)
            return self.item.stat()

    @contextlib.contextmanager
    def watched(folder):
        listed.append(folder)
        with real(folder) as items:
            yield map(Item, items)

    monkeypatch.setattr(os, "scandir", watched)
    assert _paths(tree.scan(tmp_path)) == names
    assert len(listed) == len(set(listed)) == 1 + 20
    assert len(asked) == len(set(asked)) == 1000


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz"])
def test_members_stand_beside_files(tmp_path, write_files, pack, suffix):
    spare = write_files(
        tmp_path / "spare",
        {"front/1.mp4": b"one" * 400_000, "front/2.mp4": b"", "words.txt": "\ufeffhé\r\n"},
    )
    write_files(spare, {"._x.mp4": b"", ".hidden/x.mp4": b""})
    root = write_files(tmp_path / "raw", {"a.mp4": b"a", "odd.tar/inner.mp4": b"folder"})
    archive = pack(spare, root / f"m{suffix}")
    scanned = tree.scan(root)
    assert _paths(scanned) == ["a.mp4", f"m{suffix}", "odd.tar/inner.mp4"]
    opened = scanned.opened()
    members = [f"m{suffix}/front/1.mp4", f"m{suffix}/front/2.mp4", f"m{suffix}/words.txt"]
    assert _paths(opened) == ["a.mp4", *members, "odd.tar/inner.mp4"]
    assert opened.problems == ()
    entry = scanned.entry(members[0])  # of the tree whose archives were not opened
    assert entry == opened.entry(members[0])
    assert (entry.size, entry.stamp) == (1_200_000, archive.stat().st_mtime_ns)
    assert members[1] in scanned and f"m{suffix}/front/3.mp4" not in scanned
    assert scanned.read_text(members[2]) == opened.read_text(members[2]) == "hé\n"
    assert list(opened.read_texts(members[2:])) == ["hé\n"]
    assert opened.opened() == opened


def test_local_file(tmp_path, write_files, pack, monkeypatch):
    spare = write_files(tmp_path / "spare", {"front/1.mp4": b"one", "front/2.mp4": b"two" * 999})
    root = write_files(tmp_path / "raw", {"a.mp4": b"a", "odd.tar/x.mp4": b"x"})
    pack(spare, root / "m.tar")
    pack(spare, root / "m.tgz")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for path in ("a.mp4", "odd.tar/x.mp4"):
        with tree.local_file(root, path) as found:
            assert found == root / path
    for archive in ("m.tar", "m.tgz"):
        with tree.local_file(root, f"{archive}/front/2.mp4") as found:
            assert found.name == "2.mp4"
            assert found.read_bytes() == b"two" * 999
            assert tmp_path / "temporary" in found.parents
        assert not found.exists()
        with (
            pytest.raises(MediaError, match=r"holds no front/3\.mp4"),
            tree.local_file(root, f"{archive}/front/3.mp4"),
        ):
            pass
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_member_is_one_seek_away(tmp_path, monkeypatch):
    """Of 50 members of 64 KiB only the wanted one's bytes are read, and the headers once."""
    members = [(f"{k:03d}.mp4", bytes([k]) * 65_536) for k in range(50)]
    _tar(tmp_path / "m.tar", members)
    tree.scan(tmp_path).opened()
    read = []

    class Watched(io.FileIO):
        def read(self, size=-1, /):
            data = super().read(size)
            read.append(len(data or b""))
            return data

    monkeypatch.setattr(places, "open_read", Watched)
    with tree.local_file(tmp_path, "m.tar/037.mp4") as found:
        assert found.read_bytes() == bytes([37]) * 65_536
    assert sum(read) == 65_536


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("../x.mp4", b"1", "leads out of the archive"),
        ("a/../../x.mp4", b"1", "leads out of the archive"),
        ("/etc/x.mp4", b"1", "leads out of the archive"),
        ("x.mp4", tarfile.SYMTYPE.decode(), "is a link"),
        ("x.mp4", tarfile.LNKTYPE.decode(), "is a link"),
        ("x.mp4", tarfile.CHRTYPE.decode(), "no ordinary file"),
    ],
)
def test_members_that_are_refused(tmp_path, name, kind, words):
    _tar(tmp_path / "m.tar", [("good.mp4", b"1"), (name, kind), ("last.mp4", b"2")])
    opened = tree.scan(tmp_path).opened()
    assert _paths(opened) == ["m.tar/good.mp4", "m.tar/last.mp4"]
    (problem,) = opened.problems_of({".mp4"})
    assert problem.clip == f"m.tar/{name.lstrip('/')}"
    assert words in problem.reason and "unpack the archive" in problem.reason
    with pytest.raises(MediaError), tree.local_file(tmp_path, f"m.tar/{name.lstrip('/')}"):
        pass


def test_sparse_members_are_refused(tmp_path):
    """Their bytes do not lie in the archive as they are."""
    with tarfile.open(tmp_path / "m.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("holes.mp4")
        info.size = 4
        info.pax_headers = {"GNU.sparse.map": "2044,4", "GNU.sparse.size": "2048"}
        tar.addfile(info, io.BytesIO(b"tail"))
    opened = tree.scan(tmp_path).opened()
    assert opened.entries == ()
    assert "no ordinary file" in opened.problems[0].reason


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("part", ["data", "header", "mark"])
def test_truncated_archive_is_one_problem(tmp_path, suffix, part):
    """Cut within the third member's data, within its header, or before the end-of-archive mark."""
    _tar(tmp_path / "whole.tar", [(f"{k}.mp4", os.urandom(2000)) for k in range(3)])
    whole = (tmp_path / "whole.tar").read_bytes()
    member = 512 + 2048
    end = {"data": 2 * member + 900, "header": 2 * member + 100, "mark": 3 * member}[part]
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / f"m{suffix}"
    cut = whole[:end]
    if suffix == ".tar.gz":  # random bytes hardly shrink: the same places, but for the mark
        cut = gzip.compress(cut) if part == "mark" else gzip.compress(whole)[: end - 512]
    path.write_bytes(cut)
    opened = tree.scan(tmp_path / "raw").opened()
    (problem,) = opened.problems
    assert problem.clip == f"m{suffix}"
    assert f"m{suffix} is truncated (files before the fault: " in problem.reason
    assert "download the archive again" in problem.reason
    for entry in opened.entries:
        with tree.local_file(tmp_path / "raw", entry.path) as found:
            assert found.read_bytes() == whole[member * int(found.stem) + 512 :][:2000]
    if suffix == ".tar":
        assert len(opened.entries) == (3 if part == "mark" else 2)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("m.tar", b"", "is no tar archive"),
        ("m.tar", b"<html>sign in</html>" * 100, "is no tar archive"),
        ("m.tgz", b"<html>sign in</html>", "is damaged"),
    ],
)
def test_archives_that_are_none(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    opened = tree.scan(tmp_path).opened()
    assert opened.entries == ()
    assert words in opened.problems[0].reason
    assert "before the fault: 0)" in opened.problems[0].reason


def test_archive_that_cannot_be_opened_is_one_problem(tmp_path, monkeypatch):
    for name in ("good.tar", "locked.tar"):
        _tar(tmp_path / name, [(f"{name}.mp4", b"1")])
    real = places.open_read

    def refuses(place):
        if place.endswith("locked.tar"):
            raise MediaError(f"{place} cannot be read (Permission denied); check your access.")
        return real(place)

    monkeypatch.setattr(places, "open_read", refuses)
    opened = tree.scan(tmp_path).opened()
    assert _paths(opened) == ["good.tar/good.tar.mp4"]
    (problem,) = opened.problems_of({".mp4"})
    assert problem.clip == "locked.tar" and "Permission denied" in problem.reason


def test_damaged_header_in_the_middle(tmp_path):
    _tar(tmp_path / "m.tar", [(f"{k}.mp4", b"1") for k in range(3)])
    data = bytearray((tmp_path / "m.tar").read_bytes())
    data[1024 + 10] ^= 0xFF
    (tmp_path / "m.tar").write_bytes(data)
    opened = tree.scan(tmp_path).opened()
    assert _paths(opened) == ["m.tar/0.mp4"]
    assert "is damaged (files before the fault: 1)" in opened.problems[0].reason


def test_full_temporary_folder_stops_the_run(tmp_path, monkeypatch):
    """A full disk is no fault of the clip: not a MediaError."""
    _tar(tmp_path / "m.tar", [("1.mp4", b"1")])

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "open", full)
        with (
            pytest.raises(RecordError, match=r"No space left on device\); free disk space"),
            tree.local_file(tmp_path, "m.tar/1.mp4"),
        ):
            pass
    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(RecordError, match="set TMPDIR"), tree.local_file(tmp_path, "m.tar/1.mp4"):
        pass


def test_contents_are_read_again_when_the_archive_changes(tmp_path):
    _tar(tmp_path / "m.tar", [("1.mp4", b"1")])
    first = tree.scan(tmp_path).opened()
    os.utime(tmp_path / "m.tar", ns=(1, 1))
    _tar(tmp_path / "m.tar", [("2.mp4", b"1")])
    second = tree.scan(tmp_path).opened()
    assert (_paths(first), _paths(second)) == (["m.tar/1.mp4"], ["m.tar/2.mp4"])
    info = archives.read_contents.cache_info()
    tree.scan(tmp_path).opened()
    assert archives.read_contents.cache_info().misses == info.misses


def test_read_text_refuses_other_encodings(tmp_path, write_files):
    scanned = tree.scan(write_files(tmp_path, {"a.txt": "é".encode("latin-1")}))
    with pytest.raises(MediaError, match=r"a\.txt in .* is not UTF-8"):
        scanned.read_text("a.txt")
    assert scanned.read_text("a.txt", errors="replace") == "\ufffd"


def test_remote_trees_answer_like_local_ones(tmp_path, write_files, pack, monkeypatch):
    """A place in a store is reached through `places` alone, archives in it by their offsets."""
    spare = write_files(tmp_path / "spare", {"front/1.mp4": b"one" * 999, "words.txt": "hé"})
    root = write_files(tmp_path / "raw", {"a/x.mp4": b"x", "a/.parts/y.mp4": b"", ".z.mp4": b""})
    pack(spare, root / "a" / "m.tar")
    here = {"fake://bucket/raw/" + e.path: root / e.path for e in tree.scan(root).entries}
    listed = [(e.path, e.size, 0) for e in tree.scan(root).entries]
    read, fetched = places.open_read, []
    monkeypatch.setattr(
        places, "list_files", lambda root: [*listed, (".z.mp4", 0, 0), ("a/.parts/y.mp4", 0, 0)]
    )
    monkeypatch.setattr(places, "open_read", lambda place: read(str(here[place])))
    monkeypatch.setattr(
        places, "size", lambda place: here[place].stat().st_size if place in here else -1
    )

    def fetch(place, file):
        fetched.append(place)
        pathlib.Path(file).write_bytes(here[place].read_bytes())

    monkeypatch.setattr(places, "fetch", fetch)
    scanned = tree.scan("fake://bucket/raw")
    assert (scanned.name, scanned.root) == ("raw", "fake://bucket/raw")
    assert _paths(scanned) == ["a/m.tar", "a/x.mp4"]
    opened = scanned.opened()
    assert _paths(opened) == ["a/m.tar/front/1.mp4", "a/m.tar/words.txt", "a/x.mp4"]
    assert list(opened.read_texts(["a/m.tar/words.txt", "a/x.mp4"])) == ["hé", "x"]
    with tree.local_file("fake://bucket/raw", "a/m.tar/front/1.mp4") as found:
        assert found.read_bytes() == b"one" * 999
    assert fetched == []  # the archive is not copied for one member
    with tree.local_file("fake://bucket/raw", "a/x.mp4") as found:
        assert found.read_bytes() == b"x"
        assert found.name == "x.mp4"
    assert not found.exists()
    assert fetched == ["fake://bucket/raw/a/x.mp4"]
