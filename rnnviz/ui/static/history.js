// The browser's Back button leads to the page before, not to the step before.
//
// Streamlit adds an entry to the browser's history whenever the address changes. Here an address of
// the same page (another step, another tab) takes the place of that page's entry. On the way to
// another page Streamlit writes that page's settings into the address before it changes the path;
// the page that is left gets its own address back.

{
  const push = history.pushState.bind(history);
  let left = null; // the address of the page that is being left

  history.pushState = (state, title, address) => {
    if (new URL(address, location.href).pathname === location.pathname) {
      history.replaceState(state, title, address);
      return;
    }
    if (left) history.replaceState(history.state, title, left);
    left = null;
    push(state, title, address);
  };

  const leave = (event) => {
    const link = event.target.closest?.("a[href]");
    const opensHere = link?.origin === location.origin && link.target !== "_blank" && !event.ctrlKey && !event.metaKey;
    if (opensHere && link.pathname !== location.pathname) left ??= location.href;
  };
  addEventListener("click", leave, { capture: true });
  addEventListener("popstate", () => (left = null));
}
