"""Names that come from data are text on every page."""

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
