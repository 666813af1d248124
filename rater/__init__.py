"""Real-time rating and charging for Asterisk."""
