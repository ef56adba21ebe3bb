"""Builds the app; `flask` finds it by itself."""

from soconnective import create_app

app = create_app()
