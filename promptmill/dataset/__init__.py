"""Rows in: which files an input is made of, their format, their types and their rows.

`open_dataset` promises other rooms: rows come in the same order each time, with the types of the whole input, and memory
doesn't grow with the number of rows.
Everything that is wrong with an input is a `DatasetError` that names the file and, where it can, the line.

Watch out: text files are read once in full before the first row is handed out, because a value late in a file decides
the type of its column.
"""
