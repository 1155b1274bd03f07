// A seed that the reader chose: it lights up in every figure that draws seeds, live or not.

const seedListeners = [];
const onSeed = (listener) => seedListeners.push(listener);

// In a picture what belongs to seed 3 has the id "seed-3", in each of its panels.
const lit = (picture, seed) => {
  const rules = `<style id='lit'>[id^=seed-]{opacity:.25}[id=seed-${seed}]{opacity:1;stroke-width:2.5!important}</style>`;
  const plain = picture.replace(/<style id='lit'>.*?<\/style>|%3Cstyle%20id='lit'.*?style%3E/, "");
  if (seed === null || !plain.includes("id='seed-")) return plain;
  const written = picture.includes(" ") ? rules : encodeURIComponent(rules).replaceAll("'", "%27");
  return plain.replace(/<\/svg>|%3C\/svg%3E/, (end) => written + end);
};

function chooseSeed(seed) {
  for (const image of document.querySelectorAll("figure img")) {
    image.src = lit(image.getAttribute("src"), seed);
    for (const source of image.parentNode.querySelectorAll("source")) source.srcset = lit(source.srcset, seed);
  }
  for (const listener of seedListeners) listener(seed);
}
