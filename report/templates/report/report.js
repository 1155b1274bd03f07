// The page reads completely without this script; it sorts tables, marks the section being read in the
// contents and lets the keyboard reach what scrolls sideways.

const value = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
};

for (const table of document.querySelectorAll("table.sortable")) {
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
}

const contents = document.querySelector("nav details");
if (matchMedia("(max-width: 71.9rem)").matches) contents.open = false;

const links = new Map(
  [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
);
const headings = [...document.querySelectorAll("main h2, main h3")].filter((h) => links.has(h.id));
const follow = () => {
  const passed = headings.filter((heading) => heading.getBoundingClientRect().top < 120);
  const current = passed.at(-1)?.id;
  for (const [id, link] of links) {
    if (id === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
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
