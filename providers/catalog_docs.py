"""Write docs/providers.md from the catalogue: `python -m providers.catalog_docs > docs/providers.md`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from providers.catalog_files import CatalogFile, CatalogModel, all_catalogs
from providers.price_rows import PriceRow

_HEAD: Final = """# Providers

<!-- Written by `python -m providers.catalog_docs` from providers/catalog/: change the files there. -->

What onereel knows of each provider: how to switch it on, its models, what they take and what they cost. The same data is
shown by `onereel models --catalog` and, for what is switched on, by `GET /v1/models`.

**No live call to any provider was made for this.** The column *known by* says who vouches for what a model takes:

| word | whose word it is |
|---|---|
| documented | the vendor's own pages |
| sdk | the vendor's SDK or published types, read |
| measured | a run of ours against a local fake |
| unverified | third parties, resellers or memory: check it before you rely on it |

Prices are what the provider takes, never what your customers pay: that is your margin or your own prices, see
[prices](prices.md). Each has a date and a source in its file; *?* marks a price that is unverified. A model whose cost is
*not known* is listed and does not run while billing is on, until you set `prices` for it. A price says *to 720p* for a
short edge of up to 720 pixels; above the last band there is no price. An input with *!* is required. Sound: *none*, *choice* (the parameter `audio`), *always*,
*?* where nobody says.
"""


def document(catalogs: Iterable[CatalogFile]) -> str:
    """Write the whole page."""
    files = sorted(catalogs, key=lambda file: file.title.lower())
    return "\n".join([_HEAD, *_overview(files), *(line for file in files for line in _provider(file))])


def _overview(files: Sequence[CatalogFile]) -> Iterator[str]:
    every = [model for file in files for model in file.models]
    priced = sum(bool(model.upstream_costs) for model in every)
    yield f"{len(every)} models of {len(files)} providers; the cost of {priced} of them is known.\n"
    yield "| provider | type | models | retired | cost known | switched on by |"
    yield "|---|---|---|---|---|---|"
    for file in files:
        yield _line(
            f"[{file.title}](#{_anchor(file.title)})",
            f"`{file.provider}`",
            len(file.models),
            sum(model.status == "retired" for model in file.models),
            sum(bool(model.upstream_costs) for model in file.models),
            _switches(file),
        )
    yield ""
    yield "## Retired, and to be retired\n"
    yield "A retired model answers 404 and names what replaces it; thirty days before its day videos and quotes carry a warning.\n"
    yield "| model | day | instead |"
    yield "|---|---|---|"
    leaving = [model for model in every if model.status == "retired" or model.shutdown_date]
    for model in sorted(leaving, key=lambda model: (model.shutdown_date or "", model.id)):
        yield _line(f"`{model.id}`", model.shutdown_date or "not known", _code(model.replacement))
    yield ""


def _provider(file: CatalogFile) -> Iterator[str]:
    yield f"## {file.title}\n"
    whose = "as the vendor names it" if file.env_named_by == "vendor" else "a name of onereel's own"
    yield f"- Switched on by {_switches(file)} ({whose}); type `{file.provider}`."
    yield f"- Address: `{file.base_url}`{_regions(file)}. Authentication: {file.auth}."
    yield f"- An unclear submission: {_SAFETY[file.submit_safety]}."
    yield f"- Verified how: {file.verified}; as of {file.as_of}."
    yield from (f"- {note}" for note in file.notes)
    if links := [f"[{name}]({url})" for name, url in (("docs", file.docs), ("terms", file.terms)) if url]:
        yield f"- {', '.join(links)}"
    yield ""
    if file.models:
        yield "| model | status | makes | seconds | shapes | inputs | sound | cost | known by | as of |"
        yield "|---|---|---|---|---|---|---|---|---|---|"
        yield from (_model(model) for model in file.models)
        yield ""
    if notes := [(model, note) for model in file.models for note in (*model.warnings, *model.notes)]:
        yield from (f"- `{model.id}`: {note}" for model, note in notes)
        yield ""


_SAFETY: Final = {
    "key": "is sent again with the same key, the upstream makes one video",
    "lookup": "is looked for at the upstream before it is sent again",
    "none": "is never sent again: the upstream has nothing to tell two apart",
}
_SOUND: Final = {"none": "none", "optional": "choice", "always": "always", None: "?"}


def _switches(file: CatalogFile) -> str:
    return " or ".join(" and ".join(f"`{name}`" for name in names) for names in file.env)


def _regions(file: CatalogFile) -> str:
    others = [f"{name} `{url}`" for name, url in file.regions.items() if url != file.base_url]
    return f"; {', '.join(others)}" if others else ""


def _model(model: CatalogModel) -> str:
    return _line(
        f"`{model.id}`",
        _status(model),
        ", ".join(sorted(model.operations)),
        _lengths(model.seconds),
        ", ".join(model.resolutions) or ", ".join(model.sizes) or "-",
        _inputs(model),
        _SOUND[model.audio],
        "<br>".join(_cost(row) for row in model.upstream_costs) or "not known",
        model.confidence,
        model.as_of,
    )


def _status(model: CatalogModel) -> str:
    day = f" {model.shutdown_date}" if model.shutdown_date else ""
    return f"{model.status}{day}" + (f", use `{model.replacement}`" if model.replacement else "")


def _inputs(model: CatalogModel) -> str:
    names = [f"{role}{'!' if role in model.required_roles else ''}" for role in sorted(model.roles)]
    return ", ".join(name.replace("_", " ") for name in names) or "-"


def _lengths(seconds: Sequence[Decimal]) -> str:
    found = sorted(seconds)
    if len(found) > 2 and [each - found[0] for each in found] == list(range(len(found))):
        return f"{found[0]:f}-{found[-1]:f}"
    return ", ".join(f"{each:f}" for each in found) or "-"


def _cost(row: PriceRow) -> str:
    conditions = [
        f"to {row.up_to_short_edge}p" if row.up_to_short_edge else "",
        f"to {row.up_to_seconds:f} s" if row.up_to_seconds else "",
        {True: "with sound", False: "silent", None: ""}[row.audio],
        "/".join(sorted(row.operations or ())),
    ]
    sure = "?" if row.confidence == "unverified" else ""
    unit = row.unit.replace("output_second", "s").replace("_", " ")
    return " ".join([f"{row.amount:f} {row.currency}/{unit}{sure}", *filter(None, conditions)])


def _code(name: str | None) -> str:
    return f"`{name}`" if name else "-"


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _anchor(title: str) -> str:
    """Name a heading as GitHub does."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


if __name__ == "__main__":
    sys.stdout.write(document(all_catalogs().values()))
