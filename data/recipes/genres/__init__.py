"""The genres of Brightwater's text: each module maps names to functions of a Pen that return one document."""
