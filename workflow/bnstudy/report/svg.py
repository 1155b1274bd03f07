"""matplotlib's SVG at less than half its size, looking the same.

A page holds some forty figures, each drawn twice, so what no screen can show is left out: digits
below a hundredth of a point, names that nothing refers to, empty groups, and styles said a hundred
times over, which become classes.
"""

import re

FONTS = "system-ui, sans-serif"  # of the page; narrower than the one that places were computed with
ID_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def compact(svg: str) -> str:
    """An SVG of matplotlib without prologue, comments, and whatever else can be spared."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><")
    svg = svg.replace("xlink:href", "href").replace(
        ' xmlns:xlink="http://www.w3.org/1999/xlink"', ""
    )
    svg = re.sub(r'\b(x|y)="[^"]+"|translate\([^)]+\)', shorter_numbers, svg)
    svg = re.sub(r'( id="[^"]+")? d="([^"]+)"', shorter_path, svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    svg = svg.replace("'DejaVu Sans'", FONTS)
    return with_classes(without_bare_groups(with_short_names(svg)))


def shorter_numbers(attribute: re.Match) -> str:
    """Coordinates to hundredths."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0])


def shorter_path(attribute: re.Match) -> str:
    """A path from point to point instead of in absolute coordinates, which takes fewer digits.

    Lines and areas keep tenths of a point, marks (which have a name) hundredths.
    """
    name, path = attribute.groups()
    digits = 2 if name else 1
    parts, before = [], ""
    here = start = (0.0, 0.0)
    for command, text in re.findall(r"([MLQCz])([^MLQCz]*)", path):
        if command == "z":
            parts.append("z")
            here, before = start, ""
            continue
        numbers = [round(float(number), digits) for number in text.split()]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        moves = [x - origin for point in points for x, origin in zip(point, here, strict=True)]
        # Without a letter the last one goes on, but after a move a line is drawn.
        said = command == before != "M" or (before, command) == ("M", "L")
        texts = joined(moves, digits)
        separator = " " if said and texts[0] != "-" else ""
        parts.append(separator + texts if said else command.lower() + texts)
        here, before = points[-1], command
        start = here if command == "M" else start
    return f'{name or ""} d="{"".join(parts)}"'


def joined(numbers: list[float], digits: int) -> str:
    """Numbers of a path with no more between them than it takes to tell them apart."""
    texts = []
    for number in numbers:
        text = f"{number:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{number:.0f}"
        text = re.sub(r"^(-?)0\.", r"\1.", text)
        text = "0" if text in ("", "-0", "-") else text
        texts.append(text if text[0] == "-" or not texts else f" {text}")
    return "".join(texts)


def with_short_names(svg: str) -> str:
    """Ids that something refers to get short names, in order of appearance; others go."""
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    names = {name: short_name(i) for i, name in enumerate(dict.fromkeys(used))}
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
    svg = re.sub(r"<g( [^>]*)?/>", "", svg)
    for part in re.split(r"(<g>|<g [^>]*>|</g>)", svg):
        if part.startswith("<g"):
            bare.append(part == "<g>")
        said_nothing = part == "<g>" or (part == "</g>" and bare.pop())
        if not said_nothing:
            kept.append(part)
    return "".join(kept)


def with_classes(svg: str) -> str:
    """Styles that occur more than once as classes of a style sheet."""
    styles = re.findall(r' style="([^"]+)"', svg)
    classes = {s: short_name(i) for i, s in enumerate(dict.fromkeys(styles)) if styles.count(s) > 1}
    svg = re.sub(
        r' style="([^"]+)"',
        lambda m: f' class="{classes[m[1]]}"' if m[1] in classes else m[0],
        svg,
    )
    rules = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return re.sub(r"(<svg[^>]*>)", lambda m: f"{m[1]}<style>{rules}</style>", svg, count=1)
