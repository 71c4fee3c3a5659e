"""What the repository promises about itself: public names, errors, what an import loads, what no file may hold."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import sys
import tokenize
import tomllib
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_overloads

import pytest

import securedata
from securedata import errors
from securedata.cli.commands import cache, encrypt, export, init, verify
from securedata.cli.commands.lifecycle import retain, split, to_corpus
from securedata.ingest.options import IngestOptions
from tests.kit.cli.process import output_of
from tests.kit.docs.clidocs import commands
from tests.kit.docs.tree import ROOT, project_files, python_files

# ------------------------------------------------------------------------------------------------- the public surface

PUBLIC = [
    "AudioMetadata",
    "Batch",
    "ByteSample",
    "CacheReport",
    "Corpus",
    "CorpusExportReport",
    "CreateReport",
    "EncryptedAudioDataset",
    "EncryptedAudioStream",
    "EncryptedFeatureDataset",
    "EncryptedStream",
    "ExportReport",
    "FeatureBatch",
    "FeatureSample",
    "IngestPreview",
    "IngestReport",
    "Lineage",
    "Manifest",
    "PackReport",
    "PeopleReport",
    "PersonReport",
    "PublicReport",
    "RequestsReport",
    "ResumableSampler",
    "RetainReport",
    "Sample",
    "SplitReport",
    "UnpinnedWarning",
    "VerifyReport",
    "cache",
    "concat",
    "create_corpus",
    "datasets",
    "errors",
    "export",
    "export_to_corpus",
    "info",
    "ingest",
    "load",
    "manifest",
    "merge_state",
    "open_corpus",
    "open_requests",
    "pack",
    "pad_collate",
    "people",
    "person",
    "public_report",
    "retain",
    "save_lineage",
    "split",
    "to_hf",
    "verify",
]


def test_public_names_are_these() -> None:
    assert sorted(securedata.__all__) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_there(name: str) -> None:
    assert getattr(securedata, name) is not None
    assert name in dir(securedata)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = securedata.no_such_name


def test_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert securedata.__version__ == project["version"]


def test_py_typed_is_there() -> None:
    assert (ROOT / "securedata" / "py.typed").is_file()


# --------------------------------------------------------------------------- each option has its Python parameter

FOR_THE_TERMINAL = {"help", "json", "quiet"}
"""Options that say how something is shown."""

PAIRS: dict[str, tuple[Callable[..., Any], ModuleType, set[str]]] = {
    "init": (securedata.create_corpus, init, {"storage"}),
    "encrypt": (securedata.ingest, encrypt, {"progress"}),
    "verify": (securedata.verify, verify, {"progress", "before_prune", "ttl", "kms_wait", "storage"}),
    "export": (securedata.export, export, {"progress", "storage"}),
    "retain": (securedata.retain, retain, {"progress"}),
    "split": (securedata.split, split, {"progress", "storage"}),
    "cache": (securedata.cache, cache, set()),
}
"""Of each command its function, its module, and the parameters that a terminal has no use for or says otherwise."""

TO_CORPUS = {
    "to_corpus", "subjects", "splits", "name", "to_kms", "to_pin", "single_writer", "verify_sample", "seed"
}  # fmt: skip

ELSEWHERE = {"verify": {"erased", "copy"}, "export": TO_CORPUS}
"""Options that turn a command to another function: `verify --erased --copy` is `erasure.saved.try_copy`, and `export
--to-corpus` is `export_to_corpus`.
"""


def options(parser: ArgumentParser) -> list[str]:
    return list(dict.fromkeys(action.dest for action in parser._actions if action.dest not in FOR_THE_TERMINAL))


@pytest.mark.parametrize("command", PAIRS)
def test_an_option_of_the_command_is_a_parameter(command: str) -> None:
    function, _, only_in_python = PAIRS[command]
    parameters = inspect.signature(function).parameters
    elsewhere = ELSEWHERE.get(command, set())
    assert set(options(commands()[command])) == (set(parameters) - only_in_python) | elsewhere
    positional = [action.dest for action in commands()[command]._actions if not action.option_strings]
    assert list(parameters)[: len(positional)] == positional


def calls(module: ModuleType) -> Iterator[set[str]]:
    """Arguments by name of each call in a module."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call):
            yield {one.arg for one in node.keywords if one.arg}


@pytest.mark.parametrize("command", PAIRS)
def test_the_command_hands_each_option_on(command: str) -> None:
    function, module, _ = PAIRS[command]
    parser = commands()[command]
    named = {action.dest for action in parser._actions if action.option_strings} - FOR_THE_TERMINAL
    named -= ELSEWHERE.get(command, set())
    if command == "init":  # whose name is the second argument, by position
        named -= {"name"}
    assert any(named <= given <= set(inspect.signature(function).parameters) for given in calls(module))


def test_export_to_corpus_has_an_option_for_each_parameter() -> None:
    both = {"purpose", "threads", "kms", "pin", "accept_generation", "paths"}
    parameters = set(inspect.signature(securedata.export_to_corpus).parameters)
    assert parameters - {"target", "to", "progress"} == TO_CORPUS - {"to_corpus"} | both
    assert any(parameters - {"target", "to"} == given for given in calls(to_corpus))


FUNCTIONS = {**{command: pair[0] for command, pair in PAIRS.items()}, "export_to_corpus": securedata.export_to_corpus}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_parameters_behind_the_second_go_by_name_and_have_types(command: str) -> None:
    function = FUNCTIONS[command]
    found = inspect.signature(function)
    assert all(one.kind is one.KEYWORD_ONLY for one in list(found.parameters.values())[2:])
    assert all(one.annotation is not one.empty for one in found.parameters.values())
    text = inspect.getdoc(function) or ""
    assert all(f"{section}:\n" in text for section in ("Args", "Returns", "Raises", "Example"))
    described = "\n".join(line.partition(":")[0] for line in text.splitlines())
    assert [name for name in found.parameters if not re.search(rf"\b{name}\b", described)] == []


def test_type_checkers_know_the_options_of_ingest() -> None:
    found = inspect.signature(securedata.ingest).parameters
    given = {name: one.annotation for name, one in found.items() if name not in ("src", "target", "dry_run")}
    assert given == {name: kind.__forward_arg__ for name, kind in IngestOptions.__annotations__.items()}
    assert len(get_overloads(securedata.ingest)) == 3


# --------------------------------------------------------------------------------------------- what an import brings

HEAVY = ("torch", "torchaudio", "boto3", "botocore", "matplotlib")


@pytest.mark.parametrize(
    "module", ["securedata", "securedata.cli.main", "securedata.filesystem", "securedata.corpus.opening"]
)
def test_import_loads_nothing_heavy(module: str, tmp_path: Path) -> None:
    program = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY})))"
    assert output_of([sys.executable, "-W", "error", "-c", program], tmp_path).split() == []


def _imports(tree: ast.AST) -> set[str]:
    """The packages that the code imports anywhere."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def _without_functions(tree: ast.Module) -> ast.Module:
    """What runs when the module is imported, about: `bench` may import torch, but in its functions only."""

    class Drop(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

    return Drop().visit(tree)


def test_only_the_torch_layer_imports_torch() -> None:
    guilty = []
    for path in python_files():
        module = path.relative_to(ROOT).with_suffix("").parts
        # `retain` computes features in a room of its own, which is imported when it runs
        own = module[1] in ("torch", "testing") or module[1:3] == ("lifecycle", "features")
        if module[0] == "securedata" and not own:
            tree = ast.parse(path.read_bytes())
            bench = module[1] == "bench"
            if _imports(_without_functions(tree) if bench else tree) & {"torch", "torchaudio"}:
                guilty.append(".".join(module))
    assert guilty == []


# ---------------------------------------------------------------------------------------- one place opens an object

OPENING = {"open_whole", "open_into", "open_stream", "open_message", "open_range", "open_fetched"}

OPENERS = {
    "corpus/objects/fetch.py",  # what rows name
    "corpus/state/head.py",  # heads
    "corpus/state/tables.py",  # parts and lists
    "corpus/tasks/messages.py",  # what goes between the processes of a run
    "bench/work.py",  # measures the format, without a corpus
}


def _opens(source: str) -> bool:
    """Whether a module imports what opens sealed bytes, or takes it from the module that has it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("securedata.format"):
                if OPENING & {alias.name for alias in node.names}:
                    return True
            case ast.Attribute(value=ast.Name(id="sealed" | "ranges"), attr=name) if name in OPENING:
                return True
    return False


def test_one_place_opens_objects() -> None:
    package = ROOT / "securedata"
    mine = {str(path.relative_to(package)): path for path in python_files() if path.is_relative_to(package)}
    outside = {name: path for name, path in mine.items() if not name.startswith("format/")}
    assert {name for name, path in outside.items() if _opens(path.read_text(encoding="utf-8"))} == OPENERS


@pytest.mark.parametrize(
    "line", ["from securedata.format.sealed import open_into as read", "sealed.open_whole(key, data)"]
)
def test_what_opens_an_object_is_found(line: str) -> None:
    assert _opens(line)


# --------------------------------------------------------------------------------------------------------- the errors

ERRORS = sorted(
    (c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.SecuredataError)),
    key=lambda c: c.__name__,
)


def test_every_exception_of_the_module_is_in_the_tree() -> None:
    own = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(ERRORS) > 30
    assert [c.__name__ for c in own if issubclass(c, BaseException) and c not in ERRORS] == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda c: c.__name__)
def test_error_survives_a_worker(error: type[errors.SecuredataError]) -> None:
    # torch re-raises a worker's exception as type(text), or type(message=text) where the class has such an attribute,
    # and turns what cannot be made that way into RuntimeError.
    assert "message" not in dir(error)
    assert str(error("what happened, where, and what to do")) == "what happened, where, and what to do"
    assert error.__doc__, "a class of its own wants a sentence on its cause"


@pytest.mark.parametrize("error", ERRORS, ids=lambda c: c.__name__)
def test_error_survives_a_pickle(error: type[errors.SecuredataError]) -> None:
    before = error("text", root="file:///corpus", object_id=bytes(range(16)), path="ann/0001.flac")
    after = pickle.loads(pickle.dumps(before))
    assert type(after) is error
    assert (str(after), after.root, after.object_id, after.path) == (
        "text",
        "file:///corpus",
        bytes(range(16)),
        "ann/0001.flac",
    )


@pytest.mark.parametrize("error", ERRORS, ids=lambda c: c.__name__)
def test_error_text_never_shows_the_logical_path(error: type[errors.SecuredataError]) -> None:
    shown = error("text", path="ann-of-cork/0001.flac")
    assert "ann-of-cork" not in str(shown) + repr(shown)


# ------------------------------------------------------------------------------------------------ what no repr shows

SPEAKING = {"transcript", "speaker", "utterance", "subject", "subjects", "extra", "remove", "path", "paths"}
SECRET = {"key", "data_key", "secret", "plain", "token", "password"}


def _shown(tree: ast.Module) -> list[str]:
    """Fields of dataclasses and named tuples that their repr would show: keys, tables of rows, words and names."""
    found = []
    for one in [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]:
        made = [ast.unparse(part) for part in (*one.decorator_list, *one.bases)]
        own = any(isinstance(node, ast.FunctionDef) and node.name == "__repr__" for node in one.body)
        if (
            own
            or "repr=False" in " ".join(made)
            or not any("dataclass" in part or part == "NamedTuple" for part in made)
        ):
            continue
        for node in [node for node in one.body if isinstance(node, ast.AnnAssign)]:
            name, kind = ast.unparse(node.target), ast.unparse(node.annotation)
            is_key = name in SECRET and ("bytes" in kind or "Buffer" in kind or name not in ("key", "data_key"))
            telling = is_key or (name in SPEAKING and "str" in kind) or kind.startswith(("pa.Table", "pa.RecordBatch"))
            if telling and "repr=False" not in (ast.unparse(node.value) if node.value else ""):
                found.append(f"{one.name}.{name}")
    return found


def test_no_repr_shows_a_key_or_a_word() -> None:
    code = [path for path in python_files() if path.is_relative_to(ROOT / "securedata")]
    fakes = ROOT / "securedata" / "testing"
    shown = {
        str(path.relative_to(ROOT)): found
        for path in code
        if not path.is_relative_to(fakes) and (found := _shown(ast.parse(path.read_bytes())))
    }
    assert shown == {}, "hide it: field(repr=False), repr=False for the class, or a __repr__ that shows counts"


def test_what_a_repr_would_show_is_found() -> None:
    text = "@dataclass(slots=True)\nclass A:\n    key: bytes\n    id: bytes\n    table: pa.Table = field()\n"
    text += "    secret: bytes = field(repr=False)\n\nclass B(NamedTuple):\n    speaker: str\n    key: str\n"
    assert _shown(ast.parse(text)) == ["A.key", "A.table", "B.speaker"]


# ------------------------------------------------------------------------------------------------ what no file holds

# Put together from halves, so that this file does not hold them itself.
FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.-])/wo" + "rk/",  # somebody's machine
            r"/ro" + r"ot/\.",
            r"\.\./sha" + "red",
            "pypi" + r"\.org",  # installing goes through pip and its own configuration
            "python" + r"hosted\.org",
            "/opt/" + "(?:wheels|pypi)",
        )
    )
)


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in project_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture or a recording
        found += [
            f"{path.relative_to(ROOT)}:{n}: {line.strip()[:120]}"
            for n, line in enumerate(lines, 1)
            if FOREIGN.search(line)
        ]
    assert found == []


def test_no_recording_is_committed() -> None:
    audio = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}
    assert [str(p.relative_to(ROOT)) for p in project_files() if p.suffix.lower() in audio] == []


def test_files_are_short() -> None:
    def limit(path: Path) -> int:
        return 600 if path.is_relative_to(ROOT / "tests") else 400

    sizes = {path: len(path.read_bytes().splitlines()) for path in python_files()}
    assert {str(p.relative_to(ROOT)): n for p, n in sizes.items() if n > limit(p)} == {}


def test_folders_are_small() -> None:
    folders = Counter(path.parent for path in python_files())
    assert {str(folder.relative_to(ROOT)): n for folder, n in folders.items() if n > 17} == {}


def test_an_ignore_says_why() -> None:
    # ruff sees to it that an ignore names its code; this one, that a reason stands behind it.
    marker = re.compile(r"#\s*(?:type:\s*ignore\[[^\]]*\]|noqa:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*)(?P<rest>.*)")
    bare = []
    for path in python_files():
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.COMMENT and (match := marker.search(token.string)):
                    reason = match["rest"].strip(" -:#,")
                    if not reason:
                        bare.append(f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string}")
    assert bare == []


def test_no_test_can_skip_itself() -> None:
    # What cannot run here is a failure that says so, not a dot: a skipped test proves nothing.
    skips = {"skip", "skipif", "importorskip"}
    found = []
    for path in python_files():
        if path.is_relative_to(ROOT / "tests"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr in skips
                    and ast.unparse(node).startswith(("pytest.", "unittest."))
                ):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert found == []
