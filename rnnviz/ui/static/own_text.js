// A box for the visitor's own text. It is sent to the server while it is typed, not only when
// the box loses focus, so that what depends on it is ready before the next click. The tab remembers
// it, so that a reload or another page does not empty the box.

const NAME = "rnnviz-own-text";
const PAUSE = 400; // milliseconds without a key before the text is sent

function remember(text) {
  try {
    sessionStorage.setItem(NAME, text);
  } catch {
    sessionStorage.removeItem(NAME); // it is longer than the browser can store
  }
}

function start(box) {
  let timer, told;
  const tell = () => {
    clearTimeout(timer);
    if (box.value === told) return;
    told = box.value;
    box.tell(told);
  };
  box.addEventListener("input", (event) => {
    remember(box.value);
    clearTimeout(timer);
    timer = setTimeout(tell, event.inputType === "insertFromPaste" ? 0 : PAUSE);
  });
  box.addEventListener("change", tell); // when the box loses focus
  box.value = sessionStorage.getItem(NAME) ?? "";
  tell();
}

export default function ({ data, parentElement, setStateValue }) {
  const box = parentElement.querySelector("textarea");
  const isNew = !box.tell;
  box.tell = (text) => setStateValue("text", text);
  parentElement.querySelector(".own-text span").textContent = data.label;
  if (isNew) start(box);
}
