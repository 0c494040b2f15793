"""Rows → requests: templates, response schemas, token counts."""
