"""matplotlib's SVG at less than half its size, looking the same.

A page holds up to a hundred figures, so what no screen can show is left out: digits below a tenth of a point, names
that nothing refers to, empty groups, and styles and clips said a hundred times over, which become classes and groups.
"""

import re
from collections import Counter
from collections.abc import Sequence

FONTS = "system-ui, sans-serif"  # of the page; narrower than the one that places were computed with
MARK = 800  # letters of the path of a mark as matplotlib writes it
ID_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def compact(svg: str, end: str = "") -> str:
    """An SVG of matplotlib without prologue, comments, and whatever else can be spared.

    `end` ends its names, so that it may stand in one document with others.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><")
    # What it says of every element would overrule what groups say: the root says it.
    svg = re.sub(r"<defs><style[^<]*</style></defs>", "", svg, count=1)
    svg = re.sub(r' xmlns:xlink="[^"]+"|xlink:(?=href)', "", svg)
    svg = re.sub(r'\b(x|y)="[^"]+"|translate\([^)]+\)', shorter_numbers, svg)
    svg = re.sub(r'( id="[^"]+")? d="([^"]+)"', shorter_path, svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    svg = re.sub(r' style="[^"]+"', lambda m: re.sub(r"(?<=[:;]) ", "", m[0]), svg)
    svg = svg.replace("'DejaVu Sans'", FONTS)
    svg = without_bare_groups(with_short_names(svg, end))
    svg = re.sub(r'<g id="(seed-\d+)"><path ([^>]*/>)</g>', r'<path id="\1" \2', svg)
    svg = re.sub(r'<path id="seed-\d+"(?![^>]* d=)[^>]*/>', "", svg)  # beyond the axes
    return grouped(*with_classes(svg, end))


def together(svgs: Sequence[str]) -> str:
    """Pictures in one, two side by side."""
    if len(svgs) == 1:
        return svgs[0]
    said = [re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg) for svg in svgs]
    places, (width, height) = side_by_side([(float(one[1]), float(one[2])) for one in said])
    parts = [
        svg.replace(one[0], f'x="{x:g}" y="{y:g}" width="{one[1]}" height="{one[2]}"', 1)
        for svg, one, (x, y) in zip(svgs, said, places, strict=True)
    ]
    size = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"'
    return f'<svg {size} xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'


def side_by_side(sizes: Sequence[tuple[float, float]]) -> tuple[list[tuple], tuple[float, float]]:
    """Left and top of pictures of these sizes, two in a row, and the size of the whole."""
    places, width, top = [], 0, 0
    for pair in (sizes[i : i + 2] for i in range(0, len(sizes), 2)):
        places += [(0, top), (pair[0][0], top)][: len(pair)]
        width = max(width, sum(one[0] for one in pair))
        top += max(one[1] for one in pair)
    return places, (width, top)


def short(number: float, digits: int) -> str:
    return f"{round(number, digits) + 0:.10g}"  # + 0: zero has no sign


def shorter_numbers(attribute: re.Match) -> str:
    """Coordinates to tenths."""
    return re.sub(r"-?\d*\.\d+", lambda number: short(float(number[0]), 1), attribute[0])


def shorter_path(attribute: re.Match) -> str:
    """A path from point to point instead of in absolute coordinates, which takes fewer digits.

    Lines and areas keep tenths of a point, marks (which have a name, and are small) hundredths. Between numbers is no
    more than it takes to tell them apart.
    """
    name, path = attribute.groups()
    digits = 2 if name and len(path) < MARK else 1
    found, before, here, start = "", "", (0.0, 0.0), (0.0, 0.0)
    for command, text in re.findall(r"([MLQCz])([^MLQCz]*)", path):
        if command == "z":
            found += "z"
            here, before = start, ""
            continue
        numbers = [round(float(number), digits) for number in text.split()]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        origins = here * len(points)
        moves = [short(x - at, digits) for x, at in zip(numbers, origins, strict=True)]
        said = " ".join(re.sub(r"^(-?)0\.", r"\1.", move) for move in moves).replace(" -", "-")
        # Without a letter the last one goes on, but after a move a line is drawn.
        goes_on = command == before != "M" or (before, command) == ("M", "L")
        found += (" " * (said[0] != "-") if goes_on else command.lower()) + said
        here, before = points[-1], command
        start = here if command == "M" else start
    return f'{name or ""} d="{found}"'


def with_short_names(svg: str, end: str = "") -> str:
    """Ids that something refers to get short names, in order of appearance; others go."""
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    names = {name: short_name(i) + end for i, name in enumerate(dict.fromkeys(used))}
    names |= {seed: seed for seed in re.findall(r' id="(seed-\d+)"', svg)}  # for the page's script
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", svg)
    return re.sub(r'(href="#|url\(#)([^")]+)', lambda m: m[1] + names[m[2]], svg)


def short_name(i: int) -> str:
    """a, b, ... z, ba, bb: digits to the base of 26."""
    rest, last = divmod(i, len(ID_LETTERS))
    return (short_name(rest) if rest else "") + ID_LETTERS[last]


def without_bare_groups(svg: str) -> str:
    """Drop groups that say nothing about what they hold."""
    kept, bare = [], []
    for part in re.split(r"(<g>|<g [^>]*>|</g>)", re.sub(r"<g( [^>]*)?/>", "", svg)):
        if part.startswith("<g"):
            bare.append(part == "<g>")
        if part != "<g>" and not (part == "</g>" and bare.pop()):
            kept.append(part)
    return "".join(kept)


def with_classes(svg: str, end: str = "") -> tuple[str, list[str]]:
    """Styles that occur more than once as classes of a style sheet.

    Returns the SVG and the classes that a group may have for all in it, which opacity is not: that of a group is one
    for the whole.
    """
    styles = Counter(re.findall(r' style="([^"]+)"', svg))
    often = [style for style, times in styles.items() if times > 1]
    classes = {style: short_name(i) + end for i, style in enumerate(often)}
    for style, name in classes.items():
        svg = svg.replace(f' style="{style}"', f' class="{name}"')
    rules = "svg{stroke-linejoin:round}"
    rules += "".join(f".{name}{{{style}}}" for style, name in classes.items())
    svg = svg.replace(">", f"><style>{rules}</style>", 1)
    return svg, [name for style, name in classes.items() if not re.search(r"(^|;)opacity:", style)]


def grouped(svg: str, classes: Sequence[str]) -> str:
    """Marks in a row that have a clip or one of these classes in common as a group that has it."""
    mark = r'<(?:path|use)(?![^>]* id="(?!seed))(?=[^>]* {})[^>]*/>'  # what is referred to stays
    for shared in (r'clip-path="[^"]*"', f'class="(?:{"|".join(classes)})"'):
        row = mark.format(f"({shared})") + "(?:" + mark.format(r"\1") + ")+"
        svg = re.sub(row, lambda m: f"<g {m[1]}>{m[0].replace(f' {m[1]}', '')}</g>", svg)
    return svg
