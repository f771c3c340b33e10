"""Pages without script that refer to nothing outside themselves: markup, tables and charts in SVG."""
