// The pictures below a cell of a notebook, one below the other, as an anywidget module.
//
// `figures` is a list of figures in Plotly's JSON, and `plotly` is plotly.js. anywidget waits two seconds for a module
// to start; after that it throws away whatever the kernel sends. So this module is small and starts plotly.js, 5 MB,
// afterwards. Each drawing is of the newest figures: those that came meanwhile are left out.

function startPlotly(source) {
  window.rnnvizPlotly ??= importText(source).then(() => window.Plotly); // once per page
  return window.rnnvizPlotly;
}

async function importText(source) {
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  await import(address);
  URL.revokeObjectURL(address);
}

async function render({ model, el }) {
  const read = () => JSON.parse(model.get("figures"));
  const plots = read().map(({ layout }) => {
    const plot = el.appendChild(document.createElement("div"));
    plot.style.height = `${layout.height}px`; // so that nothing moves when it is drawn
    return plot;
  });
  const Plotly = await startPlotly(model.get("plotly"));
  const draw = () => {
    for (const [i, { data, layout }] of read().entries()) Plotly.react(plots[i], data, layout);
  };
  let frame = 0;
  const drawSoon = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  };
  model.on("change:figures", drawSoon);
  const width = new ResizeObserver(drawSoon); // it is called at first, too
  width.observe(el);
  return () => {
    width.disconnect();
    cancelAnimationFrame(frame);
    model.off("change:figures", drawSoon);
    for (const plot of plots) Plotly.purge(plot);
  };
}

export default { render };
