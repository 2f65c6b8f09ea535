"""Turn the book's MyST Markdown into plain Markdown that every notebook viewer shows alike.

Labels, roles and directives are resolved with the numbers, titles and citations that the built
pages show (``labels.json``, see ``kexue.site.labels``). What has no plain form is a ``ValueError``
with the place: nothing is left raw. Code, code spans and formulas pass through untouched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

TAG = r"\tag{%s}"  # how an equation shows its number; slides may want \qquad (%s)

FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}|:{3,}) *(?:\{(?P<name>[^}]+)\})?(?P<rest>.*)$"
)
DISPLAY = re.compile(r"^ *\$\$(?!.*\$\$ *[^ (])")  # not $$x$$ with words after it
CLOSED = re.compile(r"^(?P<body>.*?)\$\$ *(?:\((?P<label>[^()\s]+)\))? *$")
TARGET = re.compile(r"^ *\((?P<name>[^()\s]+)\)= *$")
DROPPED = re.compile(r"^(?:\+\+\+.*|%.*| *\{[.#][^{}]*\} *)$")  # breaks, comments, attributes
RAW = re.compile(  # what no viewer knows; sought outside of code and formulas
    r"\{[\w:-]+\}(?=`)|\{\{.*?\}\}|^[ >]*(?::{3,}|`{3,}\{).*"
    r"|^[ >]*\([\w-]+\)=|\$\$ *\([\w-]+\)",
    re.MULTILINE,
)
INLINE = re.compile(
    r"(?P<escaped>\\[\\`$*_{}\[\]])"
    r"|\{(?P<role>[A-Za-z][\w:.+-]*)\}(?P<ticks>`+)(?P<content>.+?)(?<!`)(?P=ticks)(?!`)"
    r"|(?P<code>(?P<run>`+)(?!`).+?(?<!`)(?P=run)(?!`))"
    r"|(?P<math>\$\$.+?\$\$|\$(?!\s)(?:\\.|[^$\\])+?(?<!\s)\$(?!\d))"
    r"|\[(?P<span>[^\[\]]*)\]\{[.#][^{}]*\}"
    r"|(?P<bang>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<url>[^()\s]*(?:\([^()\s]*\)[^()\s]*)*)"
    r"(?P<title>(?: +\"[^\"]*\")?)\)(?:\{[^{}]*\})?"
    r"|<(?P<auto>(?:project|doc|path|inv|myst):[^>]*)>"
    r"|(?P<substitution>\{\{.*?\}\})",
    re.DOTALL,
)
EXPLICIT = re.compile(r"^(?P<text>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
ADMONITIONS = {
    *("admonition", "attention", "caution", "danger", "error", "hint", "important", "note"),
    *("seealso", "tip", "warning", "margin", "sidebar", "topic"),
}
FOLDED = {"dropdown", "solution", "toggle"}
TAGS = {"sub": "sub", "sup": "sup", "subscript": "sub", "superscript": "sup", "kbd": "kbd"}
SPANS = {"code": "`{}`", "literal": "`{}`", "file": "`{}`", "samp": "`{}`", "math": "${}$"}
SPANS |= {"strong": "**{}**", "emphasis": "*{}*", "guilabel": "**{}**", "command": "`{}`"}


@dataclass(frozen=True)
class Plain:
    """The book as the converter sees it, from one of its pages.

    Attributes
    ----------
    labels : what ``labels.json`` holds.
    page : the page that is converted, such as ``book/diffusion/ddpm-bayes``.
    site : the published site's address, with a slash at the end; links to other pages go there.
    files : the address under which the repository's files are served raw, for pictures.
    tag : how an equation shows its number.
    """

    labels: dict[str, Any]
    page: str
    site: str
    files: str
    tag: str = TAG

    def markdown(self, source: str) -> str:
        """Return a text cell in plain Markdown."""
        made = "\n".join(self.blocks(source.split("\n")))
        if left := leftovers(made):
            raise ValueError(f"{self.page}: left raw: {left}")
        return made

    # Blocks: what stands on lines of its own.

    def blocks(self, lines: list[str]) -> Iterator[str]:
        """Yield the lines, with directives, displays, targets and paragraphs converted."""
        text: list[str] = []
        at = 0
        while at < len(lines):
            line = lines[at]
            taken: tuple[list[str], int] | None = None
            if fence := FENCE.match(line):
                taken = self.fenced(fence, lines, at)
            elif DISPLAY.match(line):
                taken = self.display(lines, at)
            elif target := TARGET.match(line):
                taken = [anchor(target["name"]), ""], at + 1
            elif DROPPED.match(line):
                taken = [], at + 1
            elif line.startswith(": ") and text and text[-1].strip():  # a list of definitions
                *text, term = text
                taken = [f"**{self.inline(term)}**: {self.inline(line[2:])}"], at + 1
            if taken is None:
                text.append(line)
                at += 1
                continue
            yield from self.paragraph(text)
            text = []
            produced, at = taken
            yield from produced
        yield from self.paragraph(text)

    def paragraph(self, lines: list[str]) -> list[str]:
        """Convert lines of running text; a role or a link may reach over a line's end."""
        return self.inline("\n".join(lines)).split("\n") if lines else []

    def display(self, lines: list[str], at: int) -> tuple[list[str], int]:
        """Convert the display that starts at a line; return its lines and where it ends."""
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        rest = lines[at].lstrip()[2:]
        body: list[str] = []
        end = at
        while (closed := CLOSED.match(rest)) is None:
            body.append(rest)
            end += 1
            if end == len(lines):
                raise ValueError(f"{self.page}: a display without an end: {lines[at]!r}")
            rest = lines[end]
        body.append(closed["body"])
        return self.equation([b for b in body if b.strip()], closed["label"], indent), end + 1

    def equation(self, body: list[str], label: str | None, indent: str = "") -> list[str]:
        """Return a display; with a label it gets its number and a place to jump to."""
        body = [indent + line.strip() if not line.startswith(indent) else line for line in body]
        if label is None:
            return [f"{indent}$$", *body, f"{indent}$$"]
        number = self.tag % self.known("equations", label)["number"]
        return [indent + anchor(label), f"{indent}$$", *body, f"{indent}{number}", f"{indent}$$"]

    def fenced(self, opening: re.Match, lines: list[str], at: int) -> tuple[list[str], int]:
        """Convert a fence: code stays, a directive becomes what it says."""
        fence, name = opening["fence"], (opening["name"] or "").strip()
        end = next(
            (
                k
                for k in range(at + 1, len(lines))
                if re.fullmatch(rf" *{fence[0]}{{{len(fence)},}} *", lines[k])
            ),
            None,
        )
        if end is None:
            raise ValueError(f"{self.page}: a fence without an end: {lines[at]!r}")
        inside = [line.removeprefix(opening["indent"]) for line in lines[at + 1 : end]]
        if not name and fence[0] in "`~":
            return lines[at : end + 1], end + 1
        options, inside = options_of(inside)
        made = self.directive(name, opening["rest"].strip(), options, inside)
        return [opening["indent"] + line if line else "" for line in made], end + 1

    def directive(
        self, name: str, argument: str, options: dict[str, str], inside: list[str]
    ) -> list[str]:
        """Return the plain lines of a directive."""
        start = [anchor(options["name"]), ""] if "name" in options else []
        if name == "math":
            return self.equation([argument, *inside] if argument else inside, options.get("label"))
        if name in ("code", "code-block", "sourcecode"):
            return [f"```{argument}", *inside, "```"]
        body = list(self.blocks(inside))
        folded = name in FOLDED or "dropdown" in options.get("class", "")
        if folded:
            title = self.inline(argument) or name.capitalize()
            return [*start, f"<details><summary>{title}</summary>", "", *body, "", "</details>"]
        if name in ADMONITIONS:
            title = self.inline(argument) or name.replace("seealso", "see also").capitalize()
            return [*start, *(f"> {line}".rstrip() for line in [f"**{title}**", "", *body])]
        if name in ("epigraph", "pull-quote", "highlights"):
            return [*start, *(f"> {line}".rstrip() for line in body)]
        if name in ("figure", "image"):
            picture = f"![{options.get('alt', '')}]({self.link(argument, picture=True)})"
            if name == "image":
                return [*start, picture]
            called = self.called(options["name"]) if "name" in options else ""
            return [*start, picture, "", *captioned(called, body)]
        if name in ("grid", "tab-set", "card-carousel", "div", "container"):
            return [*start, *body]
        if name in ("grid-item", "grid-item-card", "card", "tab-item"):
            return [*start, *([f"**{self.inline(argument)}**", ""] if argument else []), *body, ""]
        raise ValueError(f"{self.page}: the directive {name!r} has no plain form; add one here")

    # Inline: roles, links and what else stands inside a paragraph.

    def inline(self, text: str) -> str:
        """Return a paragraph with its roles and links resolved."""
        return INLINE.sub(self.piece, text)

    def piece(self, found: re.Match) -> str:
        """Return what stands for one construct."""
        if found["role"]:
            return self.role(found["role"], " ".join(found["content"].split()))
        if found["span"] is not None:
            return self.inline(found["span"])
        if found["url"] is not None:
            url = self.link(found["url"], picture=bool(found["bang"]))
            text = self.inline(found["text"]) or self.title(found["url"])
            return f"{found['bang']}[{text}]({url}{found['title']})"
        if raw := found["auto"] or found["substitution"]:
            raise ValueError(f"{self.page}: {raw!r} has no plain form; add one here")
        return found[0]

    def role(self, name: str, content: str) -> str:
        """Return the plain text of a role."""
        if name in SPANS:
            return SPANS[name].format(content)
        if name in TAGS:
            return f"<{TAGS[name]}>{escape(content)}</{TAGS[name]}>"
        kind, _, form = name.partition(":")
        if kind == "cite":
            return self.cite([key.strip() for key in content.split(",")], form)
        explicit = EXPLICIT.match(content)
        text, target = explicit.group("text", "target") if explicit else ("", content)
        resolve: dict[str, Callable[[str, str], str]] = {
            "eq": self.eq, "numref": self.numref, "ref": self.ref, "doc": self.doc,
            "term": self.term,
        }  # fmt: skip
        if name not in resolve:
            raise ValueError(f"{self.page}: the role {name!r} has no plain form; add one here")
        return resolve[name](target, text)

    def eq(self, label: str, text: str) -> str:
        """An equation by its number."""
        place = self.known("equations", label)
        return f"[({place['number']})]({self.address(place, label)})"

    def numref(self, label: str, text: str) -> str:
        """A figure or table by its number."""
        place = self.known("labels", label)
        if not place["number"]:
            raise ValueError(f"{self.page}: {label} has no number")
        said = re.sub(r"%s|\{number\}", place["number"], text) if text else place["called"]
        said = said.replace("{name}", place["text"])
        return f"[{said}]({self.address(place, label)})"

    def ref(self, label: str, text: str) -> str:
        """Something with a title, by the title."""
        if label in self.labels["equations"]:
            return self.eq(label, text)
        place = self.known("labels", label)
        return f"[{text or place['text'] or place['called']}]({self.address(place, label)})"

    def doc(self, target: str, text: str) -> str:
        """A page by its title."""
        page = self.page_of(target)
        return f"[{text or self.labels['pages'][page]}]({self.site}{page}.html)"

    def term(self, target: str, text: str) -> str:
        """A term, linked to the glossary."""
        place = self.known("terms", target.lower())
        return f"[{text or target}]({self.site}{place['page']}.html#{place['anchor']})"

    def cite(self, keys: list[str], form: str) -> str:
        """Citations as links with author and year."""
        said = []
        for key in keys:
            entry = self.known("citations", key)
            author, year = entry["author"], entry["year"]
            url = entry["url"] or f"{self.site}book/references.html"
            in_text = f"{author} ({year})" if year else author
            said.append(
                f"[{in_text if form == 't' else ', '.join(filter(None, [author, year]))}]({url})"
            )
        return ", ".join(said) if form == "t" else f"({'; '.join(said)})"

    # Where things are.

    def known(self, kind: str, name: str) -> dict[str, Any]:
        """Return an entry of the labels."""
        if name not in self.labels[kind]:
            raise ValueError(f"{self.page}: {name!r} is not among the {kind} of the built pages")
        return self.labels[kind][name]

    def called(self, label: str) -> str:
        """How the pages call a figure or table (``Fig. 1.2``), or nothing."""
        return self.labels["labels"].get(label, {}).get("called", "")

    def address(self, place: dict[str, Any], label: str) -> str:
        """The address of a thing: in this notebook if it is on the same page, else on the site."""
        if place["page"] == self.page:
            return f"#{label}"
        return f"{self.site}{place['page']}.html#{place['anchor']}"

    def page_of(self, target: str) -> str:
        """The page that a relative path names, from this page's folder."""
        path = target.removesuffix(".md").removesuffix(".ipynb")
        page = path[1:] if path.startswith("/") else normpath(join(dirname(self.page), path))
        if page not in self.labels["pages"]:
            raise ValueError(f"{self.page}: {target!r} is no page of the book")
        return page

    def link(self, url: str, picture: bool = False) -> str:
        """The address that a link or a picture has outside of the book."""
        if re.match(r"[a-z][a-z0-9+.-]*:", url):
            return url
        if url.startswith("#"):
            name = url[1:]
            kind = "equations" if name in self.labels["equations"] else "labels"
            place = self.labels[kind].get(name)
            if place is None:  # a heading: only the page knows its anchor
                return f"{self.site}{self.page}.html{url}"
            return self.address(place, name)
        path, _, fragment = url.partition("#")
        if not picture and path.endswith((".md", ".ipynb")):
            return f"{self.site}{self.page_of(path)}.html" + (f"#{fragment}" if fragment else "")
        inside = path[1:] if path.startswith("/") else normpath(join(dirname(self.page), path))
        return self.files + inside

    def title(self, url: str) -> str:
        """The words of a link that has none of its own."""
        if url.startswith("#"):
            name = url[1:]
            if name in self.labels["equations"]:
                return f"({self.labels['equations'][name]['number']})"
            return self.known("labels", name)["text"]
        if url.endswith((".md", ".ipynb")):
            return self.labels["pages"][self.page_of(url)]
        return url


def leftovers(text: str) -> list[str]:
    """Return the MyST that plain Markdown still holds, outside of code and formulas.

    >>> leftovers("{eq}`eq-x`"), leftovers("`{eq}` and ``{eq}`eq-x` ``")
    (['{eq}'], [])
    """
    text = re.sub(
        r"^( *)(`{3,}|~{3,})(?!`|\{).*?^\1\2 *$", "", text, flags=re.DOTALL | re.MULTILINE
    )
    text = re.sub(r"(?<![`}])(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)
    text = re.sub(r"^ *\$\$\n.*?\n *\$\$$", "", text, flags=re.DOTALL | re.MULTILINE)
    return RAW.findall(text)


def anchor(name: str) -> str:
    """A place to jump to: JupyterLab looks for the id, Colab for the name."""
    return f'<a id="{escape(name)}" name="{escape(name)}"></a>'


def captioned(called: str, body: list[str]) -> list[str]:
    """A caption with the number that the pages give it."""
    head = f"**{called}.** " if called else ""
    return [head + body[0], *body[1:]] if body else [head.strip()]


def options_of(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split a directive's options from its body."""
    options = {}
    at = 0
    while at < len(lines) and (found := re.match(r"^:([\w-]+): *(.*)$", lines[at])):
        options[found[1]] = found[2].strip()
        at += 1
    if at == 0 and lines and lines[0].strip() == "---":
        import yaml

        end = lines.index("---", 1)
        options = {k: str(v) for k, v in yaml.safe_load("\n".join(lines[1:end])).items()}
        at = end + 1
    while at < len(lines) and not lines[at].strip():
        at += 1
    return options, lines[at:]


def labels_at(doctrees: Path) -> dict[str, Any]:
    """Read the labels that a build of the book left beside its doctrees."""
    path = doctrees / "labels.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: run `make book` first")
    return json.loads(path.read_text(encoding="utf-8"))
