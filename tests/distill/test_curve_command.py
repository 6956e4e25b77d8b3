"""`labeldp curve`: options that would change nothing are refused, not passed over."""

import pytest

from distill.cli import main

ANSWERS = ["--answers", "configs/digits.toml"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*ANSWERS, "--data", "mnist"], "--data"),
        ([*ANSWERS, "--device", "cpu", "--epochs", "3"], "--epochs, --device"),
        (["--quick", "--epsilons", "1"], "--epsilons"),
        (["--quick", "--seeds", "1", "--data", "mnist"], "--data, --seeds"),
        (["--analytic", "--mechanisms", "rr"], "--mechanisms"),
        (["--analytic", *ANSWERS], "--answers"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(arguments, named: str, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["curve", *arguments, "--out", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert f"without {named}, which would change nothing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_that_apply_are_taken(tmp_path) -> None:
    """The twin: what changes something is not refused."""
    with pytest.raises(SystemExit) as caught:
        main(["curve", "--analytic", "--classes", "3", "--epsilons", "1", "--out", str(tmp_path / "out")])
    assert caught.value.code == 0
    assert (tmp_path / "out").is_dir()
