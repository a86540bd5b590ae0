"""Who may import whom, read from every import of the packages."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("antiphon", "synth_node", "gateway")
PURE = (
    "cluster",
    "errors",
    "events",
    "feedback",
    "heartbeat",
    "lengths",
    "mp3",
    "openai_voices",
    "request",
    "sentences",
    "servers",
    "subjects",
    "wire",
)
IO = {"asyncio", "nats", "aiohttp", "uvloop", "socket", "subprocess", "threading", "time", "os"}
OF_THE_PROCESSES = {"pydantic", "pydantic_settings", "structlog", "uvloop", "click", "rich", "av", "lameenc"}


def modules(package: str) -> list[Path]:
    """Return every module of a package, those of its subpackages too."""
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever in it."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("antiphon", ("synth_node", "gateway", "bench", "tests")),
        ("synth_node", ("gateway", "antiphon.cli", "bench", "tests")),
        ("gateway", ("synth_node", "antiphon.cli", "bench", "tests")),
    ],
)
def test_a_package_imports_only_what_lies_below_it(package: str, forbidden: tuple[str, ...]) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if any(within(name, other) for other in forbidden)
    ]
    assert modules(package)
    assert found == []


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_does_no_input_and_no_output(module: str) -> None:
    names = list(imports(ROOT / "antiphon" / f"{module}.py"))
    assert {name.partition(".")[0] for name in names}.isdisjoint(IO)
    ours = {name.split(".")[1] for name in names if within(name, "antiphon")}
    assert ours <= set(PURE), "what is pure imports what is pure"


def test_the_library_does_not_import_its_own_command_line() -> None:
    library = [path for path in modules("antiphon") if "cli" not in path.parts]
    assert not [path for path in library for name in imports(path) if within(name, "antiphon.cli")]


def test_only_the_command_line_starts_processes() -> None:
    library = [path for path in modules("antiphon") if "cli" not in path.parts]
    assert not [path for path in library for name in imports(path) if within(name, "subprocess")]


def test_the_engines_process_needs_the_standard_library_only() -> None:
    names = {name.partition(".")[0] for name in imports(ROOT / "synth_node" / "process" / "child.py")}
    assert names <= sys.stdlib_module_names


def imported_with(module: str, *, without: tuple[str, ...] = ()) -> set[str]:
    """Return the top-level packages, beside the standard library, that an import brings along."""
    code = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({without!r}))\n"  # None there: importing it fails
        f"import {module}\n"
        "print(json.dumps(sorted({n.partition('.')[0] for n, m in sys.modules.items() if m is not None})))"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True, timeout=30)
    return set(json.loads(run.stdout)) - set(sys.stdlib_module_names)


def test_the_bare_client_needs_nats_and_msgpack_only() -> None:
    # nats-py takes aiohttp along where it is installed, and does without where it is not.
    names = imported_with("antiphon", without=("aiohttp", "fast_mail_parser", "nkeys"))
    ours = names - {"antiphon", "nats", "msgpack", "__main__"}
    # What the interpreter itself has loaded at its start (of editable installs), or msgpack's compiler left.
    assert {n for n in ours if not n.startswith(("_cython", "cython_", "_distutils", "_virtualenv"))} == set()


@pytest.mark.parametrize("module", ["antiphon", "synth_node.node", "gateway.app"])
def test_what_is_imported_on_demand_is_not_imported_before(module: str) -> None:
    forbidden = {"antiphon": OF_THE_PROCESSES, "synth_node.node": {"av", "numpy", "click"}}
    names = imported_with(module)
    assert names.isdisjoint(forbidden.get(module, {"av", "lameenc", "espeakng_loader", "click"}))


def test_the_servers_configuration_is_no_package() -> None:
    # As a package, nats/ would shadow the NATS client.
    assert (ROOT / "nats").is_dir()
    assert list((ROOT / "nats").rglob("*.py")) == []
