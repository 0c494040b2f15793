"""What a run knows before its first paid request: its rows, chunks and price, and what is wrong with the job.

In a run's order: `prepared_job` opens the parts of a job, `standing_output` judges what lies at the output already, `plan`
renders every row and cuts the rows into chunks, `preflight` checks credentials and storage and warns, `estimate` prices
the plan, `kept` finds the answers of earlier runs, and `rows` renders a chunk again when its turn comes. `doctor` looks at
the machine instead of a job.

This room promises that it sends nothing that is billed, that whatever can be known to be wrong is an error here and not
halfway through a paid run, and that a chunk's key depends on the content of its rows alone.
Watch out: planning reads the whole input, and nearly all calls block. `check_places` and `look_at_storage` really write
an object to the storage, and delete it again.
"""
