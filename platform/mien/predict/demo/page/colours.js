// One colour for a name, the same everywhere and readable on light and dark; never the only sign of it.

const KNOWN = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "calm"];
const N_OTHERS = 4;

// The CSS property of each name
export function properties(names) {
  let other = 0;
  return names.map((name) => {
    if (KNOWN.includes(name)) return `--${name}`;
    other += 1;
    return `--other-${((other - 1) % N_OTHERS) + 1}`;
  });
}

export function colour(property) {
  return getComputedStyle(document.documentElement).getPropertyValue(property).trim();
}
