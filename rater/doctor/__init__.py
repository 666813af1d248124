"""`rater doctor`: looks at the whole installation and says how to mend it. See docs/doctor.md."""
