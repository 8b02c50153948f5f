"""Write the tables of `docs/reference` from the code, so that they cannot lag behind it.

Usage: python -m tools.reference            (`make docs`)

A table stands between `<!-- from the code: NAME -->` and `<!-- end -->`; the rest is written by hand.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, EnumType
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from consent_service import errors, observability
from consent_service.api import routers
from consent_service.api.callers import Access, access_of
from consent_service.api.errors import KINDS
from consent_service.api.hot_routes import ACCESS, ENDPOINTS
from consent_service.cli.main import app as command_line
from consent_service.errors import ConsentToolkitError
from consent_service.settings import Settings
from tools.performance import durability, performance, performance_run, performance_tests, rates

PAGES = Path(__file__).parent.parent / "docs" / "reference"
_SECTION = re.compile(
    r"(?P<begin><!-- from the code: (?P<name>[a-z ]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def settings() -> str:
    """Return every setting: variable, default and what it does."""
    prefix = Settings.model_config.get("env_prefix", "")
    return table(
        ("variable", "default", "what it does"),
        (
            (f"`{prefix}{name.upper()}`", _default(field), _described(field.description, name))
            for name, field in Settings.model_fields.items()
        ),
    )


def error_classes() -> str:
    """Return the error tree, one line a class, indented by its depth."""

    def lines(kind: type[ConsentToolkitError], depth: int) -> Iterable[str]:
        yield f"{'  ' * depth}- `{kind.__name__}`: {_first_sentence(kind.__doc__, kind.__name__)}\n"
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from lines(child, depth + 1)

    return "".join(lines(ConsentToolkitError, 0))


def problems() -> str:
    """Return every problem that the API answers with: slug, status and when."""
    return table(
        ("type", "status", "when"),
        (
            (f"`/problems/{slug}`", str(status), _first_sentence(kind.__doc__, kind.__name__))
            for kind, (status, slug, _) in sorted(KINDS.items(), key=lambda entry: entry[1])
        ),
    )


def routes() -> str:
    """Return every route of the HTTP API and the pages: who may call it and what it does."""
    rows = [
        (name, who, _described(_first_paragraph(docstring), name)) for name, who, docstring in served_routes()
    ]
    rows.sort(key=lambda row: row[0].partition(" ")[2])
    return table(("route", "who", "what it does"), ((f"`{name}`", who, text) for name, who, text in rows))


def served_routes() -> Iterator[tuple[str, str, str]]:
    """Yield what the service answers: method and path, who may call it, the endpoint's docstring."""
    for (method, path), endpoint in ENDPOINTS.items():
        docstring = (endpoint.__doc__ or "").partition(": ")[2]
        yield f"{method} {path}", _callers(ACCESS[path]), docstring
    for module in pkgutil.iter_modules(routers.__path__, f"{routers.__name__}."):
        for route in importlib.import_module(module.name).router.routes:
            for method in route.methods:
                yield (
                    f"{method} {route.path_format}",
                    _callers(access_of(route)),
                    route.endpoint.__doc__ or "",
                )


def command_names() -> list[str]:
    """Return every command as it is typed."""
    return [name for name, _ in _leaves("consent", get_command(command_line))]


def _first_paragraph(docstring: str) -> str:
    return " ".join(docstring.strip().partition("\n\n")[0].split())


def _callers(access: Access) -> str:
    """Return in words who may call a route."""
    if access.everybody:
        return "everybody"
    roles = ", ".join(map(str, access.roles))
    return f"{roles}; everybody by setting" if access.by_setting else roles


def commands() -> str:
    """Return every command of `consent` with its arguments and options."""
    return "\n".join(
        _command(name, command) for name, command in _leaves("consent", get_command(command_line))
    )


def _leaves(name: str, command: object) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for child, subcommand in sorted(command.commands.items()):
            yield from _leaves(f"{name} {child}", subcommand)
    elif isinstance(command, TyperCommand):
        yield name, command


def _command(name: str, command: TyperCommand) -> str:
    arguments = [parameter for parameter in command.params if isinstance(parameter, TyperArgument)]
    options = [parameter for parameter in command.params if isinstance(parameter, TyperOption)]
    rows = [(f"`{_argument(parameter)}`", "", _described(parameter.help, name)) for parameter in arguments]
    for option in options:
        names = ", ".join(f"`{text}`" for text in (*option.opts, *option.secondary_opts))
        meaning = _described(option.help, f"{name} {option.name}")
        kind = option.type_descriptor.annotation
        if isinstance(kind, EnumType):
            choices: list[Enum] = list(kind)
            meaning = f"{meaning} One of {', '.join(f'`{choice.value}`' for choice in choices)}."
        rows.append((names, _option_default(option), meaning))
    usage = " ".join([name, *(_argument(parameter) for parameter in arguments)])
    text = f"### `{usage}`\n\n{_described(command.help, name)}\n"
    return f"{text}\n{table(('option', 'default', 'what it does'), rows)}" if rows else text


def _option_default(option: TyperOption) -> str:
    if option.required:
        return "required"
    if option.default is None or option.default is False or callable(option.default):
        return ""
    return f"`{option.default}`"


def _argument(argument: TyperArgument) -> str:
    return argument.metavar or (argument.name or "").upper()


def metrics() -> str:
    """Return every metric of ours: its name as it is served, its kind, its labels and what it says."""
    rows = []
    for measure in vars(observability).values():
        if isinstance(measure, MetricWrapperBase):
            [described] = measure.describe()
            name = f"{described.name}_total" if described.type == "counter" else described.name
            labels = ", ".join(f"`{label}`" for label in measure._labelnames)  # noqa: SLF001  # said nowhere else
            rows.append((f"`{name}`", described.type, labels, _described(described.documentation, name)))
    return table(("metric", "kind", "by", "what it says"), sorted(rows))


SECTIONS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "routes": routes,
    "commands": commands,
    "metrics": metrics,
    "problems": problems,
    "error classes": error_classes,
    "performance": performance,
    "performance run": performance_run,
    "performance tests": performance_tests,
    "rates": rates,
    "durability": durability,
}


def written(page: str) -> str:
    """Return the text of a page with every table of it written anew."""
    return _SECTION.sub(lambda found: f"{found['begin']}{SECTIONS[found['name']]()}{found['end']}", page)


def named_sections(page: str) -> list[str]:
    """Return the names of the tables that a page has."""
    return [found["name"] for found in _SECTION.finditer(page)]


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None or default is PydanticUndefined:
        return "-"
    return f"`{default}`"


def _first_sentence(docstring: str | None, name: str) -> str:
    return _described((docstring or "").partition("\n")[0], name)


def _described(text: str | None, name: str) -> str:
    if not text:
        raise SystemExit(f"{name} says nowhere what it does: describe it in the code.")
    return text[0].upper() + text[1:]


def main() -> None:
    """Rewrite the pages in place."""
    for path in PAGES.glob("*.md"):
        page = path.read_text()
        path.write_text(written(page))


if __name__ == "__main__":
    main()
