// Streamlit sends this along with every group of charts; the charts' own script is fetched once per page.

let module = null;

function load(element) {
  module ??= import(new URL(element.dataset.module, document.baseURI).href);
  return module;
}

export default function (component) {
  const element = component.parentElement.querySelector(".live-charts");
  let removed = false;
  let remove = () => {};
  load(element).then(
    ({ show }) => {
      if (!removed) remove = show(component);
    },
    (error) => (element.textContent = String(error.message ?? error))
  );
  return () => {
    removed = true;
    remove();
  };
}
