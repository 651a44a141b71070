"""Precedence of options: flag, environment, config file, preset, default. --dry-run prints the source of each value."""

from __future__ import annotations

import json
import sys

import click
import pytest

from fsv2v_cli.options import Run, command, common_options, jobs_option, preset_option, resolved, seed_option
from fsv2v_cli.precedence import Resolved

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def dry_run(fsv2v, tmp_path):
    """dry_run(*flags, config=..., NAME=value) -> (values, sources) of extract-sketch."""

    def run(*flags: object, config: str = "", **env: str):
        if config:
            (tmp_path / "settings.toml").write_text(config)
            flags = (*flags, "--config", tmp_path / "settings.toml")
        result = fsv2v("extract-sketch", "a.mp4", "--dry-run", "--json", *flags, env=env)
        assert result.exit_code == 0, result.stderr
        record = json.loads(result.stdout)
        return record["values"], record["sources"]

    return run


def test_the_default_comes_last(dry_run):
    values, sources = dry_run()
    assert (values["jobs"], sources["jobs"]) == (1, "default")


def test_a_config_file_beats_the_default(dry_run, tmp_path):
    values, sources = dry_run(config="jobs = 3")
    assert (values["jobs"], sources["jobs"]) == (3, f"config {tmp_path}/settings.toml")


def test_a_config_file_may_begin_with_a_byte_order_mark(dry_run):
    assert dry_run(config="\ufeffjobs = 3")[0]["jobs"] == 3


def test_the_table_of_the_command_beats_the_top_level(dry_run):
    values, _ = dry_run(config="jobs = 3\n[extract-sketch]\njobs = 4\n[extract-poses]\njobs = 5")
    assert values["jobs"] == 4


def test_the_environment_beats_the_config_file(dry_run):
    values, sources = dry_run(config="jobs = 3", FSV2V_JOBS="6")
    assert (values["jobs"], sources["jobs"]) == (6, "environment FSV2V_JOBS")


def test_the_variable_of_the_command_beats_the_common_one(dry_run):
    values, sources = dry_run(FSV2V_BACKEND="mediapipe", FSV2V_EXTRACT_SKETCH_BACKEND="dlib")
    assert (values["backend"], sources["backend"]) == ("dlib", "environment FSV2V_EXTRACT_SKETCH_BACKEND")


def test_a_flag_beats_everything(dry_run):
    values, sources = dry_run("--jobs", "7", config="jobs = 3", FSV2V_JOBS="6")
    assert (values["jobs"], sources["jobs"]) == (7, "flag")


def test_flags_with_two_names_can_be_set_everywhere(dry_run):
    assert dry_run(config="keep-going = false")[0]["keep_going"] is False
    assert dry_run(FSV2V_KEEP_GOING="0")[0]["keep_going"] is False
    assert dry_run("--fail-fast", FSV2V_KEEP_GOING="1")[0]["keep_going"] is False


def test_an_option_that_may_be_repeated_takes_a_single_value_from_a_config_file(fsv2v, tmp_path):
    (tmp_path / "settings.toml").write_text('driving = "a.mp4"')
    flags = ("--examples", "a.png", "--config", tmp_path / "settings.toml", "--dry-run", "--json")
    assert json.loads(fsv2v("synthesize", *flags).stdout)["values"]["driving"] == ["a.mp4"]


def test_the_config_file_itself_can_come_from_the_environment(dry_run, tmp_path):
    (tmp_path / "other.toml").write_text("smoothing = 2.5")
    values, _ = dry_run(FSV2V_CONFIG=str(tmp_path / "other.toml"))
    assert values["smoothing"] == 2.5


@pytest.fixture
def example():
    """A command with presets, like train, that returns the values of its options."""
    presets = {"fast": {"steps": 10, "seed": 1, "width": 64}}

    @command("example")
    @click.option("--steps", type=int, default=1000)
    @seed_option
    @jobs_option
    @preset_option(("fast",), load=presets.__getitem__)
    @common_options
    def example(steps: int, seed: int, preset: str | None, run: Run) -> tuple[int, int, Resolved]:
        return steps, seed, resolved()

    def call(*arguments: str):
        return example.main(list(arguments), prog_name="example", standalone_mode=False)

    return call


def test_a_preset_beats_only_the_default(example, monkeypatch):
    assert example()[:2] == (1000, 0)
    assert example("--preset", "fast")[:2] == (10, 1)
    assert example("--preset", "fast", "--seed", "5")[:2] == (10, 5)
    monkeypatch.setenv("FSV2V_STEPS", "20")
    assert example("--preset", "fast")[:2] == (20, 1)


def test_a_command_knows_which_options_the_user_has_set(example):
    _, _, values = example("--preset", "fast", "--steps", "3")
    assert values.set_by_user() == {"steps": 3, "preset": "fast"}
    assert values.sources["seed"] == "preset fast"


def test_the_output_of_a_dry_run_is_a_config_file_for_the_same_run(fsv2v, tmp_path):
    flags = ("--face", "1", "--backend", "dlib", "--shard", "1/3", "--fail-fast", "-o", tmp_path / "ä b", "-j", "2")
    result = fsv2v("extract-sketch", "a.mp4", *flags, "--dry-run")
    assert tomllib.loads(result.stdout)["extract-sketch"]["face"] == 1
    (tmp_path / "again.toml").write_text(result.stdout, encoding="utf-8")

    def values(*arguments: object):
        return json.loads(fsv2v("extract-sketch", "a.mp4", *arguments, "--dry-run", "--json").stdout)["values"]

    assert values("--config", tmp_path / "again.toml") == values(*flags)


@pytest.mark.parametrize("command", [["build-dataset", "a.clip", "-o", "set"], ["clip", "import", "json/"]], ids=" ".join)
def test_a_size_is_printed_in_the_form_of_the_option(fsv2v, command):
    stdout = fsv2v(*command, "--size", "256x128", "--dry-run").stdout
    assert 'size = "256x128"' in stdout


def test_a_dry_run_writes_no_files(fsv2v, tmp_path):
    result = fsv2v("extract-sketch", tmp_path / "absent.mp4", "-o", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("jbs = 3", "no command has an option 'jbs'"),
        ("[extract-sketch]\njbs = 3", "extract-sketch has no option 'jbs'"),
        ("[extract-skech]\njobs = 3", "there is no command 'extract-skech'"),
        ("jobs = 'many'", "Invalid value for '--jobs'"),
        ("jobs = ", "is not valid TOML"),
        ("keep-going = true\nkeep_going = false", "sets keep-going twice"),
    ],
)
def test_a_mistake_in_a_config_file_is_refused(fsv2v, tmp_path, config, message):
    (tmp_path / "settings.toml").write_text(config)
    result = fsv2v("extract-sketch", "a.mp4", "--config", tmp_path / "settings.toml", "--dry-run")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_an_absent_config_file_is_refused(fsv2v):
    result = fsv2v("extract-sketch", "a.mp4", "--config", "absent.toml")
    assert result.exit_code == 2
    assert "absent.toml cannot be read: No such file or directory" in result.stderr


def test_an_option_has_the_same_name_in_flags_variables_and_config_files(fsv2v, tmp_path):
    def metric(*flags: object, **env: str):
        result = fsv2v("evaluate", "a.mp4", "--reference", "b.mp4", *flags, "--dry-run", "--json", env=env)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)["values"]["metric"]

    (tmp_path / "settings.toml").write_text('[evaluate]\nmetric = ["psnr", "ssim"]')
    assert metric("--metric", "psnr") == ["psnr"]
    assert metric("--config", tmp_path / "settings.toml") == ["psnr", "ssim"]
    assert metric(FSV2V_METRIC="psnr ssim") == ["psnr", "ssim"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("jobs = 2.5", "jobs must be a whole number, not 2.5"),
        ("jobs = inf", "jobs must be a whole number, not inf"),
        ("jobs = true", "jobs must be a whole number, not True"),
        ("jobs = [1, 2]", "jobs must be a whole number, not [1, 2]"),
        ("overwrite = 1.5", "overwrite must be true or false, not 1.5"),
        ("out = 3", "out must be a string, not 3"),
        ("out = 1979-05-27", "out must be a string, not datetime.date"),
        ("[train]\nlearning-rate = nan", "learning_rate must be a number, not nan"),
        ("[train]\nbudget = {h = 1}", "budget must be a string or a number, not {'h': 1}"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(line, message, fsv2v, tmp_path):
    (tmp_path / "c.toml").write_text(line)
    command = ["extract-poses", "a.mp4"] if "jobs" in line else ["train", "--data", "d", "-o", "o"]
    done = fsv2v(*command, "--config", tmp_path / "c.toml", "--dry-run")
    assert done.exit_code == 2 and message in done.stderr
