"""What can be referred to, and how the pages call it, in one JSON file beside the doctrees.

Whoever turns the book's sources into something else (plain notebooks, slides) reads there the
numbers, titles and citations that the pages show, instead of counting again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kexue.site.fresh import differs

if TYPE_CHECKING:
    from pybtex.database import Entry
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

NAME = "labels.json"


def labels(env: BuildEnvironment) -> dict[str, Any]:
    """Every page, equation, label, glossary term and citation of the book.

    ``pages`` gives titles; ``equations`` and ``labels`` give, by name, the page, the anchor on it
    and, where there is one, the number as printed; ``labels`` also the kind of thing and the words
    of a link to it; ``figures`` how each figure of a page is called, named or not, in order;
    ``terms`` the page and anchor; ``citations`` authors, year and address.
    """
    std = env.get_domain("std")
    found: dict[str, Any] = {
        "pages": {page: title.astext() for page, title in sorted(env.titles.items())},
        "equations": {},
        "labels": {},
        "figures": {},
        "terms": {},
        "citations": {},
    }
    numbers = {
        (page, anchor): (kind, ".".join(map(str, number)))
        for page, kinds in env.toc_fignumbers.items()
        for kind, anchors in kinds.items()
        for anchor, number in anchors.items()
    }
    for (page, _), (kind, number) in numbers.items():
        if kind == "figure":
            called = str(env.config.numfig_format["figure"]) % number
            found["figures"].setdefault(page, []).append(called)
    for label, (page, number) in env.get_domain("math").equations.items():
        anchor = f"equation-{label}"
        _, printed = numbers.get((page, anchor), ("displaymath", str(number)))
        found["equations"][label] = {"page": page, "anchor": anchor, "number": printed}
    for label, (page, anchor) in std.anonlabels.items():
        kind, number = numbers.get((page, anchor), ("section", ""))
        entry = {"page": page, "anchor": anchor, "kind": kind, "number": number}
        text = str(std.labels.get(label, ("", "", ""))[2])  # str: what Sphinx may translate later
        called = str(env.config.numfig_format.get(kind, "%s")) % number if number else ""
        found["labels"][label] = {**entry, "text": text, "called": called}
    for (kind, name), (page, anchor) in std.objects.items():
        if kind == "term":
            found["terms"][name.lower()] = {"page": page, "anchor": anchor}
    if "cite" in env.domains:
        for key, entry in env.get_domain("cite").bibdata.data.entries.items():
            found["citations"][key] = citation(entry)
    return found


def citation(entry: Entry) -> dict[str, str]:
    """Authors, year and address of an entry of the bibliography.

    >>> from pybtex.database import Entry, Person
    >>> names = [Person("Ho, Jonathan"), Person(r"Ball{\\'e}, Jona"), Person("Abbeel, Pieter")]
    >>> entry = Entry("misc", {"year": "2020", "url": "https://x"}, {"author": names[:2]})
    >>> citation(entry)
    {'author': 'Ho and Ballé', 'year': '2020', 'url': 'https://x'}
    >>> citation(Entry("misc", {}, {"author": names}))
    {'author': 'Ho et al.', 'year': '', 'url': ''}
    """
    people = entry.persons.get("author", []) or entry.persons.get("editor", [])
    names = [
        " ".join(str(part) for part in [*person.rich_prelast_names, *person.rich_last_names])
        for person in people
    ]
    author = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
    fields = entry.fields
    url = fields.get("url", "") or (f"https://doi.org/{fields['doi']}" if "doi" in fields else "")
    return {"author": author, "year": fields.get("year", ""), "url": url.replace("\\%", "%")}


def outdated(app: Sphinx, env: BuildEnvironment) -> set[str]:
    """Every page, if what others may call by number or title is called otherwise by now."""
    found = labels(env)
    numbers = {name: at["number"] for name, at in found["equations"].items()}
    numbers |= {name: [at["called"], at["text"]] for name, at in found["labels"].items()}
    before, env.kexue_numbers = getattr(env, "kexue_numbers", {}), numbers
    moved = any(before[name] != numbers[name] for name in before.keys() & numbers)
    return set(env.found_docs) if differs(env, "titles", found["pages"]) or moved else set()


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the file when pages were built without an error."""
    if exception is None and app.builder.format == "html":
        text = json.dumps(labels(app.env), indent=1, ensure_ascii=False, sort_keys=True)
        (Path(app.doctreedir) / NAME).write_text(text + "\n", encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Connect the handlers."""
    app.connect("env-get-updated", outdated, priority=600)  # Sphinx numbers figures at 500
    app.connect("build-finished", write)
