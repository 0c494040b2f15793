"""The report of a run: one HTML page with plots, sample rows and what to do about failures.

`data.py` gathers figures while rows pass by, so that memory holds samples and sums and never all rows; `page.py` renders.
The page needs nothing else: it loads no script, font or picture from anywhere.
Watch out: rows and answers may hold anything, so the template escapes all of it; the page shows URLs without secrets.
"""
