# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the reference pages in Markdown: what modules, plugins, roles and playbooks say about themselves in their sources.

usage: render_docs.py [--check]

Without --check the pages are written, and pages whose source has gone are removed. With it, nothing is written, and a page that
differs from its source is an error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.loader import fragment_loader, init_plugin_loader
from ansible.utils.plugin_docs import get_docstring
from antsibull_docs_parser import dom
from antsibull_docs_parser.format import LinkProvider
from antsibull_docs_parser.md import MDFormatter, to_md
from antsibull_docs_parser.parser import Context, parse

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = "baremetal.llm"
# Ansible's name for a kind of plugin, the folder of its sources and the folder of its pages.
KINDS = [("module", "modules", "modules"), ("filter", "filter", "filters"), ("test", "test", "tests"), ("lookup", "lookup", "lookups")]
MARK = "<!-- Generated from {source} by `make docs`: edit it there. -->"

Doc = Mapping[str, Any]


def page_of(kind: str, name: str) -> Path | None:
    """Where the page of a plugin of this collection is."""
    if kind == "role":
        return Path("roles", name, "README.md")
    return next((Path("docs", pages, f"{name}.md") for known, _sources, pages in KINDS if known == kind), None)


class Links(LinkProvider):
    """Links between the pages, relative to the page ``origin``."""

    def __init__(self, origin: Path) -> None:
        self.origin = origin

    def plugin_link(self, plugin: dom.PluginIdentifier) -> str | None:
        if not plugin.fqcn.startswith(f"{COLLECTION}."):
            return None
        page = page_of(plugin.type, plugin.fqcn.removeprefix(f"{COLLECTION}."))
        return os.path.relpath(page, self.origin.parent) if page and (page != self.origin) else None


class Markdown(MDFormatter):
    """Markdown that reads well as text too: backticks for code, and only those characters escaped that would mean something."""

    @staticmethod
    def escape(text: str) -> str:
        return "".join(f"\\{character}" if character in "\\`*_<>[]" else character for character in text)

    @staticmethod
    def code(text: str) -> str:
        # A stretch of backticks longer than any inside keeps them; without one inside, a single one will do.
        fence = "``" if "`" in text else "`"
        return f"{fence}{text}{fence}"

    def format_text(self, part: dom.TextPart) -> str:
        return self.escape(part.text)

    def format_code(self, part: dom.CodePart) -> str:
        return self.code(part.text)

    def format_option_value(self, part: dom.OptionValuePart) -> str:
        return self.code(part.value)

    def format_env_variable(self, part: dom.EnvVariablePart) -> str:
        return self.code(part.name)

    def format_bold(self, part: dom.BoldPart) -> str:
        return f"**{self.escape(part.text)}**"

    def format_italic(self, part: dom.ItalicPart) -> str:
        return f"*{self.escape(part.text)}*"

    def format_option_name(self, part: dom.OptionNamePart, url: str | None) -> str:
        return self.code(part.name if part.value is None else f"{part.name}: {part.value}")

    def format_return_value(self, part: dom.ReturnValuePart, url: str | None) -> str:
        return self.code(part.name if part.value is None else f"{part.name}: {part.value}")

    def format_module(self, part: dom.ModulePart, url: str | None) -> str:
        return self.link(part.fqcn, url)

    def format_plugin(self, part: dom.PluginPart, url: str | None) -> str:
        return self.link(part.plugin.fqcn, url)

    def link(self, name: str, url: str | None) -> str:
        return f"[{self.code(name)}]({url})" if url else self.code(name)

    def format_link(self, part: dom.LinkPart) -> str:
        return f"[{self.escape(part.text)}]({part.url})"

    def format_url(self, part: dom.URLPart) -> str:
        return f"<{part.url}>"


class Page:
    """One page: its path below the root, and the name of what it describes, so that the markup in the sources can be resolved."""

    def __init__(self, path: Path, source: Path, kind: str, name: str) -> None:
        self.path = path
        self.plugin = dom.PluginIdentifier(fqcn=f"{COLLECTION}.{name}", type=kind)
        # A role's option has an entry point; which one makes no difference to how it reads.
        self.entrypoint = "main" if kind == "role" else None
        self.lines = [MARK.format(source=source), ""]

    def add(self, *lines: str) -> None:
        self.lines += lines

    def text(self) -> str:
        return "\n".join(self.lines).rstrip() + "\n"

    def paragraphs(self, text: str | Sequence[str] | None) -> list[str]:
        """Ansible's markup as Markdown."""
        texts = [text] if isinstance(text, str) else list(text or [])
        parsed = parse(texts, Context(current_plugin=self.plugin, role_entrypoint=self.entrypoint), errors="exception")
        formatter, links = Markdown(), Links(self.path)
        return [to_md([paragraph], formatter=formatter, link_provider=links) for paragraph in parsed]

    def cell(self, *parts: str) -> str:
        return "<br>".join(part for part in parts if part).replace("|", "\\|").replace("\n", " ")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.add("| " + " | ".join(head) + " |", "| " + " | ".join("---" for _column in head) + " |")
        self.add(*("| " + " | ".join(row) + " |" for row in rows), "")


def value(data: object) -> str:
    return Markdown.code(data if isinstance(data, str) and data else json.dumps(data, ensure_ascii=False))


def type_of(entry: Doc) -> str:
    kind = str(entry.get("type", "str"))
    return f"{kind} of {entry['elements']}" if entry.get("elements") else kind


def entries(options: Doc, below: str = "") -> Iterator[tuple[str, Doc]]:
    """Options or return values with what they contain, by their full names."""
    for name, entry in options.items():
        yield f"{below}{name}", entry
        inner = entry.get("suboptions") or entry.get("options") or entry.get("contains") or {}
        yield from entries(inner, f"{below}{name}{'[]' if entry.get('type') == 'list' else ''}.")


def option_rows(page: Page, options: Doc) -> Iterator[list[str]]:
    for name, option in entries(options):
        facts = [type_of(option)]
        if option.get("required"):
            facts.append("**required**")
        if "default" in option:
            facts.append(f"default {value(option['default'])}")
        choices = option.get("choices") or []
        if isinstance(choices, Mapping):
            listed = ["One of:", *(f"- {value(choice)}: {' '.join(page.paragraphs(text))}" for choice, text in choices.items())]
        else:
            listed = [f"{'One of' if choices[1:] else 'Only'} {', '.join(value(choice) for choice in choices)}."] if choices else []
        names = [f"**`{name}`**", *(f"`{alias}`" for alias in option.get("aliases", []))]
        yield [page.cell(*names, *facts), page.cell(*page.paragraphs(option["description"]), *listed)]


def return_rows(page: Page, returns: Doc) -> Iterator[list[str]]:
    for name, entry in entries(returns):
        returned = page.paragraphs(f"Returned {entry['returned']}.") if "returned" in entry else []
        sample = [f"Sample: {value(entry['sample'])}"] if "sample" in entry else []
        yield [page.cell(f"**`{name}`**", type_of(entry)), page.cell(*page.paragraphs(entry["description"]), *returned, *sample)]


def add_attributes(page: Page, attributes: Doc) -> None:
    if attributes:
        page.add("## Attributes", "")
        rows = []
        for name, entry in attributes.items():
            notes = page.paragraphs(entry.get("description")) + page.paragraphs(entry.get("details"))
            rows.append([f"`{name}`", page.cell(entry.get("platforms") or entry["support"]), page.cell(*notes)])
        page.table(["Attribute", "Support", "Notes"], rows)


def add_seealso(page: Page, items: Sequence[Doc]) -> None:
    if items:
        page.add("## See also", "")
        for item in items:
            if "link" in item:
                reference = f"[{item['name']}]({item['link']})"
            elif "module" in item:
                (reference,) = page.paragraphs(f"M({item['module']})")
            else:
                (reference,) = page.paragraphs(f"P({item['plugin']}#{item['plugin_type']})")
            page.add("- " + ": ".join([reference, *page.paragraphs(item.get("description"))]))
        page.add("")


def spaced(paragraphs: Sequence[str]) -> list[str]:
    return [line for paragraph in paragraphs for line in (paragraph, "")]


def plugin_page(kind: str, source: Path, path: Path) -> tuple[Page, str]:
    name = source.stem
    doc, examples, returns, _metadata = get_docstring(str(ROOT / source), fragment_loader, collection_name=COLLECTION, plugin_type=kind)
    if not doc:
        raise SystemExit(f"{source} has no DOCUMENTATION")
    page = Page(path, source, kind, name)
    page.add(f"# {COLLECTION}.{name}", "", f"*{doc['short_description']}.* Since {doc['version_added']}.", "")
    page.add(*spaced(page.paragraphs(doc["description"])))
    if doc.get("requirements"):
        page.add("## Requirements", "", *(f"- {line}" for line in page.paragraphs(doc["requirements"])), "")
    if doc.get("options"):
        page.add("## Parameters", "")
        page.table(["Parameter", "Meaning"], list(option_rows(page, doc["options"])))
    add_attributes(page, doc.get("attributes") or {})
    if doc.get("notes"):
        page.add("## Notes", "", *(f"- {line}" for line in page.paragraphs(doc["notes"])), "")
    if examples:
        page.add("## Examples", "", "```yaml", str(examples).strip(), "```", "")
    if returns:
        page.add("## Return values", "")
        page.table(["Key", "Meaning"], list(return_rows(page, returns)))
    add_seealso(page, doc.get("seealso") or [])
    return page, str(doc["short_description"])


def role_page(name: str) -> tuple[Page, str]:
    source = Path("roles", name, "meta", "argument_specs.yml")
    entry_points: dict[str, Doc] = yaml.safe_load((ROOT / source).read_text("utf-8"))["argument_specs"]
    page = Page(Path("roles", name, "README.md"), source, "role", name)
    page.add(f"# Role {COLLECTION}.{name}", "")
    for entry_point, doc in entry_points.items():
        if entry_point != "main":
            page.add(f"## Entry point `{entry_point}`", "")
        page.add(f"*{doc['short_description']}.*", "", *spaced(page.paragraphs(doc["description"])))
        page.add("```yaml", "- ansible.builtin.import_role:", f"    name: {COLLECTION}.{name}")
        page.add(*([f"    tasks_from: {entry_point}"] if entry_point != "main" else []), "```", "")
        if doc.get("options"):
            page.add("## Variables" if entry_point == "main" else "### Variables", "")
            page.table(["Variable", "Meaning"], list(option_rows(page, doc["options"])))
        add_attributes(page, doc.get("attributes") or {})
        add_seealso(page, doc.get("seealso") or [])
    return page, str(entry_points["main"]["short_description"])


def opening_comment(playbook: Path) -> str:
    """The comment at the top of a playbook says what it does."""
    words = []
    for line in playbook.read_text("utf-8").splitlines():
        if line.startswith("# "):
            words.append(line.removeprefix("# "))
        elif line != "---":
            break
    if not words:
        raise SystemExit(f"{playbook.relative_to(ROOT)} does not say in a comment at its top what it does")
    return " ".join(words)


def title(guide: Path) -> str:
    return next(line.removeprefix("# ") for line in guide.read_text("utf-8").splitlines() if line.startswith("# "))


def generated_pages() -> list[Path]:
    """The pages on disk that an earlier run has written."""
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")]
    return [page.relative_to(ROOT) for page in pages if page.read_text("utf-8").startswith("<!-- Generated from ")]


def render() -> dict[Path, str]:
    """Every page by its path below the root."""
    index = Page(Path("docs/README.md"), Path("the pages it lists"), "module", "index")
    index.add(f"# The documentation of {COLLECTION}", "")
    pages = [index]

    # A folder of guides is listed by its README.
    guides = sorted({*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/README.md")} - {ROOT / index.path})
    if guides:
        index.add("## Guides", "", *(f"- [{title(guide)}]({guide.relative_to(ROOT / 'docs')})" for guide in guides), "")

    index.add("## Playbooks", "")
    playbooks = sorted(ROOT.glob("playbooks/*.yml"))
    rows = [[f"[`{playbook.stem}`](../playbooks/{playbook.name})", index.cell(opening_comment(playbook))] for playbook in playbooks]
    index.table(["Playbook", "Does"], rows)

    index.add("## Roles", "")
    roles = [(spec.parts[-3], role_page(spec.parts[-3])) for spec in sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))]
    index.table(["Role", "Does"], [[f"[`{name}`](../{page.path})", index.cell(does)] for name, (page, does) in roles])
    pages += [page for _name, (page, _does) in roles]

    for kind, sources, folder in KINDS:
        # Where a plugin has its documentation in a YAML file beside it, that comes second in the order of names, and wins.
        files = {path.stem: path for path in sorted(ROOT.glob(f"plugins/{sources}/*")) if path.suffix in {".py", ".yml"}}
        found = [path for name, path in files.items() if not name.startswith("_")]
        plugins = [plugin_page(kind, source.relative_to(ROOT), Path("docs", folder, f"{source.stem}.md")) for source in found]
        if plugins:
            index.add(f"## {folder.capitalize()}", "")
            rows = [[f"[`{page.path.stem}`]({folder}/{page.path.name})", index.cell(does)] for page, does in plugins]
            index.table([kind.capitalize(), "Does"], rows)
            pages += [page for page, _does in plugins]
    return {page.path: page.text() for page in pages}


def main(arguments: Sequence[str]) -> int:
    init_plugin_loader([])
    wanted = render()
    stale = [path for path, text in wanted.items() if not (ROOT / path).is_file() or (ROOT / path).read_text("utf-8") != text]
    gone = [path for path in generated_pages() if path not in wanted]
    if "--check" in arguments:
        for path in [*stale, *gone]:
            print(f"{path} differs from its source: run `make docs`", file=sys.stderr)
        return 1 if stale or gone else 0
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(wanted[path], "utf-8")
    for path in gone:
        (ROOT / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
