"""The fault kit: each module breaks something on purpose, and counts what was lost, doubled, torn or wrong.

`python -m faults` with `tests` on PYTHONPATH (`make faults`) runs the long forms; each module runs alone as
`python -m faults.kills --seed 1 --count 100`. The tests beside them run short forms, and plant bugs that must be found.
"""
