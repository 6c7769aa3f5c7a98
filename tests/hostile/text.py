"""Texts that run something, explode, nest or boast: YAML and JSON; and what the other attacks share."""

import json
import os
import tempfile
from pathlib import Path

BILLION = 10**9


class Canary:
    """Unpickling it would leave a folder behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def yaml_bomb(merge: bool = False, width: int = 9, depth: int = 9) -> str:
    """Aliases of aliases: a few lines that stand for 10⁹ values ("billion laughs"), or as many merged mappings."""
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x, x]"]
    for n in range(1, 3 * depth if merge else depth):
        many = ", ".join([f"*a{n - 1}"] * width)
        lines.append(f"a{n}: &a{n} {{<<: [{many}]}}" if merge else f"a{n}: &a{n} [{many}]")
    return "\n".join(lines)


def yaml_attacks(name: str, group: str = "model") -> dict:
    """YAML that runs something, explodes, nests, or holds what is no value of a config."""
    texts = {
        "laughs": yaml_bomb(),
        "laughs in a field": yaml_bomb().replace("a0: &a0", f"{group}: &a0", 1) + f"\nmodel: {{beta: *a{8}}}",
        "laughs in a value": f"model: {{beta: {'&a [1, 1]'}}}\n" + yaml_bomb(),
        "merges": yaml_bomb(merge=True),
        "runs a command": f"model: !!python/object/apply:os.mkdir [{name}.canary]",
        "makes a tuple": "model: {beta: !!python/tuple [1]}",
        "deep lists": f"{group}: " + "[" * 20_000,
        "deep mappings": f"{group}: " + "{a: " * 5_000,
        "deep dashes": f"{group}:\n" + "- " * 10_000,
        "long": f"{group}: {{beta: 1}}\n" + "# nothing\n" * 30_000,
        "many fields": f"{group}:\n" + "".join(f"  field{n}: {n}\n" for n in range(200_000)),
        "digits": f"{group}: {{horizon: {'9' * 6000}}}",
        "hexadecimal": f"{group}: {{horizon: 0x{'f' * 20_000}}}",
        "hexadecimal name": f"{group}: {{0x{'f' * 20_000}: 1}}",
        "hexadecimal group": f"0x{'f' * 20_000}: {{}}",
        "sexagesimal": f"{group}: {{horizon: {'1' + ':59' * 9000}}}",
        "long name": f"{group}: {{{'x' * 60_000}: 1}}",
        "date": f"{group}: {{horizon: 2001-99-99}}",
        "empty int": f"{group}: {{horizon: !!int ''}}",
        "wrong bool": f"{group}: {{horizon: !!bool maybe}}",
        "wrong time": f"{group}: {{horizon: !!timestamp maybe}}",
        "binary": f"{group}: {{horizon: !!binary '////'}}",
        "set": f"{group}: !!set {{horizon}}",
        "omap": f"{group}: !!omap [horizon: 1]",
        "list as name": f"{group}: {{[a, b]: 1}}",
        "itself": f"{group}: &a {{beta: *a}}",
        "nan": f"{group}: {{beta: .nan}}",
        "infinity": f"{group}: {{beta: .inf}}",
        "NUL": f"{group}: {{backbone: \"\\0\"}}",
        "surrogate": f"{group}: {{backbone: \"\\uD800\"}}",
        "latin": b"model: {backbone: \xe9}",
        "two documents": f"{group}: {{}}\n---\n{group}: {{}}",
        "nothing": "",
    }  # fmt: skip
    attacks = {key: writing(name, text) for key, text in texts.items()}
    return attacks | {"a pipe": lambda f: pipe(f / name), "without an end": lambda f: device(f / name)}


def json_attacks(name: str, *paths: tuple) -> dict:
    """JSON that nests or explodes; and values of any kind in the place of the honest ones."""
    texts = {
        "deep lists": "[" * 1_000_000,
        "deep mappings": '{"a":' * 1_000_000,
        "deep and whole": "[" * 50_000 + "]" * 50_000,
        "digits": '{"format": ' + "9" * 10_000 + "}",
        "a number": "3",
        "a list": "[]",
        "nothing": "",
        "null": "null",
        "latin": b'{"\xe9": 1}',
        "surrogate": '{"\\ud800": "\\ud800"}',
    }
    attacks = {key: writing(name, text) for key, text in texts.items()}
    for path in paths:
        for value in VALUES:
            attacks[f"{'.'.join(map(str, path))} is {value}"] = setting(name, path, VALUES[value])
    attacks["long"] = lambda f: os.truncate(f / name, 300 << 20)
    return attacks | {"a pipe": lambda f: pipe(f / name), "without an end": lambda f: device(f / name)}


VALUES = {
    "null": None, "true": True, "a text": "x", "NUL": "\0", "a long text": "x" * 100_000, "a list": [], "a mapping": {},
    "nested": [[[[[1]]]]], "-1": -1, "0": 0, "0.5": 0.5, "NaN": float("nan"), "infinity": float("inf"),
    "2^31": 2**31, "2^63": 2**63, "1e308": 1e308, "10^400": 10**400, "a billion": BILLION, "a path": "../../etc",
    "many": [1] * 100_000,
}  # fmt: skip


def writing(name: str, text: str | bytes):
    return lambda folder: (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def setting(name: str, path: tuple, value):
    def attack(folder: Path) -> None:
        held = json.loads((folder / name).read_text())
        place = held
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        (folder / name).write_text(json.dumps(held))

    return attack


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def through_crew(format: str):
    """Probes and decodes a source as `prepare` does, in this process."""

    def load(folder: Path) -> None:
        from stochvid import InputError
        from stochvid.prepare.preparation import SOURCES
        from stochvid.prepare.source import Options, SourceFile, walk
        from stochvid.prepare.workers import FrameFormat, WorkerPool

        source = SOURCES[format](folder, walk(folder), Options())
        wrong = []
        with WorkerPool(source, 0) as pool, tempfile.TemporaryDirectory() as parts:
            found = list(pool.probe(source.find()))
            tasks = source.arrange([task for task in found if isinstance(task, SourceFile)])
            wrong += [str(error) for error in found if isinstance(error, InputError)]
            wanted = [[True] * len(task.items) for task in tasks]
            for part in pool.decode(tasks, wanted, FrameFormat(32, source.channels or 1), Path(parts), lambda: None):
                wrong += part.wrong
        if wrong:
            raise InputError(wrong[0])

    return load
