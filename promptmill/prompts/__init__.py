"""Rows → requests: templates, response schemas and token counts.

`RequestBuilder` turns a row into the bytes that are sent, the request's identity and its count of tokens.
`ResponseSchema` holds the schema in the form that strict mode takes, and judges answers by it.
A mistake that every row would hit is a `JobError` before anything is sent; a row that its template can't render raises
`RowUnrenderable`, and only that row fails.

Watch out: templates and schemas may come from somebody who may start runs but not write code. Templates run in a
sandbox, and a `$ref` is never fetched.
"""
