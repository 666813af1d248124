"""Real-time rating and charging for Asterisk."""

from rater import compiled

compiled.install()
