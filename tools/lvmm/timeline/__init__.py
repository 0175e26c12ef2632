"""A recording over guest time: as a trace for Perfetto, and as a picture."""
