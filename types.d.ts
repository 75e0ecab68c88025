// Globals that the scripts find in the browser: plotly.js, loaded by live_charts.js, or in a notebook by notebook.js.
interface Window {
  Plotly: any;
  rnnvizPlotly: Promise<any>;
}
