"""Reads requests and sends responses: bodies, forms, resets, and the pages that need no model.

`connection` reads bodies, sends JSON and breaks connections; `multipart` reads uploads piece by piece, so that a file
of 200 MB costs one network buffer.
`admin`, `models` and `files` are the pages under /_simulator, /models and /files.
Breaking a connection reaches into uvicorn's own objects: check `connection` when uvicorn's version changes.
"""
