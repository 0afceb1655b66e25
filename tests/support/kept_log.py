class KeptLog:
    """A log that keeps its lines, each with its level."""

    def __init__(self):
        self.lines = []

    def info(self, message, *args):
        self.lines.append(("info", message % args))

    def warning(self, message, *args):
        self.lines.append(("warning", message % args))

    def about(self, text):
        """Return the levels of the lines that contain the text."""
        return [level for level, line in self.lines if text in line]
