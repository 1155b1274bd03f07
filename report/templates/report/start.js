// Figures that can be more than a picture; the picture remains for paper.

const decodeHash = () => location.hash.slice(1).split("?");
const KINDS = { explorer, playground };
for (const content of document.querySelectorAll("figure > script")) {
  const data = JSON.parse(content.textContent);
  const figure = content.parentNode, caption = figure.querySelector("figcaption");
  if (data.caption) {
    const [number, ...rest] = caption.childNodes;
    caption.replaceChildren(number, element("span", { class: "of-picture" }, ...rest),
      element("span", { class: "of-live" }, ` ${data.caption}`));
  }
  KINDS[data.kind](figure, data);
}
const [asked, query] = decodeHash();
if (query !== undefined) document.getElementById(asked)?.scrollIntoView();
