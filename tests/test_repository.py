"""The repository keeps its promises: one lock, small modules, arrows pointing downwards, honest workflows."""

import ast
import doctest
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ftlib import artefact

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "ftlib").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# The house, from the ground up; a module may import what stands on a lower floor.
FLOORS = [{"plot"}, {"settings"}, {"artefact", "search"}, {"formats", "experiment"}, {"data"}, {"model"}]
FLOORS += [{"generate"}, {"evaluate"}, {"train"}, {"gateway", "serve"}, {"monitor"}, {"check", "claims"}]
FLOORS += [{"exercises", "wire", "fence"}, {"answers", "nursery"}, {"judge", "report"}, {"run"}, {"release"}]
FLOORS += [{"grade"}, {"cli"}, {"__main__"}]


def extras():
    """Direct dependencies: canonical name -> (stage, requirement)."""
    stages = PROJECT["project"]["optional-dependencies"]
    listed = [
        (stage, Requirement(line))
        for stage, lines in stages.items()
        if stage not in ("all", "colab")
        for line in lines
    ]
    return {canonicalize_name(requirement.name): (stage, requirement) for stage, requirement in listed}


def pins():
    """The lock: canonical name -> version."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def environment():
    """The pip lines of environment.yml: canonical name -> (version, comment)."""
    lines = re.findall(
        r"^ +- ([\w-]+)==(\S+)  # (\w+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE
    )
    return {canonicalize_name(name): (version, comment) for name, version, comment in lines}


def ftlib_imports(path):
    """The modules of ftlib that a module imports, at its head or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "ftlib":
            found |= {name.name for name in node.names} - {"__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ftlib."):
            found.add(node.module.split(".")[1])
    return found


def test_every_direct_dependency_is_pinned_within_its_bounds():
    for name, (_, requirement) in extras().items():
        assert requirement.specifier.contains(pins()[name]), (
            f"{name}: the lock is outside {requirement.specifier}"
        )


def test_the_versions_that_decide_the_numbers_of_the_chapters_are_exact():
    for name in ("torch", "transformers", "trl", "peft", "datasets", "accelerate"):
        assert str(extras()[name][1].specifier) == f"=={pins()[name]}"
    assert f"torch=={pins()['torch']}" in (ROOT / "Makefile").read_text()


def test_environment_yml_names_every_direct_dependency_with_its_pin_and_its_stage():
    expected = {name: (pins()[name], stage) for name, (stage, _) in extras().items()}
    assert environment() == expected
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert conda[:2] == ["python=3.11", "pip"]
    pip = conda[2]["pip"]
    assert (pip[0], pip[-1]) == ("--constraint constraints.txt", "--editable .")
    assert len(pip) == len(expected) + 2


def test_the_extra_all_holds_every_stage():
    stages = PROJECT["project"]["optional-dependencies"]
    [everything] = map(Requirement, stages["all"])
    assert everything.extras == stages.keys() - {"all", "colab"}


def test_a_hosted_notebook_installs_the_same_versions_beside_its_own_torch():
    stages = PROJECT["project"]["optional-dependencies"]
    own, *lines = stages["colab"]
    assert Requirement(own).extras == {"data", "evaluate", "serve"}
    assert set(lines) <= {*stages["train"], *stages["notebooks"]}
    exact = {line for line in stages["train"] if "==" in line}
    assert exact - set(lines) == {f"torch=={pins()['torch']}"}


def test_the_lock_is_exact_for_every_machine_and_sorted():
    text = (ROOT / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines), (
        "no local versions, no URLs"
    )
    assert lines == sorted(lines, key=str.lower)
    assert not any(line.startswith(("nvidia", "triton")) for line in lines)


def test_what_the_locked_packages_need_is_locked_too():
    locked = pins()
    for name, version in locked.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution.version.partition("+")[0] != version:
            continue  # the weekly run takes newer versions
        needs = [Requirement(line) for line in distribution.requires or ()]
        for need in needs:
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in locked, f"{name} needs {need.name}"


def test_what_ftlib_imports_is_a_dependency_that_the_lock_pins():
    named = importlib.metadata.packages_distributions()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for module in (
                {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"ftlib", ""}
            ):
                names = {canonicalize_name(name) for name in named[module]}
                assert names & pins().keys(), f"{path.name} imports {module}, which is not in the lock"


def test_the_wheel_carries_the_shipped_data_and_no_recipes(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    packed = {
        name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")
    }
    sources = [path.relative_to(ROOT) for path in (ROOT / "data").rglob("*") if path.is_file()]
    shipped = [path for path in sources if path.parts[1] != "recipes" and "__pycache__" not in path.parts]
    code = [path.relative_to(ROOT) for path in (ROOT / "ftlib").rglob("*") if path.is_file()]
    expected = {f"ftlib/_data/{path.relative_to('data').as_posix()}" for path in shipped}
    expected |= {path.as_posix() for path in code if "__pycache__" not in path.parts}
    assert packed == expected


def test_ftlib_is_imported_in_less_than_three_tenths_of_a_second_and_without_torch():
    program = "import sys, time; start = time.process_time(); import ftlib\n"
    program += "print(time.process_time() - start, *sys.modules)"  # a busy machine does not count
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert float(shown[0]) < 0.3
    assert not {"torch", "transformers", "pandas", "matplotlib", "IPython"} & set(shown[1:])


def code_lines(path: Path) -> int:
    """Lines of code: docstrings, comments and blank lines are what we want more of, not less."""
    source = path.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [
        node.body[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    ]
    left_out = {line for one in docstrings for line in range(one.lineno, one.end_lineno + 1)}
    return sum(
        number not in left_out and bool(line.strip()) and not line.lstrip().startswith("#")
        for number, line in enumerate(source.splitlines(), start=1)
    )


def test_ftlib_stays_small():
    lines = {path.name: code_lines(path) for path in (ROOT / "ftlib").glob("*.py")}
    # A sixth of it reads files of any kind without losing a row, a tenth serves.
    assert sum(lines.values()) < 4_500, lines


def test_no_function_of_ftlib_is_longer_than_forty_lines():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                documented = ast.get_docstring(node) is not None
                first = node.body[1] if documented and len(node.body) > 1 else node.body[0]
                length = node.end_lineno - first.lineno + 1
                assert length <= 40, f"{path.name}: {node.name} has {length} lines after its docstring"


def test_arrows_point_downwards():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    for path in MODULES:
        name = "exercises" if path.parent.name == "exercises" else path.stem
        for imported in ftlib_imports(path) if name != "__init__" else ():
            assert floor[imported] < floor[name], (
                f"{name} imports {imported}, which stands above or beside it"
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_example_in_a_docstring_is_true(path):
    if path.stem == "__main__":
        return
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def sixteen_bits(source: str) -> list[str]:
    """The calls that take a 16-bit number format, or leave it to a library, whatever the CPU is good at."""
    tree, found = ast.parse(source), []
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    libraries = {name.asname or name.name for node in imports if node.module in ("transformers", "trl")
                 for name in node.names if name.name.endswith(("TrainingArguments", "Config"))}  # fmt: skip
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        dtype = ast.unparse(call.args[1]) if call.args[1:] else given.get("dtype", "the default")
        trains = name in libraries and "output_dir" in given
        if (
            name.endswith((".bfloat16", ".half"))
            or (name.split(".")[-1] == "autocast" and ("16" in dtype or "default" in dtype))
            or "True" in (given.get("bf16"), given.get("fp16"))
            or (trains and not given.keys() & {"bf16", None})
        ):
            found.append(ast.unparse(call))
    return found


def test_no_code_takes_sixteen_bit_numbers_on_a_cpu_that_may_be_slow_with_them():
    folders = ("ftlib", "data", "notebooks", "benchmarks")
    sources = {path: path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")}
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        code = [cell["source"] for cell in artefact.cells(path) if cell["cell_type"] == "code"]
        sources[path] = "\n".join(code)
    found = {path.name: sixteen_bits(source) for path, source in sources.items()}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize("wrong", [
    "with torch.autocast(device, torch.bfloat16): pass",
    "with torch.autocast('cpu', dtype=torch.float16): pass",
    "with torch.amp.autocast('cpu'): pass",
    "model.half()",
    "from trl import SFTConfig\nSFTConfig(output_dir=folder, use_cpu=True)",
    "from transformers import TrainingArguments\nTrainingArguments(output_dir='.', bf16=True)",
    "arguments(fp16=True)",
])  # fmt: skip
def test_code_that_takes_sixteen_bit_numbers_is_found(wrong):
    assert len(sixteen_bits(wrong)) == 1


def test_every_target_of_the_makefile_that_the_readme_names_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert {"setup", "run", "test", "notebooks", "data", "base-model", "lint"} <= named <= targets


def test_make_run_and_make_test_set_up_what_they_need_and_stop_at_the_first_failure():
    own = {"PATH": os.environ["PATH"]}  # without the variables of the make that runs the tests
    targets = ("run", "lab", "test", "lint", "notebooks", "book", "measure", "data", "base-model", "real")
    for target in (*targets, "benchmarks"):
        command = ["make", "--dry-run", "--always-make", target]
        plan = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=True).stdout
        assert plan.index("--constraint constraints.txt torch==") < plan.rindex(".venv/bin/python")
        assert "||" not in plan and "| true" not in plan


def test_make_test_runs_all_tests_two_at_a_time_or_what_the_named_chapters_need():
    plans = {
        chapters: subprocess.run(
            ["make", "--dry-run", "test", f"CHAPTERS={chapters}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for chapters in ("", "4.01 4.03")
    }
    assert all("-m pytest -n 2 --maxschedchunk 1" in plan for plan in plans.values())
    assert "tests/" not in plans[""]
    assert 'CHAPTERS="4.01 4.03"' in plans["4.01 4.03"]
    assert "tests/test_chapters.py tests/test_exercises.py" in plans["4.01 4.03"]


def test_continuous_integration_runs_the_readme_s_commands_and_nothing_else():
    commands = [
        step["run"]
        for path in WORKFLOWS
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    assert {command.split(" CONSTRAINTS=")[0] for command in commands} == {"make test", "make run"}
    assert not any("secrets." in path.read_text() for path in WORKFLOWS)
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().splitlines()[-1].endswith("exec make test")


def test_the_lanes_are_each_push_each_week_and_on_demand_on_a_gpu():
    lanes = {path.stem: yaml.safe_load(path.read_text()) for path in WORKFLOWS}
    events = {name: set(lane[True]) for name, lane in lanes.items()}  # YAML 1.1 reads the key `on` as true
    assert events == {
        "push": {"push", "pull_request"},
        "weekly": {"schedule", "workflow_dispatch"},
        "gpu": {"workflow_dispatch"},
    }
    assert "self-hosted" in lanes["gpu"]["jobs"]["gpu"]["runs-on"]


def test_every_local_link_of_the_readme_leads_to_a_file():
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_chapter_that_exists_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for path in sorted((ROOT / "notebooks").glob("*/[0-9]_*.ipynb")):
        assert path.relative_to(ROOT).as_posix() in readme


def test_nothing_that_is_shipped_names_a_machine():
    places = [
        *MODULES,
        *(ROOT / "notebooks").rglob("*.ipynb"),
        *(ROOT / "tests").glob("*.py"),
        *ROOT.glob("[!.]*.*"),
        ROOT / "Makefile",
    ]
    machine = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/")
    assert [
        path.name for path in places if path.is_file() and machine.search(path.read_text(errors="ignore"))
    ] == []


def test_the_licences_are_the_whole_texts():
    apache, attribution = (ROOT / "LICENSE").read_text(), (ROOT / "LICENSE-DATA").read_text()
    assert "Apache License" in apache and "END OF TERMS AND CONDITIONS" in apache
    assert (
        "https://creativecommons.org/licenses/by/4.0/" in attribution
        and "Section 8 -- Interpretation" in attribution
    )
