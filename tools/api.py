"""Write the reference of the public names, one HTML page, from their docstrings.

pip install 'ghostyolo[docs]'
python tools/api.py site            writes site/ghostyolo.html
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterable, Iterator
from inspect import Parameter
from pathlib import Path

from pdoc import render
from pdoc.doc import Class, Doc, Function, Module

import ghostyolo
from ghostyolo.training.options import TrainOptions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder to write to")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ghostyolo.html").write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the reference as HTML."""
    vars(ghostyolo).update({name: getattr(ghostyolo, name) for name in ghostyolo.__all__})
    module = Module(ghostyolo)
    show_options(module.members["train"], TrainOptions)
    for member in with_members(module):
        member.docstring = as_markdown(member.docstring, described(member))
    footer = f"ghostyolo {ghostyolo.__version__}"
    render.configure(docformat="markdown", footer_text=footer, show_source=False, search=False)
    return render.html_module(module, {module.fullname: module})


def with_members(doc: Doc) -> Iterator[Doc]:
    """Yield something and all that is documented in it."""
    yield doc
    for member in getattr(doc, "own_members", ()):
        yield from with_members(member)


def show_options(function: Doc, options: type) -> None:
    """Show the fields of a dataclass as the keywords of a function, with their help texts."""
    assert isinstance(function, Function)
    given = Class("", options.__qualname__, options, ("", "")).members["__init__"]
    own = function.signature.parameters.values()
    parameters = [each for each in own if each.kind != Parameter.VAR_KEYWORD]
    parameters += list(given.signature.parameters.values())[1:]
    function.signature = function.signature.replace(parameters=parameters)
    helps = {
        field.name: field.metadata["help"]
        for field in dataclasses.fields(options)
        if field.metadata
    }
    texts = "".join(f"{name}: {text}.\n" for name, text in helps.items())
    paragraphs = function.docstring.split("\n\n")
    place = next(i for i, each in enumerate(paragraphs) if each.startswith("options: "))
    function.docstring = "\n\n".join((*paragraphs[: place + 1], texts, *paragraphs[place + 1 :]))


def described(doc: Doc) -> Iterable[str]:
    """Return the names that a docstring may describe: of parameters, or of fields."""
    if isinstance(doc, Class):
        constructor = doc.members.get("__init__")
        return {*doc.members, *(described(constructor) if constructor else ())}
    return doc.signature.parameters if isinstance(doc, Function) else ()


def as_markdown(docstring: str, names: Iterable[str]) -> str:
    """Return a docstring as Markdown.

    "name: text. other: text. Raises ..." in running text become items of a list and a paragraph.
    """
    name = "|".join(map(re.escape, names)) or "(?!)"
    item = rf"(?:^|(?<=[.;])\s+)((?:{name})(?:, (?:{name}))*):\s"
    listed = re.sub(item, r"\n- **\1**: ", docstring, flags=re.MULTILINE)
    return re.sub(r"(?<=\.)\s+(?=Raises )", "\n\n", listed)


if __name__ == "__main__":
    main()
