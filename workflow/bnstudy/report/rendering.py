"""An executed notebook as one self-contained, accessible HTML file.

Formulas become MathML here, with a subset of STIX Two Math embedded; figures become `<figure>` with alternative text,
caption and the data behind them; a Content-Security-Policy forbids every network load and every script but the page's
own. Raw HTML in Markdown is escaped, so text from a config stays text. The page holds no time, so equal notebooks give
equal bytes.
"""

import base64
import hashlib
import html
import io
import json
import re
import string
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from itertools import chain, count, zip_longest
from pathlib import Path
from urllib.parse import quote

from fontTools import subset
from fontTools.ttLib import TTFont
from math_core import LatexError, LatexToMathML
from nbconvert.exporters.html import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from traitlets.config import Config

from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError

CSV, PNG, SVG = "text/csv", "image/png", "image/svg+xml"
PICTURES = "application/vnd.bnstudy.pictures+json"  # those of a figure, which the page sets itself
PAGE = "application/vnd.bnstudy.page+html"  # for the page alone; Jupyter has its own text
LIVE = "application/vnd.bnstudy.live+json"  # what the page's script makes of a figure
# Found without importing ziamath, of which nothing but the font is used.
MATH_FONT = Path(find_spec("ziamath").origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
# Minus, root, sum, partial and hat; the variation selector of script letters; the italic h, which stands apart from the
# other italic letters.
OPERATORS = "+=()[]{}|,.<>/\u2212\u221a\u2211\u2202\u02c6\ufe00\u210e"
# Tokens of code that have no colour of their own.
COLOURLESS = re.compile(r'<span class="(?!k|ow|s|l|nt|nf|nc|nd|nn|fm|m|c)\w+">([^<]*)</span>')
DARK = read_yaml(ROOT / "report/figures.yaml")["dark"]  # what a dark page makes of colours
MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$&\"'^=:])")
UNSAFE = dict.fromkeys(map(ord, '%#"&<>'))  # characters within a data URI in an attribute
NUMBERED = ("figure", "table", "section")  # texts of links that get a number


def to_mathml(tex: str, *, display: bool) -> str:
    """A TeX formula as MathML, the TeX kept as its annotation; a UserError where it is not valid."""
    converter, tex = LatexToMathML(annotation=True, fancy_error=False), tex.strip()
    try:
        return converter.convert_with_local_state(tex, displaystyle=display)
    except LatexError as error:
        raise UserError(f"cannot typeset the formula {tex!r} in the report: {error}") from None


def escape_markdown(text: object) -> str:
    """Text from a config so that Markdown, TeX and HTML show it as it is, on one line."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def slug(heading: str) -> str:
    """The anchor of a heading: its words without the section number."""
    plain = re.sub(r"^\d+\.?\s+", "", heading.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "section"


class Renderer(IPythonRenderer):
    """Markdown to HTML with MathML, anchored headings and numbered cross-references.

    `headings` collects level, anchor and HTML of each. `[figure](#fig-curves)` becomes `figure 3` by `numbers`, the
    anchors and numbers under the base of an anchor: several of a repeated figure.
    """

    def __init__(self, headings: list[tuple], numbers: dict[str, list[tuple[str, str]]]) -> None:
        super().__init__(escape=True, allow_harmful_protocols=False)
        self.headings, self.numbers = headings, numbers

    def inline_math(self, body: str) -> str:
        return to_mathml(body, display=False)

    def block_math(self, body: str) -> str:
        return f'<div class="equation">{to_mathml(body, display=True)}</div>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def heading(self, text: str, level: int, **_: object) -> str:
        base = slug(html.unescape(re.sub(r"<[^>]+>", "", text)))
        taken = {anchor for _, anchor, _ in self.headings}
        names = chain([base], (f"{base}-{n}" for n in count(2)))
        anchor = next(name for name in names if name not in taken)
        self.headings.append((level, anchor, text))
        link = f' <a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text}{link if level > 1 else ""}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if re.match("#.*[A-Z.]", url):  # as Jupyter names the anchors of headings
            url = "#" + slug(url[1:].replace("-", " "))
        targets = self.numbers.get(url[1:], []) if url.startswith("#") else []
        if not targets or text.lower() not in NUMBERED:
            return super().link(text, url, title)
        words = [f"{text}{'s' * (len(targets) > 1)}&nbsp;"]
        return ", ".join(
            f'<a href="#{anchor}">{word}{number}</a>'
            for word, (anchor, number) in zip_longest(words, targets, fillvalue="")
        )


def page_of(nb: NotebookNode, templates: Path) -> str:
    """The page of a notebook by a template; bad TeX and a link that leads nowhere are a UserError."""
    headings, numbers = [], numbered_anchors(nb)

    def markdown(source: str) -> str:
        return MarkdownWithMath(renderer=Renderer(headings, numbers)).render(source)

    def caption(source: str) -> str:  # of one paragraph
        return markdown(source).strip().removeprefix("<p>").removesuffix("</p>")

    filters = {one.__name__: one for one in (markdown, caption, themed, sizes, svg_uri, csv_uri)}
    filters |= {"coloured": partial(COLOURLESS.sub, r"\1"), "script_json": script_json}
    filters["headings"] = lambda _: headings  # as they are once the cells have been set
    filters["plain_text"] = partial(re.compile(r"\x1b\[[0-9;]*m").sub, "")
    hidden = ["remove-cell", "parameters", "injected-parameters"]
    tags = {"remove_cell_tags": hidden, "remove_input_tags": ["remove-input"]}
    order = {"display_data_priority": ["text/html", "text/markdown", SVG, "text/plain"]}
    exporter = HTMLExporter(
        template_name="report",
        extra_template_basedirs=[str(templates)],
        config=Config({"TagRemovePreprocessor": tags, "NbConvertBase": order}),
        filters=filters,
    )
    folder = templates / "report"
    style, script = (
        "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"*.{kind}"))) for kind in ("css", "js")
    )
    script = f'"use strict";\n{script}'
    resources = {
        "colors": DARK,
        "style": style,
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "font_licence": (folder / "OFL.txt").read_text(encoding="utf-8"),
        "font_copyright": TTFont(MATH_FONT)["name"].getDebugName(0),
    }
    page, _ = exporter.from_notebook_node(nb, resources)
    # HTML allows angle brackets in quoted attributes, and nbconvert undoes them.
    pictures = rf'"data:{re.escape(SVG)},[^"]*"'
    page = re.sub(pictures, lambda m: m[0].replace("&lt;", "<").replace("&gt;", ">"), page)
    check_links(page)
    # The template leaves this place for the font, whose glyphs are known only now.
    return page.replace("@@MATH_FONT@@", base64.b64encode(math_font(page)).decode(), 1)


def numbered_outputs(nb: NotebookNode) -> Iterator[tuple[NotebookNode, dict]]:
    """The figures and tables of a notebook, with what `reporting.Report` says of them."""
    for output in chain(*(cell.get("outputs", []) for cell in nb.cells)):
        meta = output.get("metadata", {}).get("bnstudy", {})
        if "number" in meta:
            yield output, meta


def numbered_anchors(nb: NotebookNode) -> dict[str, list[tuple[str, str]]]:
    """Anchors of figures, tables and sections with their numbers, repeated ones under the first, too."""
    numbers: dict[str, list[tuple[str, str]]] = {}
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for number, text in re.findall(r"^## (\d+)\.\s+(.+)$", cell.source, re.MULTILINE):
                numbers[slug(text)] = [(slug(text), number)]
    for _, meta in numbered_outputs(nb):
        names = [f"{meta['kind'][:3]}-{meta[key]}" for key in ("label", "group")]
        for base in dict.fromkeys(names):
            numbers.setdefault(base, []).append((names[0], str(meta["number"])))
    return numbers


def check_links(page: str) -> None:
    """Refuse a page with a link to an anchor that it does not have, or with an anchor twice."""
    anchors = Counter(re.findall(r'\bid="([^"]+)"', page))
    for double, n in anchors.most_common(1):
        if n > 1:
            raise UserError(f"the report has two elements with the id {double!r}")
    for target in re.findall(r'href="#([^"]*)"', page):
        if target not in anchors:
            raise UserError(f"the report links to #{target}, which it does not contain")


def script_json(content: dict) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return text.replace("<", "\\u003c")


def themed(svg: str) -> str:
    """An SVG whose colours follow the reader's colour scheme."""
    used = []
    for i, color in enumerate(DARK):
        svg, n = re.subn(rf"((?:fill|stroke): ?){color}", rf"\1var(--c{i})", svg)
        used += [(i, color)] if n else []
    light = ";".join(f"--c{i}:{color}" for i, color in used)
    dark = ";".join(f"--c{i}:{DARK[color]}" for i, color in used)
    rules = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return re.sub("<svg[^>]*>", lambda tag: f"{tag[0]}<style>{rules}</style>", svg, count=1)


def sizes(svg: str) -> str:
    """Width and height attributes in CSS pixels, from an SVG that has them in points."""
    width, height = (re.search(rf'{side}="([\d.]+)pt"', svg)[1] for side in ("width", "height"))
    return f'width="{round(float(width) * 96 / 72)}" height="{round(float(height) * 96 / 72)}"'


def csv_uri(text: str) -> str:
    """A CSV as a data URI for `href`, a quarter shorter than in base64."""
    return f"data:{CSV},{quote(text, safe=string.punctuation.translate(UNSAFE) + ' ')}"


def svg_uri(svg: str) -> str:
    """The same of an SVG for `src`: its attributes change quotes, so those within must be entities."""
    plain = svg.replace("%", "%25").replace("#", "%23").replace("'", "&apos;").replace('"', "'")
    return f"data:{SVG},{html.escape(plain, quote=False)}"


def math_font(page: str) -> bytes:
    """STIX Two Math as WOFF2 with the glyphs that the formulas of a page need.

    Browsers set a single letter in italics by taking another character; those are kept as well, and the digits in bold.
    Copyright and licence stay in the font.
    """
    formulas = "".join(re.findall(r"<math.*?</math>", page))
    formulas = re.sub(r"<annotation.*?</annotation>|<[^>]+>", "", formulas)
    characters = {*html.unescape(formulas), *string.ascii_letters, *string.digits, *OPERATORS}
    # Italic Latin and Greek, bold digits
    for start, n in ((0x1D434, 52), (0x1D6FC, 32), (0x1D7CE, 10)):
        characters |= set(map(chr, range(start, start + n)))
    # Without its features: those of small letters for indices would double the font.
    options = subset.Options(flavor="woff2", layout_features=[], name_IDs=[0, 1, 2, 13, 14])
    font = subset.load_font(str(MATH_FONT), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="".join(sorted(characters)))
    subsetter.subset(font)
    buffer = io.BytesIO()
    subset.save_font(font, buffer, options)
    return buffer.getvalue()
