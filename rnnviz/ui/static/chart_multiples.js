// The frames of a heatmap as small pictures side by side, on the scales of the large one. A click on one, or Enter,
// chooses it, as a slider would: the picture is already in the browser.

import { paintCells } from "./chart_cells.js";
import { frameOf } from "./chart_slider.js";

export class Multiples {
  constructor(place) {
    this.root = document.createElement("div");
    this.root.className = "chart-multiples";
    this.root.setAttribute("role", "group");
    this.buttons = [];
    place.append(this.root);
  }

  // The frames from `first` on belong to the values of the slider, which stands at one of them.
  show(slider, packed, first) {
    this.root.setAttribute("aria-label", slider.label.textContent);
    while (this.buttons.length > slider.values.length) this.buttons.pop().remove();
    slider.values.forEach((_, i) => {
      this.buttons[i] ??= this.add(() => slider.move(i));
      const button = this.buttons[i];
      button.firstChild.textContent = slider.names[i];
      button.setAttribute("aria-pressed", String(i === slider.at));
      paintCells(button.lastChild, frameOf(packed, first + i).data[0]);
    });
  }

  add(choose) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(document.createElement("span"), document.createElement("canvas"));
    button.addEventListener("click", choose);
    this.root.append(button);
    return button;
  }

  remove() {
    this.root.remove();
  }
}
