"""Arrays and reports in, Plotly figures out."""
