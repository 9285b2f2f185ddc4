"""Pages: a run's page and a study's report. Each is one HTML file that requests nothing when opened.

`vendor` holds uPlot (https://github.com/leeoniya/uPlot, MIT, with its licence), version 1.6.32 as of commit
dd3ffc568903.
"""
