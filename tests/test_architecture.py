"""Who may follow a model's name: read off the sources, so that a new way in has to be thought about here."""

import ast
from pathlib import Path

import pytest

import assay
from assay.tasks.families import SWITCHES, families, family

SUITE = Path(assay.__file__).parent

# Where a network is loaded by a name as it stands, and why that name is one that the user typed or the program made.
LOADS_AS_NAMED = {
    "models/foreign.py:load_named": "the rule itself: after require_trusted",
    "runner/jobs.py:_model": "requests come from the command line; read_plan and rerun look at theirs before",
    "commands/one_picture.py:loaded_model": "an argument of `assay attack`, `assay saliency` and `assay alignment`",
    "runner/bench/equality.py:records_of": "a network of the file of cases beside it, which ships",
    "runner/bench/speed.py:opened": "one of the networks that `assay bench-device` knows, which ship",
    "commands/doctor.py:_open": "an argument of `assay doctor`",
    "commands/accuracy.py:accuracy": "`assay accuracy`'s own argument",
    "models/zoo.py:label_space_of": "`--model` of `assay run` and `assay plan`, to find its track",
    "models/in_memory.py:as_model": "the caller's own argument of `assay.attack`, `assay.saliency` and `assay.verify`",
    "models/subject.py:open_subject": "an argument of `assay doctor`",
    "commands/verification.py:verify": "`assay verify --model`",
    "tasks/adversarial/demands.py:source_model": "with_sources, which every job's data go through, looks before",
    "papers/kept.py:_alignment": "a network of a shipped paper, or one that the reproduction trained",
}
MAKES_REQUESTS = {
    "commands/run_options.py:requests": "`--model`, or the default of a spec that ships",
    "api/evaluation.py:evaluate": "the caller's own argument",
    "papers/plan.py:_request": "as papers/kept.py",
    "board/submissions/tiers.py:rerun": "model_of, after require_trusted",
    "commands/board.py:rerun": "model_of, after require_trusted",
    "board/submissions/build.py:canonical_result": "for its command's text alone",
    "board/submissions/results.py:_command_problems": "for its command's text alone",
}


def calls(*names):
    """``file:function`` of every call of one of the names."""
    found = {}
    for path in sorted(SUITE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                called = getattr(
                    getattr(node, "func", None), "id", getattr(getattr(node, "func", None), "attr", None)
                )
                if isinstance(node, ast.Call) and called in names:
                    found[f"{path.relative_to(SUITE).as_posix()}:{function.name}"] = path
    return set(found)


def test_a_network_is_loaded_as_named_where_the_user_named_it_alone():
    assert calls("load_model") == set(LOADS_AS_NAMED)


def test_a_job_s_request_names_what_the_user_named():
    assert calls("JobRequest") == set(MAKES_REQUESTS)


def test_modules_are_imported_by_name_in_known_places_alone():
    """The program's own parts; the one renderer that may be missing; and a factory that the user named."""
    assert calls("import_module", "__import__") == {
        "attacks/implementation.py:implementation_of", "models/zoo.py:registry", "tasks/families.py:family",
        "tasks/srvr/pytorch3d_backend.py:pytorch3d_problem", "tasks/srvr/pytorch3d_backend.py:render_with_pytorch3d",
        "models/entries/user_factory.py:_product", "__init__.py:__getattr__",
    }  # fmt: skip


def test_nothing_is_evaluated_or_unpickled():
    for path in SUITE.rglob("*.py"):
        text = path.read_text()
        evaluated = {
            node.func.id
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not evaluated & {"eval", "exec", "compile"}, path
        assert "allow_pickle=True" not in text, path
        assert "weights_only=False" not in text, path
        assert "pickle.load" not in text, path


def test_the_import_path_is_changed_in_known_places_alone():
    changes = {
        path.relative_to(SUITE).as_posix()
        for path in SUITE.rglob("*.py")
        if any(
            word in path.read_text()
            for word in ("sys.path.append", "sys.path.insert", "sys.path +=", "sys.path =")
        )
    }
    # A factory that the user named; and a cluster's worker, which looks where the driver does.
    assert changes == {"models/entries/user_factory.py", "runner/ray_cluster.py"}


FAMILIES = families()
# A family's own verbs stand with all others in `commands/`; the table of families names each once.
MAY_NAME_A_FAMILY = {
    "tasks/families.py", "commands/adversarial.py", "commands/verification.py", "commands/srvr.py",
    "commands/verifying.py", "commands/srvr_maps.py", "api/proving.py",
    "models/entries/robustbench_names.py",  # a threat model of RobustBench's is called corruptions
}  # fmt: skip


def named_families(source):
    """Where a module names a family: it imports from one, compares with a name, or spells out a field of its spec.

    Docstrings and the examples of verbs are for readers, and may.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (
                name for name in modules if name.startswith(tuple(f"assay.tasks.{f}" for f in FAMILIES))
            )
        elif isinstance(
            node, ast.Compare | ast.Call | ast.Subscript | ast.Dict | ast.Set | ast.Tuple | ast.List
        ):
            texts = [each.value for each in ast.iter_child_nodes(node) if isinstance(each, ast.Constant)]
            yield from (
                text
                for text in texts
                if isinstance(text, str)
                and (
                    text in FAMILIES or text.startswith(tuple(f"{f}/" for f in FAMILIES)) or text in SWITCHES
                )
            )


def test_no_family_is_named_outside_its_folder():
    for path in SUITE.rglob("*.py"):
        name = path.relative_to(SUITE).as_posix()
        # Training knows no task, and has losses that are called adversarial.
        if name in MAY_NAME_A_FAMILY or name.startswith("training/"):
            continue
        if name.startswith(tuple(f"tasks/{f}/" for f in FAMILIES)):
            continue
        assert list(named_families(path.read_text())) == [], name


@pytest.mark.parametrize(
    "planted",
    [
        "from assay.tasks.srvr.study import study",
        "if result.family == 'adversarial': pass",
        "task.startswith('adversarial/')",
        "spec.get('save_adversarial')",
        "special = {'verification'}",
    ],
)
def test_a_family_that_is_named_is_found(planted):
    assert list(named_families(planted))


def test_the_switches_are_those_of_the_families():
    assert {name for each in FAMILIES for name in family(each).switches} == set(SWITCHES)


def test_a_class_name_has_one_meaning():
    defined: dict[str, list[str]] = {}
    for path in SUITE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                defined.setdefault(node.name, []).append(path.relative_to(SUITE).as_posix())
    assert {name: places for name, places in defined.items() if len(places) > 1} == {}
