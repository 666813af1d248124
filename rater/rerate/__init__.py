"""History under another catalogue: rated events in, both prices and their differences out. Moves no money.

`source` reads and checks events, `numbers` reads their numbers again, `pricing` prices them in bulk, `tally` adds
up and proves the sums, `report` writes files. docs/rerate.md says what is compared with what.
"""
