"""A finished output as one file for other programs: CSV, JSONL or an Excel workbook.

`exporting.export` is the way in. `cells` says what becomes of a value that such a file can't hold as it is, `text_files` and
`workbook` write the rows.
"""
