"""Every tool can be run from the checkout as its own help says."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SCRIPTS = sorted(path.stem for path in TOOLS.glob("*.py") if "argparse" in path.read_text(encoding="utf-8"))


def test_the_shipped_networks_have_a_script_each() -> None:
    cards = "".join(path.read_text(encoding="utf-8") for path in (TOOLS.parent / "weights").glob("*.md"))
    named = set(re.findall(r"python tools/(\w+)\.py", cards))
    assert named == {"train_predictor", "train_small", "train_street"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_named_in_its_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as caught:
        import_module(name).main()
    assert caught.value.code == 0 and f"tools/{name}.py" in capsys.readouterr().out
