"""The help of the commands, and hints for misspelt words."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ghostyolo import cli


@pytest.mark.parametrize("name", cli.ABOUTS)
def test_help(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arguments are in groups, and both examples are read; 80 columns are enough."""
    for run_folder in ("first", "flowers"):
        folder = tmp_path / "runs/train" / run_folder
        folder.mkdir(parents=True)
        (folder / "model.cfg").touch()
        (folder / "best.weights").touch()
    monkeypatch.chdir(tmp_path)
    parser, run = cli.parser(name)
    assert callable(run)
    text = parser.format_help()
    assert max(map(len, text.splitlines())) < 80
    grouped = [action for group in parser.groups.values() for action in group._group_actions]
    assert {"-h", *(flag for action in grouped for flag in action.option_strings)} == {
        "-h",
        *parser._option_string_actions,
    }
    folders = "RUN" in text.partition("\n\n")[0]
    assert folders == any("folder of a" in str(action.help) for action in parser._actions)
    assert all(action.help for action in grouped)
    examples = text.partition("\nexamples:\n")[2].splitlines()
    assert len(examples) == 2
    for example in examples:
        program, *words = shlex.split(example)
        assert (program, words[0]) == ("ghostyolo", name)
        assert cli.parse(words).run is run


def test_main_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert max(map(len, err.splitlines())) < 80
    assert all(f"\n  {name:<13}{text}\n" in err for name, text in cli.ABOUTS.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "ghostyolo: error: no command 'trian'; did you mean train?"),
        ("--verson", "ghostyolo: error: unrecognized arguments: --verson; did you mean --version?"),
        (
            "detect a.cfg b c --tresh=.5 --jsno",
            "ghostyolo detect: error: unrecognized arguments: --tresh=.5 --jsno; "
            "did you mean --thresh?; did you mean --json?",
        ),
        ("val a.cfg b c --xyzzy", "ghostyolo val: error: unrecognized arguments: --xyzzy"),
    ],
)
def test_misspelt_words(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words.split())
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1:] == [message]
