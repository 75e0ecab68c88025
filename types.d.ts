// Globals that the pages' scripts find in the browser: plotly.js, loaded by live_charts.js.
interface Window {
  Plotly: any;
}
