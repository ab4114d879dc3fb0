"""Files are whole or not there."""

import pytest

from fagan.errors import UserError, one_line, unknown
from fagan.files import ablation_folder, given_path, read_object, replacing, run_folder, write_text


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "file.bin"
    with replacing(path) as file:
        file.write(b"one")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half of")
        file.flush()
        assert path.read_bytes() == b"one"
        raise KeyboardInterrupt
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_others_may_read_it(tmp_path):
    """As with open(): the umask decides, not the 0600 of a temporary file."""
    plain, replaced = tmp_path / "plain", tmp_path / "replaced"
    plain.write_bytes(b"")
    with replacing(replaced) as file:
        file.write(b"")
    assert replaced.stat().st_mode == plain.stat().st_mode


OUTSIDE = ("../x", "..", ".", "", "/etc", "a/b", "published/../x", "published/", "a\0b", "a\nb")
OUTSIDE += ("-x", "a b", "~", "a" * 101, "published/published/x", None, 3)


def test_names_become_folders_and_none_leads_out_of_results(tmp_path):
    assert ablation_folder("published/laptop", tmp_path) == tmp_path / "published" / "laptop"
    assert run_folder("a", "fagan-1.5_x+é-seed0", tmp_path).parent == tmp_path / "a" / "runs"
    for name in OUTSIDE:
        for folder, names in ((ablation_folder, [name]), (run_folder, ["a", name])):
            with pytest.raises(UserError, match=r"is a folder's name too|too long"):
                folder(*names, tmp_path)


def test_paths_as_a_user_writes_them(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert given_path("~/photos") == tmp_path / "photos"
    for path in ("a\0b", "~nobody-of-this-name/x"):
        with pytest.raises(UserError, match="cannot be a path"):
            given_path(path)


def test_messages_are_one_line_of_bounded_length():
    assert one_line("a\nb\x1b[1m\udcff") == r"a\nb\x1b[1m\udcff"
    assert len(str(UserError("x" * 9_000))) < 2_100
    assert "did you mean 'laptop'" in str(unknown("ablation", "lptop", ["smoke", "laptop"]))


def test_an_object_is_an_object(tmp_path):
    path = tmp_path / "a.json"
    assert read_object(path) is None
    for text in ("[1]", "{", "\udcff", "[" * 9_999):
        write_text(path, text)
        with pytest.raises(UserError, match=r"a\.json is damaged"):
            read_object(path)
