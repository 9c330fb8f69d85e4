"""A preset: a YAML file that says which notebook runs with what, checked whole before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ftlib import run, settings
from ftlib.settings import WorkbookError, closest

KEYS = {"title": str, "chapter": str, "parameters": dict, "axes": dict, "x": str, "seeds": int}
KEYS |= {"metric": str, "guess": str, "notice": str}
KINDS = {dict: "a mapping of names to values", str: "a text", int: "a whole number"}


@dataclass(frozen=True)
class Preset:
    """A checked preset. cells: the parameters of each run, as a command line would give them.

    axes: the names of what varies beside the seed; x is one of them. guess: what to predict before the runs,
    notice: what to look for afterwards.
    """

    name: str
    title: str
    chapter: run.Chapter
    cells: list[dict[str, str]]
    axes: list[str]
    x: str
    metric: str
    guess: str
    notice: str


def read(path: Path, notebooks: Path = run.NOTEBOOKS) -> Preset:
    """The preset in a YAML file; WorkbookError for the first thing wrong in it, with its key."""
    try:
        found = {"parameters": {}} | _load(path)
        _check_keys(found)
        chapter = _chapter(path.parent, found["chapter"], notebooks)
        if found["x"] not in found["axes"]:
            raise WorkbookError(f"x: {found['x']!r} is no axis{closest(found['x'], found['axes'])}")
        fixed = _texts("parameters", chapter, {name: [one] for name, one in found["parameters"].items()})
        axes = _texts("axes", chapter, found["axes"])
        if chapter.parameters[found["x"]].kind not in (int, float):
            raise WorkbookError(f"x: {found['x']} holds no numbers, so that no curve can be drawn over it")
        _check_seeds(found["seeds"], chapter, fixed, axes)
    except WorkbookError as error:
        raise WorkbookError(f"{path}: {error}") from None
    axes_and_seed = axes | {"seed": list(map(str, range(found["seeds"])))}
    points = itertools.product(*axes_and_seed.values())
    same = {name: value for name, [value] in fixed.items()}
    cells = [same | dict(zip(axes_and_seed, point, strict=True)) for point in points]
    texts = (" ".join(found[key].split()) for key in ("guess", "notice"))
    title, x, metric = (found[key] for key in ("title", "x", "metric"))
    return Preset(path.stem, title, chapter, cells, list(axes), x, metric, *texts)


def _load(path: Path) -> dict[str, object]:
    """What the file holds; unlike plain YAML, which takes the last, it refuses a key that is there twice."""
    import yaml

    if not path.is_file():
        near = closest(path.name, [one.name for one in sorted(path.parent.glob("*.yml"))])
        raise WorkbookError(f"there is no such preset{near}")

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
            names = [self.construct_object(key, deep=deep) for key, _ in node.value]
            if twice := [name for name in names if names.count(name) > 1]:
                raise WorkbookError(f"{twice[0]}: the key is there twice")
            return super().construct_mapping(node, deep)

    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise WorkbookError(f"it cannot be read as YAML: {error}") from None
    if not isinstance(found, dict):
        raise WorkbookError(f"it must be a mapping with the keys {', '.join(KEYS)}")
    return found


def _check_keys(found: dict[str, object]) -> None:
    for key in found:
        if key not in KEYS:
            raise WorkbookError(f"{key}: no such key{closest(str(key), KEYS) or f'; there are {list(KEYS)}'}")
    for key, kind in KEYS.items():
        if key not in found:
            raise WorkbookError(f"{key}: the key is missing")
        if not isinstance(found[key], kind) or isinstance(found[key], bool):
            quotes = " (in quotes)" if key == "chapter" else ""
            raise WorkbookError(f"{key}: {found[key]!r} is not {KINDS[kind]}{quotes}")
    if not found["axes"]:
        raise WorkbookError("axes: there is none, so that nothing varies")


def _chapter(folder: Path, name: str, notebooks: Path) -> run.Chapter:
    """The chapter of that number, or the notebook of that name beside the preset."""
    if name.endswith(".ipynb"):
        if not (folder / name).is_file():
            there = [path.name for path in sorted(folder.glob("*.ipynb"))]
            raise WorkbookError(f"chapter: no notebook {name!r} beside the preset{closest(name, there)}")
        return run.chapter(folder.absolute() / name, name.removesuffix(".ipynb"))
    available = run.chapters(notebooks)
    if name not in available:
        near = closest(name, available)
        raise WorkbookError(f"chapter: {name!r} is no number of a chapter, and no notebook's name{near}")
    return available[name]


def _texts(key: str, chapter: run.Chapter, lists: dict[str, list]) -> dict[str, list[str]]:
    """Each parameter's values as the command line takes them: each of its type and in range, none twice."""
    found = {}
    for name, values in lists.items():
        where = f"{key}, {name}"
        if not isinstance(values, list) or not values:
            raise WorkbookError(f"{where}: {values!r} is not a list of values")
        taken: list[object] = []
        for value in values:
            if not isinstance(value, (str, int, float)):
                raise WorkbookError(f"{where}: {value!r} is neither a number nor a text")
            try:
                taken += run.gate(chapter, {str(name): str(value)}).values()
            except WorkbookError as error:
                raise WorkbookError(f"{where}: {error}") from None
        if twice := [value for value in taken if taken.count(value) > 1]:
            raise WorkbookError(f"{where}: {twice[0]!r} is there twice, and a cell would be run twice")
        found[name] = list(map(str, taken))
    return found


def _check_seeds(seeds: int, chapter: run.Chapter, fixed: Collection[str], axes: Collection[str]) -> None:
    """The seed varies too: how often is said in one place."""
    settings.validate({"seeds": seeds})
    if "seed" not in chapter.parameters:
        raise WorkbookError(f"chapter: {chapter.number} has no parameter seed, and nothing to repeat")
    for key, names in (("parameters", fixed), ("axes", axes)):
        if "seed" in names:
            raise WorkbookError(f"{key}, seed: leave it out, for seeds says how many there are")
    if both := [name for name in fixed if name in axes]:
        raise WorkbookError(f"parameters, {both[0]}: leave it out, for it is an axis")
