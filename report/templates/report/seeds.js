// A seed that the reader chose: it lights up in every figure that draws seeds, live or not.

const seedListeners = [];
const onSeed = (listener) => seedListeners.push(listener);

// In a picture the marks of seed 3 stand once more, unseen, with the id "seed-3".
const lit = (picture, seed) => {
  const plain = picture.replace(/<style%20id='lit'>.*?<\/style>/, "");
  if (seed === null || !plain.includes(`id='seed-${seed}'`)) return plain;
  return plain.replace("</svg>", `<style%20id='lit'>[id=seed-${seed}]{stroke-opacity:.9!important}</style></svg>`);
};

function chooseSeed(seed) {
  for (const image of document.querySelectorAll("figure img")) {
    const before = image.getAttribute("src"), after = lit(before, seed);
    if (after !== before) image.src = after;
  }
  for (const listener of seedListeners) listener(seed);
}
