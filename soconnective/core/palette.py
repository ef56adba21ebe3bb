"""The fixed palette: each colour is a class of the stylesheet (`c-gray`, ...), since no page may hold a style."""

COLORS = ("gray", "blue", "azure", "indigo", "purple", "pink", "red", "orange", "yellow", "green", "teal")
