"""The key=value grammar, its errors and its exit codes, in process."""

from __future__ import annotations

import errno
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.cli import (
    Arguments,
    Key,
    boolean,
    main,
    natural,
    one_of,
    parse,
    path,
    paths,
    positive,
    run_verb,
    some_of,
    words,
)
from zoo.errors import DatasetMissingError, UnknownNameError, UsageError, ZooError

KEYS = (
    Key("model", "names", words, required=True),
    Key("precision", "fp32 | int8", one_of("fp32", "int8"), "fp32"),
    Key("batch", "images", positive, 32),
    Key("seed", "seed", natural, 0),
    Key("fresh", "again", boolean, False),
    Key("root", "folder"),
    Key("out", "folder", path),
    Key("files", "files", paths, ()),
)


def test_values_are_typed_and_defaults_stand() -> None:
    got = parse("eval", KEYS, ["model=a,b", "batch=4", "fresh=yes", "seed=0"])
    assert got == {"model": ("a", "b"), "precision": "fp32", "batch": 4, "seed": 0, "fresh": True, "root": None,
                   "out": None, "files": ()}  # fmt: skip
    assert got.model == ("a", "b")


def test_a_value_may_hold_an_equals_sign_and_stay_text() -> None:
    assert parse("eval", KEYS, ["model=no", "root=/data/a=b"]).root == "/data/a=b"
    assert parse("eval", KEYS, ["model=no"]).model == ("no",)


@pytest.mark.parametrize(
    ("words_given", "what", "fix"),
    [
        (["modle=a"], "unknown key 'modle'", "'model'"),
        (["model"], "'model' is not key=value", "write model=..."),
        (["--model", "a"], "'--model' is not key=value", "write model=..."),
        (["model=a", "model=b"], "given twice", "commas"),
        (["batch=4"], "needs model=", "--help"),
        (["model=a", "batch=0"], "batch=0: not a valid value", "above 0"),
        (["model=a", "batch=٣"], "batch=٣: not a valid value", "above 0"),
        (["model=a", "fresh=maybe"], "fresh=maybe: not a valid value", "true or false"),
        (["model=a", "precision=int4"], "precision=int4: unknown value", "int8"),
        (["model=,"], "model=,: not a valid value", "one name"),
        (["config=none.yaml"], "config file 'none.yaml' does not exist", None),
        (["config="], "config=: not a valid value", "write a path"),
        (["model=a", "out=~nobody-of-this-name/x"], "out=~nobody-of-this-name/x: not a valid value", "no such user"),
    ],
)
def test_mistakes_are_named_with_what_mends_them(words_given: list[str], what: str, fix: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse("eval", KEYS, words_given)
    assert what in caught.value.what
    assert caught.value.exit_code == 2
    if fix:
        assert caught.value.fix is not None
        assert fix in caught.value.fix


def test_a_config_file_gives_values_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: [a, b]\nbatch: 8\nfresh: no\n")
    got = parse("eval", KEYS, [f"config={file}", "batch=16"])
    assert (got.model, got.batch, got.fresh) == (("a", "b"), 16, False)
    file.write_text("modle: a\n")
    with pytest.raises(UnknownNameError, match="modle"):
        parse("eval", KEYS, [f"config={file}"])
    file.write_text("- a\n")
    with pytest.raises(UsageError, match="key: value"):
        parse("eval", KEYS, [f"config={file}"])


@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_words_give_values_or_a_usage_error(words_given: list[str]) -> None:
    with suppress(UsageError):
        parse("eval", KEYS, words_given)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (DatasetMissingError("x"), 3),
        (ZooError("x"), 1),
        (KeyboardInterrupt(), 130),
        (PermissionError(13, "Permission denied", "/kept"), 1),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def body(_: Arguments) -> int:
        raise error

    assert run_verb("eval", "", KEYS, "", body, ["model=a"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
    assert "Traceback" not in captured.err


def test_an_error_shows_what_where_why_and_fix(capsys: pytest.CaptureFixture[str]) -> None:
    def body(_: Arguments) -> int:
        raise ZooError("it broke", where="here", why="because", fix="mend it")

    run_verb("eval", "", KEYS, "", body, ["model=a"])
    assert capsys.readouterr().err == "error: it broke\n  where: here\n  why: because\n  fix: mend it\n"


def test_help_names_every_key_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    def body(_: Arguments) -> int:
        raise AssertionError

    assert run_verb("eval", "Score.", KEYS, "python -m zoo.eval model=a", body, ["--help"]) == 0
    out = capsys.readouterr().out
    for key in KEYS:
        assert f"{key.name}=" in out
    assert "[32]" in out
    assert "(required)" in out


def test_the_script_lists_verbs_and_suggests_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "leaderboard" in capsys.readouterr().out
    assert main(["evla"]) == 2
    assert "'eval'" in capsys.readouterr().err
    assert main(["--version"]) == 0


def test_the_package_runs_as_the_script_does(repository: Path) -> None:
    for given_words, code, shown in ((["--help"], 0, "verbs:"), (["evl"], 2, "did you mean 'eval'?")):
        done = subprocess.run(
            [sys.executable, "-m", "zoo", *given_words], cwd=repository, capture_output=True, text=True, check=False
        )
        assert done.returncode == code and shown in done.stdout + done.stderr


def test_every_verb_has_help_and_refuses_unknown_keys(capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.cli import VERBS

    for verb in VERBS:
        assert main([verb, "--help"]) == 0
        assert "usage:" in capsys.readouterr().out
        assert main([verb, "nosuchkey=1"]) == 2
        assert "unknown key 'nosuchkey'" in capsys.readouterr().err


def test_arguments_raise_attribute_error_for_unknown_names() -> None:
    values: Any = Arguments(a=1)
    with pytest.raises(AttributeError):
        values.b


def test_paths_are_filled_in_where_the_shell_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.csv", "b.csv", "c[1].csv"):
        (tmp_path / name).write_text("")
    got = parse("eval", KEYS, ["model=m", f"files=~/[ab].csv,{tmp_path}/c[1].csv,{tmp_path}/none*.csv"])
    assert got.files == (*(tmp_path / n for n in ("a.csv", "b.csv", "c[1].csv")), tmp_path / "none*.csv")


def test_an_error_of_the_disk_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    def body(_: Arguments) -> int:
        raise PermissionError(13, "Permission denied", "/kept")

    assert run_verb("eval", "", KEYS, "", body, ["model=a"]) == 1
    assert capsys.readouterr().err == (
        "error: '/kept' cannot be used\n  why: Permission denied\n"
        "  fix: mend its permissions, or name a folder that you may write to\n"
    )
    with pytest.raises(OSError, match="not of the system"):
        run_verb("eval", "", KEYS, "", lambda _: (_ for _ in ()).throw(OSError("not of the system")), ["model=a"])


def test_a_list_of_known_words_is_held_against_them() -> None:
    keys = (Key("tasks", "tasks", some_of("expression", "au-intensity"), ()),)
    assert parse("predict", keys, ["tasks=expression,au-intensity"]).tasks == ("expression", "au-intensity")
    with pytest.raises(UsageError, match="unknown value") as caught:
        parse("predict", keys, ["tasks=expresion"])
    assert "did you mean 'expression'?" in str(caught.value.fix)


def test_what_the_zoo_warns_of_is_a_line_and_a_librarys_warning_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "b.heic").touch()
    (tmp_path / "a.jpg").touch()
    code = (
        "import sys, warnings\nfrom zoo.cli import run_verb\nfrom zoo.runs.predict import find_images\n"
        "def inputs(given):\n    find_images([sys.argv[1]])\n    warnings.warn('a library')\n"
        "sys.exit(run_verb('show', '', (), '', inputs, []))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    first, second, *_ = done.stderr.splitlines()
    assert first == f"warning: {tmp_path}: left out by their suffix: b.heic"
    assert "UserWarning: a library" in second


def test_a_full_disk_and_an_interruption_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(verb: str, error: BaseException) -> str:
        def body(_: Arguments) -> int:
            raise error

        run_verb(verb, "", KEYS, "", body, ["model=a"])
        return capsys.readouterr().err

    assert "fix: free some space" in stopped("predict", OSError(errno.ENOSPC, "No space left on device"))
    assert "fix: a file is in the way" in stopped("predict", FileExistsError(errno.EEXIST, "File exists", "out"))
    assert "goes on from there" in stopped("eval", KeyboardInterrupt())
    assert stopped("predict", KeyboardInterrupt()) == "interrupted; no file is left half-written\n"
