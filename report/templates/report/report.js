// The page reads completely without this script; it sorts tables, marks the section being read in the
// contents and lets the keyboard reach what scrolls sideways.

const value = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
};

const sortable = (table) => {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      for (const cell of header.parentNode.cells) cell.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        const difference = x === "" || y === "" || isNaN(x - y) ? x.localeCompare(y) : x - y;
        return descending ? -difference : difference;
      });
      table.tBodies[0].append(...rows);
    });
  });
};
document.querySelectorAll("table.sortable").forEach(sortable);

// The data of a figure as a table, made of the CSV when it is opened.
const fields = (line) => line.split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/)
  .map((field) => field.replace(/^"|"$/g, "").replaceAll('""', '"'));
const rounded = (text) => (/^-?\d+\.\d+(e-?\d+)?$/.test(text) ? String(+(+text).toPrecision(5)) : text);
document.addEventListener("toggle", ({ target: box }) => {
  if (!box.matches("details.data") || box.querySelector("table")) return;
  const text = decodeURIComponent(box.querySelector("a").getAttribute("href").replace(/^[^,]*,/, ""));
  const [head, ...rows] = text.trim().split("\n").map(fields);
  const table = element("table", {},
    element("caption", {}, element("span", { class: "caption" }, box.querySelector("summary").textContent)),
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {},
      ...row.map((field) => element("td", { "data-value": field }, rounded(field)))))));
  box.append(element("div", { class: "scroll" }, table));
  if (rows.length > 1) sortable(table);
}, true);

const contents = document.querySelector(".contents");
const list = contents.querySelector("details"), small = matchMedia("(max-width: 71.99rem)");
if (small.matches) list.open = false;
contents.addEventListener("click", (event) => { if (small.matches && event.target.closest("a")) list.open = false; });

const links = new Map(
  [...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]),
);
const headings = [...document.querySelectorAll("main :is(h2, h3)")].filter((h) => links.has(h.id));
let current = null;
const follow = () => {
  const passed = headings.filter((heading) => heading.getBoundingClientRect().top < 120);
  if (passed.at(-1) === current) return;
  current = passed.at(-1);
  for (const [id, link] of links) {
    if (id === current?.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const link = links.get(current?.id);
  contents.querySelector(".where").textContent = link ? `: ${link.textContent}` : "";
  const box = small.matches ? list.querySelector("ol") : contents;
  if (!link || !list.open) return;
  const [inner, outer] = [link.getBoundingClientRect(), box.getBoundingClientRect()];
  if (inner.top < outer.top + 40) box.scrollTop -= outer.top + 40 - inner.top;
  if (inner.bottom > outer.bottom - 40) box.scrollTop += inner.bottom - outer.bottom + 40;
};
let waiting = false;
addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    follow();
  });
}, { passive: true });
follow();

// A cell that takes the focus is shown whole.
document.addEventListener("focusin", (event) => {
  event.target.closest(".scroll :is(th, td)")?.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
});

const reach = () => {
  for (const box of document.querySelectorAll(".scroll, .equation, pre")) {
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      const caption = box.querySelector("caption");
      box.setAttribute("aria-label", `${caption?.textContent ?? "Content"}, scrolls sideways`);
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }
};
addEventListener("resize", reach);
document.addEventListener("toggle", reach, true);
reach();
