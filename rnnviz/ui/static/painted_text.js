// A text whose characters have coloured backgrounds, or some of which are marked. It is never treated as markup.

export default function ({ data, parentElement }) {
  const { label, characters, colours, marks, titles } = JSON.parse(new TextDecoder().decode(data));
  const place = parentElement.querySelector(".painted-text");
  place.setAttribute("aria-label", label);
  const nodes = characters.map((character, i) => {
    const made = document.createElement("span");
    made.textContent = character;
    if (colours) [made.style.background, made.style.color] = colours[i];
    if (titles) made.title = titles[i];
    if (marks?.[i]) made.className = "painted-mark";
    return made;
  });
  const breaks = (character, node) => (character === "↵" ? [node, document.createElement("br")] : [node]);
  place.replaceChildren(...nodes.flatMap((node, i) => breaks(characters[i], node)));
}
