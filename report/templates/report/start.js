// Figures that can be more than a picture; the picture remains for paper.

const decodeHash = () => location.hash.slice(1).split("?");
const KINDS = { explorer, playground };
for (const content of document.querySelectorAll("figure > script")) {
  const data = JSON.parse(content.textContent);
  KINDS[data.kind](content.parentNode, data);
}
const [asked, query] = decodeHash();
if (query !== undefined) document.getElementById(asked)?.scrollIntoView();
