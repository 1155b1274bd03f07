"""An executed notebook as one self-contained, accessible HTML file.

Formulas become MathML here, with a subset of STIX Two Math embedded; figures become `<figure>` with
alternative text, caption and the data behind them; a Content-Security-Policy forbids every network
load and every script but the page's own. Raw HTML in Markdown is escaped, so text from a config
stays text. The page holds no time, so equal notebooks give equal bytes.
"""

import base64
import hashlib
import html
import io
import json
import re
import string
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote

from fontTools import subset
from fontTools.ttLib import TTFont
from math_core import LatexError, LatexToMathML
from nbconvert.exporters.html import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from traitlets.config import Config

from bnstudy.errors import UserError

CSV, PNG, SVG = "text/csv", "image/png", "image/svg+xml"
PICTURES = "application/vnd.bnstudy.pictures+json"  # those of a figure, which the page sets itself
PAGE = "application/vnd.bnstudy.page+html"  # for the page alone; Jupyter has its own text
LIVE = "application/vnd.bnstudy.live+json"  # what the page's script makes of a figure
# Found without importing ziamath, of which nothing but the font is used.
MATH_FONT = Path(find_spec("ziamath").origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
# Minus, root, sum, partial and hat; the variation selector of script letters; the italic h, which
# stands apart from the other italic letters.
OPERATORS = "+=()[]{}|,.<>/\u2212\u221a\u2211\u2202\u02c6\ufe00\u210e"
# Tokens of code that have no colour of their own.
COLOURLESS = re.compile(r'<span class="(?!k|ow|s|l|nt|nf|nc|nd|nn|fm|m|c)\w+">([^<]*)</span>')
# Colours of `look` that a dark page takes lighter or darker.
DARK = {
    "#1b1f24": "#e6e9ed",
    "#57606a": "#a3adb8",
    "#d8dee4": "#39424d",
    "#ffffff": "#14181d",
    "#0173b2": "#5ab0e8",
    "#de8f05": "#f2ac3c",
    "#029e73": "#3ccf9f",
    "#56b4e9": "#a8d8ff",
    "#949494": "#858585",
}
UNSAFE = dict.fromkeys(map(ord, '%#"&<>'))  # characters within a data URI in an attribute
NUMBERED_LINKS = {"figure": "fig-", "table": "tab-", "section": ""}


def to_mathml(tex: str, *, display: bool) -> str:
    """A TeX formula as MathML, the TeX kept as its annotation.

    Raises
    ------
    UserError
        If it is not valid TeX; the message holds the formula.
    """
    converter = LatexToMathML(annotation=True, fancy_error=False)
    try:
        return converter.convert_with_local_state(tex.strip(), displaystyle=display)
    except LatexError as error:
        raise UserError(
            f"cannot typeset the formula {tex.strip()!r} in the report: {error}"
        ) from None


def slug(heading: str) -> str:
    """The anchor of a heading: its words without the section number."""
    plain = re.sub(r"^\d+\.?\s+", "", heading.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "section"


class Headings:
    """The headings of a page in order, their anchors unique: (level, anchor, HTML)."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, str, str]] = []

    def add(self, level: int, text: str) -> str:
        base = anchor = slug(html.unescape(re.sub(r"<[^>]+>", "", text)))
        taken = {entry[1] for entry in self.entries}
        n = 2
        while anchor in taken:
            anchor, n = f"{base}-{n}", n + 1
        self.entries.append((level, anchor, text))
        return anchor


class Renderer(IPythonRenderer):
    """Markdown to HTML with MathML, anchored headings and numbered cross-references.

    `[figure](#fig-curves)` becomes `figure 3`; `numbers` maps the base of an anchor to the anchors
    and numbers that belong to it, several where a figure is repeated for several datasets.
    """

    def __init__(self, headings: Headings, numbers: dict[str, list[tuple[str, str]]]) -> None:
        super().__init__(escape=True, allow_harmful_protocols=False)
        self.headings, self.numbers = headings, numbers

    def inline_math(self, body: str) -> str:
        return to_mathml(body, display=False)

    def block_math(self, body: str) -> str:
        return f'<div class="equation">{to_mathml(body, display=True)}</div>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def heading(self, text: str, level: int, **_: object) -> str:
        anchor = self.headings.add(level, text)
        link = f' <a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text}{link if level > 1 else ""}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        kind = text.lower()
        if not url.startswith("#"):
            return super().link(text, url, title)
        if re.search("[A-Z.]", url):  # as Jupyter names the anchors of headings
            url = "#" + slug(url[1:].replace("-", " "))
        if kind not in NUMBERED_LINKS:
            return super().link(text, url, title)
        targets = self.numbers.get(url[1:])
        if not targets:
            raise UserError(f"the report refers to {url}, which it does not contain")
        word = text if len(targets) == 1 else f"{text}s"
        links = [
            f'<a href="#{anchor}">{word}&nbsp;{targets[0][1]}</a>' for anchor, _ in targets[:1]
        ]
        links += [f'<a href="#{anchor}">{number}</a>' for anchor, number in targets[1:]]
        return ", ".join(links)


class ReportExporter(HTMLExporter):
    """Render the report's notebook with the template in `templates`.

    Parameters
    ----------
    templates : Path
        Folder that holds the template `report`.
    """

    def __init__(self, templates: Path, **kwargs: object) -> None:
        self.templates = Path(templates)
        super().__init__(**kwargs)

    @property
    def default_config(self) -> Config:
        config = super().default_config.copy()
        config.merge(
            Config(
                {
                    "TagRemovePreprocessor": {
                        "enabled": True,
                        "remove_cell_tags": ["remove-cell", "parameters", "injected-parameters"],
                        "remove_input_tags": ["remove-input"],
                    },
                    "TemplateExporter": {"extra_template_basedirs": [str(self.templates)]},
                }
            )
        )
        config.NbConvertBase.display_data_priority = [
            *("text/html", "text/markdown", SVG, "image/png", "text/plain")
        ]
        return config

    def _template_name_default(self) -> str:
        return "report"

    def default_filters(self) -> Iterator[tuple[str, object]]:
        yield from super().default_filters()
        yield "markdown", self.markdown
        yield "caption", self.caption
        yield "contents", lambda _: [e for e in self.headings.entries if e[0] in (2, 3)]
        yield "figure_html", self.figure_html
        yield "coloured", lambda code: COLOURLESS.sub(r"\1", code)
        yield "plain_text", lambda text: re.sub(r"\x1b\[[0-9;]*m", "", text)

    def markdown(self, source: str) -> str:
        return MarkdownWithMath(renderer=Renderer(self.headings, self.numbers)).render(source)

    def caption(self, source: str) -> str:
        """Markdown of one paragraph, without the paragraph."""
        return self.markdown(source).strip().removeprefix("<p>").removesuffix("</p>")

    def figure_html(self, output: NotebookNode) -> str:
        """A figure of `reporting.Report` with its caption and data."""
        meta = output.metadata["bnstudy"]
        label, number, caption = meta["label"], meta["number"], self.caption(meta["caption"])
        alts = [html.escape(meta["alt"])]  # one text for all
        pictures = [themed(svg) for svg in output.data[PICTURES]]
        images = "".join(
            f'<img src="{svg_uri(svg)}" alt="{alt}" {sizes(svg)}>'
            for svg, alt in zip_longest(pictures, alts, fillvalue="")
        )
        return (
            f'<figure id="fig-{label}"><div class="pictures">{images}</div>'
            f"{live_html(output.data.get(LIVE))}"
            f'<figcaption><span class="number">Figure&nbsp;{number}.</span> {caption}</figcaption>'
            f"</figure>\n{data_html(output.data[CSV], label, number)}"
        )

    def _init_resources(self, resources: dict | None) -> dict:
        resources = super()._init_resources(resources)
        folder = self.templates / "report"
        styles, scripts = (
            [path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"*.{kind}"))]
            for kind in ("css", "js")
        )
        resources["style"] = "".join([color_variables(), *styles])
        resources["script"] = "".join(['"use strict";\n', *scripts])
        digest = hashlib.sha256(resources["script"].encode()).digest()
        resources["script_hash"] = base64.b64encode(digest).decode()
        resources["font_licence"] = (folder / "OFL.txt").read_text(encoding="utf-8")
        resources["font_copyright"] = TTFont(MATH_FONT)["name"].getDebugName(0)
        return resources

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict | None = None, **kwargs: object
    ) -> tuple[str, dict]:
        """Render; returns the page and nbconvert's resources.

        Raises
        ------
        UserError
            If a formula is not valid TeX, or a link leads to no anchor of the page.
        """
        self.headings, self.numbers = Headings(), numbered_anchors(nb)
        page, resources = super().from_notebook_node(nb, resources, **kwargs)
        page = re.sub(rf'"data:{re.escape(SVG)},[^"]*"', bare_brackets, page)
        check_links(page)
        font = base64.b64encode(math_font(page)).decode()
        # The template leaves this place for the font, whose glyphs are known only now.
        return page.replace("@@MATH_FONT@@", font, 1), resources


def numbered_outputs(nb: NotebookNode) -> Iterator[tuple[NotebookNode, dict]]:
    """The figures and tables of a notebook, with what `reporting.Report` says of them."""
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            meta = output.get("metadata", {}).get("bnstudy", {})
            if "number" in meta:
                yield output, meta


def numbered_anchors(nb: NotebookNode) -> dict[str, list[tuple[str, str]]]:
    """Anchors of the figures, tables and numbered sections of a notebook, with their numbers.

    A figure repeated for a further dataset is found under the first one's anchor as well.
    """
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
    anchors = re.findall(r'\bid="([^"]+)"', page)
    if len(anchors) != len(set(anchors)):
        double = next(anchor for anchor in anchors if anchors.count(anchor) > 1)
        raise UserError(f"the report has two elements with the id {double!r}")
    for target in re.findall(r'href="#([^"]*)"', page):
        if target not in anchors:
            raise UserError(f"the report links to #{target}, which it does not contain")


def live_html(live: dict | None) -> str:
    """What the page's script needs to make a figure live, as JSON that cannot end its element."""
    if live is None:
        return ""
    content = json.dumps(live, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json">{content}</script>'


def color_variables() -> str:
    """The colours of figures as variables of the page: `--x0173b2` for `#0173b2`."""
    light, dark = (
        "".join(f"--x{color[1:]}:{shown};" for color, shown in pairs)
        for pairs in (zip(DARK, DARK, strict=True), DARK.items())
    )
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def themed(svg: str) -> str:
    """An SVG whose colours follow the reader's colour scheme."""
    light, dark = [], []
    for i, (color, darker) in enumerate(DARK.items()):
        svg, n = re.subn(rf"((?:fill|stroke): ?){color}", rf"\1var(--c{i})", svg)
        if n:
            light.append(f"--c{i}:{color}")
            dark.append(f"--c{i}:{darker}")
    rules = (
        f"<style>:root{{{';'.join(light)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{';'.join(dark)}}}}}</style>"
    )
    return re.sub(r"(<svg[^>]*>)", lambda tag: tag[0] + rules, svg, count=1)


def sizes(svg: str) -> str:
    """Width and height attributes in CSS pixels, from an SVG that has them in points."""
    width, height = (re.search(rf'{side}="([\d.]+)pt"', svg)[1] for side in ("width", "height"))
    return f'width="{round(float(width) * 96 / 72)}" height="{round(float(height) * 96 / 72)}"'


def csv_uri(text: str) -> str:
    """A CSV as a data URI for `href`, a quarter shorter than in base64."""
    return f"data:{CSV},{quote(text, safe=string.punctuation.translate(UNSAFE) + ' ')}"


def svg_uri(svg: str) -> str:
    """An SVG as a data URI for `src`, a quarter shorter than in base64."""
    # Attributes change their quotes, so that those within, as of a font's name, must be entities.
    plain = svg.replace("%", "%25").replace("#", "%23").replace("'", "&apos;").replace('"', "'")
    return f"data:{SVG},{html.escape(plain, quote=False)}"


def bare_brackets(attribute: re.Match) -> str:
    """A quoted attribute with angle brackets as they are, which HTML allows and nbconvert undoes."""
    return attribute[0].replace("&lt;", "<").replace("&gt;", ">")


def data_html(text: str, label: str, number: int) -> str:
    """The data of a figure, folded: the CSV, of which the page's script makes a table."""
    size, rows = max(1, round(len(text) / 1000)), text.count("\n") - 1
    return (
        f'<details class="data"><summary>Data of figure {number}</summary>'
        f'<p><a download="{label}.csv" href="{csv_uri(text)}">{label}.csv</a> '
        f"({size} kB, {rows:,} rows)</p></details>"
    )


def math_font(page: str) -> bytes:
    """STIX Two Math as WOFF2 with the glyphs that the formulas of a page need.

    Browsers set a single letter in italics by taking another character; those are kept as well, and
    the digits in bold. Copyright and licence stay in the font.
    """
    formulas = re.sub(
        r"<annotation.*?</annotation>", "", "".join(re.findall(r"<math.*?</math>", page))
    )
    characters = set(html.unescape(re.sub(r"<[^>]+>", "", formulas)))
    characters |= set(string.ascii_letters + string.digits + OPERATORS)
    characters |= {chr(0x1D434 + i) for i in range(52)}  # italic Latin
    characters |= {chr(0x1D6FC + i) for i in range(32)}  # italic Greek
    characters |= {chr(0x1D7CE + i) for i in range(10)}  # bold digits
    # Without its features: those of small letters for indices would double the font.
    options = subset.Options(flavor="woff2", layout_features=[], name_IDs=[0, 1, 2, 13, 14])
    font = subset.load_font(str(MATH_FONT), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="".join(sorted(characters)))
    subsetter.subset(font)
    buffer = io.BytesIO()
    subset.save_font(font, buffer, options)
    return buffer.getvalue()
