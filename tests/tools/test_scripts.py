"""The scripts in tools/ can be run from the checkout, and their help texts contain their paths."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SCRIPTS = sorted(path.stem for path in TOOLS.glob("*.py") if "argparse" in path.read_text(encoding="utf-8"))


def test_each_shipped_network_has_a_training_script() -> None:
    cards = "".join(path.read_text(encoding="utf-8") for path in (TOOLS.parent / "weights").glob("*.md"))
    named = set(re.findall(r"python tools/(\w+)\.py", cards))
    assert named == {"train_predictor", "train_small", "train_street"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_help_of_a_script_contains_its_path(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as caught:
        import_module(name).main()
    assert caught.value.code == 0 and f"tools/{name}.py" in capsys.readouterr().out
